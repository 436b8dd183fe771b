"""What one token of a batch costs, read by our forward and by transformers with PEFT; figures of docs/bench.md.

python runs/decode_step.py [--random-weights CONFIG.json] [--rows 1,8,16] [--adapters 0,1,4] [--context 128]: the
bundled model, or random weights of that shape; prompts of so many positions, each row a few less than the one before;
rows have the adapters in turn, 0 means none. Both ways take turns; the smallest time of several rounds counts.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from lloco.adapters.attach import attach_adapter
from lloco.adapters.base_model import BASE_ADAPTER
from lloco.adapters.folder import LoraOptions, save_adapter
from lloco.bench.measure.random_weights import random_decoder
from lloco.compressors.load import load_compressor
from lloco.engine.decode_batch import DecodeBatch
from lloco.engine.named_adapters import NamedAdapters
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt
from lloco.prompts.template import DEFAULT_TEMPLATE

ROUNDS, STEPS = 7, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random-weights", type=Path)
    parser.add_argument("--rows", default="1,8,16")
    parser.add_argument("--adapters", default="0,1,4")
    parser.add_argument("--context", type=int, default=128)
    options = parser.parse_args()
    print("rows  adapters  transformers and PEFT, ms  ours, ms  ratio")
    for num_adapters in map(int, options.adapters.split(",")):
        decoder, peft_names = decoder_with_adapters(options.random_weights, num_adapters, options.context)
        for num_rows in map(int, options.rows.split(",")):
            names = [peft_names[row % len(peft_names)] for row in range(num_rows)]
            theirs, ours = milliseconds(decoder, names, options.context)
            print(f"{num_rows:4}  {num_adapters:8}  {theirs:25.2f}  {ours:8.2f}  {theirs / ours:5.2f}", flush=True)


def decoder_with_adapters(config: Path | None, num_adapters: int, context: int) -> tuple[Decoder, list[str]]:
    """Return a decoder and PEFT's names of the adapters that were loaded into it, or the base model's."""

    def load() -> Decoder:
        if config is None:
            return load_compressor("records").decoder
        return random_decoder(config, num_positions=context + ROUNDS * STEPS * 2)

    adapters = NamedAdapters(load())
    with tempfile.TemporaryDirectory() as folder:
        for index in range(num_adapters):
            trained = load()
            model = attach_adapter(trained, LoraOptions())
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    parameter.data.normal_(std=0.02)
            path = Path(folder) / str(index)
            save_adapter(model, path, decoder=trained, template=DEFAULT_TEMPLATE)
            adapters.add(str(index), path)
    names = [str(index) for index in range(num_adapters)]
    return adapters.decoder, adapters.peft_names(num_adapters, names) or [BASE_ADAPTER]


def milliseconds(decoder: Decoder, peft_names: list[str], context: int) -> tuple[float, float]:
    """Return the time of a token by the model's own forward, which a hook forces, and by ours."""
    random = torch.Generator().manual_seed(0)
    vocab_size = decoder.model.config.vocab_size
    prompts = [
        Prompt((torch.randint(vocab_size, (context - 3 * row,), generator=random),)) for row in range(len(peft_names))
    ]
    handle = None
    batches, best = {}, {"theirs": float("inf"), "ours": float("inf")}
    for _ in range(ROUNDS):
        for way in best:
            if way == "theirs":
                handle = decoder.model.register_forward_hook(lambda module, inputs, output: None)
            if way not in batches:
                batches[way], _ = DecodeBatch.read(decoder, prompts, peft_names)
            started = time.perf_counter()
            for _ in range(STEPS):
                batches[way].step(decoder, [7] * len(peft_names))
            best[way] = min(best[way], (time.perf_counter() - started) / STEPS * 1e3)
            if handle is not None:
                handle.remove()
                handle = None
    return best["theirs"], best["ours"]


if __name__ == "__main__":
    main()
