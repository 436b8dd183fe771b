"""What one GPU holds while `lloco finetune` trains a LoRA adapter, alone or in shares under FSDP2.

    python recipes/many_gpus/memory.py --model llama-2-7b,llama-2-70b --gpus 1,2,8
    python recipes/many_gpus/memory.py --model my-model/config.json --prompt-tokens 1200 --micro-batch-size 4

Arithmetic on the shape of a Llama-layout model, without its weights: bfloat16 base, float32 adapter on q, k, v and o.
`tests/test_many_gpus.py` holds the formulas to what a small model really keeps.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30
ADAPTED = ("q", "k", "v", "o")


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama-layout decoder, by the names of its config."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int

    @classmethod
    def load(cls, config: Path) -> "Shape":
        values = json.loads(config.read_text(encoding="utf-8"))
        values.setdefault("num_key_value_heads", values["num_attention_heads"])
        return cls(**{name: values[name] for name in cls.__slots__})

    @property
    def key_value_size(self) -> int:
        return self.hidden_size // self.num_attention_heads * self.num_key_value_heads

    @property
    def layer_parameters(self) -> int:
        """Attention, feed-forward and two norms."""
        attention = 2 * self.hidden_size * (self.hidden_size + self.key_value_size)
        return attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size

    @property
    def other_parameters(self) -> int:
        """Embeddings, output layer and the last norm, which are whole while a micro-batch is computed."""
        return 2 * self.vocab_size * self.hidden_size + self.hidden_size

    @property
    def num_parameters(self) -> int:
        return self.num_hidden_layers * self.layer_parameters + self.other_parameters

    def adapter_parameters(self, r: int) -> int:
        """LoRA of rank r on q, k, v and o: r x (in + out) each."""
        widths = {"q": self.hidden_size, "k": self.key_value_size, "v": self.key_value_size, "o": self.hidden_size}
        return self.num_hidden_layers * sum(r * (self.hidden_size + widths[name]) for name in ADAPTED)

    def saved_bytes_per_token(self, r: int, mask_bytes: int = 1) -> int:
        """What one layer keeps of one token for its backward pass, when attention keeps no scores.

        Norms: their input in float32. An adapted module: its input in float32 after dropout, the mask (1 byte on a GPU,
        4 on a CPU) and r numbers. Attention: q, k, v and its result. Feed-forward: gate, what it becomes, up.
        """
        norms = 2 * 4 * self.hidden_size
        adapted = len(ADAPTED) * ((4 + mask_bytes) * self.hidden_size + 4 * r)
        attention = 2 * (2 * self.hidden_size + 2 * self.key_value_size)
        return norms + adapted + attention + 2 * 3 * self.intermediate_size

    def activation_bytes(self, num_tokens: int, r: int, *, is_checkpointed: bool) -> int:
        """What a micro-batch of so many tokens keeps; with checkpointing a layer's input, and one layer's all."""
        saved = self.saved_bytes_per_token(r)
        if is_checkpointed:
            return num_tokens * (self.num_hidden_layers * 2 * self.hidden_size + saved)
        return num_tokens * self.num_hidden_layers * saved

    def weight_bytes(self, num_gpus: int) -> int:
        """A share of the base; whole: what is outside the layers, the layer at work, the next, the buffer between."""
        if num_gpus == 1:
            return 2 * self.num_parameters
        return 2 * self.num_parameters // num_gpus + 2 * (self.other_parameters + 3 * self.layer_parameters)

    def adapter_bytes(self, num_gpus: int, r: int) -> int:
        """Weights, gradients and AdamW's two moments in float32, in shares."""
        return 16 * self.adapter_parameters(r) // num_gpus


SHAPES = {
    "llama-2-7b": Shape(32000, 4096, 11008, 32, 32, 32),
    "mistral-7b": Shape(32000, 4096, 14336, 32, 32, 8),
    "llama-3-8b": Shape(128256, 4096, 14336, 32, 32, 8),
    "llama-2-13b": Shape(32000, 5120, 13824, 40, 40, 40),
    "llama-2-70b": Shape(32000, 8192, 28672, 80, 64, 8),
    "llama-3-70b": Shape(128256, 8192, 28672, 80, 64, 8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What one GPU holds while an adapter is trained.")
    parser.add_argument("--model", default=",".join(SHAPES), help="names or config.json files, by commas")
    parser.add_argument("--gpus", default="1,2,8")
    parser.add_argument("--prompt-tokens", type=int, default=1200, help="virtual tokens, question and answer")
    parser.add_argument("--micro-batch-size", type=int, default=1)
    parser.add_argument("--lora-r", type=int, default=8)
    given = parser.parse_args()
    num_tokens = given.micro_batch_size * given.prompt_tokens
    print("| model | parameters | LoRA | GPUs | weights | LoRA | activations | checkpointed | sum | checkpointed |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in given.model.split(","):
        shape = SHAPES[name] if name in SHAPES else Shape.load(Path(name))
        counts = f"{shape.num_parameters / 1e9:.2f} B | {shape.adapter_parameters(given.lora_r) / 1e6:.1f} M"
        for num_gpus in map(int, given.gpus.split(",")):
            weights, adapter = shape.weight_bytes(num_gpus), shape.adapter_bytes(num_gpus, given.lora_r)
            kept = [shape.activation_bytes(num_tokens, given.lora_r, is_checkpointed=is_on) for is_on in (False, True)]
            sizes = [weights, adapter, *kept, *(weights + adapter + activations for activations in kept)]
            print(f"| {name} | {counts} | {num_gpus} | {' | '.join(f'{size / GIB:.1f}' for size in sizes)} |")


if __name__ == "__main__":
    main()
