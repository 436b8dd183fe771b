"""The least that a decoder must compute and move, counted from its weights and config, and the time that takes.

Every weight that multiplies is used once a position and moved once a forward pass; keys and values are moved once.
Only the last position (or the targets) meets the output layer. Every layer counts as attending to everything and every
expert as used: with sliding windows or experts the true floor is lower. Does not know what was measured.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedModel

from lloco.bench.measure.machine import Machine


@dataclass(frozen=True, slots=True)
class Work:
    """Floating point operations and bytes that something takes at least."""

    flops: int
    num_bytes: int

    def __add__(self, other: "Work") -> "Work":
        return Work(self.flops + other.flops, self.num_bytes + other.num_bytes)

    def seconds(self, machine: Machine) -> float:
        """Return the time at the machine's measured rates, computing and moving at once."""
        return max(self.flops / machine.matmul_flops_per_second, self.num_bytes / machine.copy_bytes_per_second)


@dataclass(frozen=True, slots=True)
class ModelCost:
    """What one forward pass of a decoder costs, by its parts."""

    weight_bytes: int
    """All weights."""
    read_bytes: int
    """Weights that every forward pass reads: all but an embedding table that is not the output layer too."""
    body_weights: int
    """Weights that multiply every position."""
    head_weights: int
    """Weights of the output layer."""
    vocab_size: int
    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    attention_width: int
    """Query heads times the width of a head."""
    kv_width: int
    """Key heads times the width of a head."""
    itemsize: int
    is_eager: bool = False
    """Whether attention writes out its scores."""

    @classmethod
    def of(cls, model: PreTrainedModel) -> "ModelCost":
        """Count a model; its weights may be on the meta device."""
        config = model.config.get_text_config()
        weights = {id(weight): weight for weight in model.parameters()}
        table = _weight(model.get_input_embeddings())
        head = _weight(model.get_output_embeddings())  # type: ignore[no-untyped-call]
        total = sum(weight.nbytes for weight in weights.values())
        tables = {id(table), id(head)}
        num_heads = config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // num_heads
        return cls(
            weight_bytes=total,
            read_bytes=total - (0 if head is table else table.nbytes),
            body_weights=sum(w.numel() for key, w in weights.items() if w.ndim > 1 and key not in tables),
            head_weights=head.numel(),
            vocab_size=len(head),
            num_layers=config.num_hidden_layers,
            hidden_size=config.hidden_size,
            intermediate_size=getattr(config, "intermediate_size", 4 * config.hidden_size),
            num_heads=num_heads,
            attention_width=num_heads * head_dim,
            kv_width=(getattr(config, "num_key_value_heads", None) or num_heads) * head_dim,
            itemsize=model.dtype.itemsize,
            is_eager=config._attn_implementation == "eager",
        )

    def kv_cache_bytes(self, num_positions: int) -> int:
        """Return the size of keys and values."""
        return 2 * self.num_layers * self.kv_width * self.itemsize * num_positions

    def decode(self, seq_len: int, batch_size: int = 1) -> Work:
        """Read one more token a row, the position `seq_len` of it."""
        flops = 2 * (self.body_weights + self.head_weights) + self._attention_flops(seq_len)
        return Work(batch_size * flops, self.read_bytes + batch_size * self.kv_cache_bytes(seq_len))

    def prefill(self, seq_len: int, batch_size: int = 1) -> Work:
        """Read prompts, up to the logits of the first answer token."""
        flops = self._body_flops(seq_len) + 2 * self.head_weights
        return Work(batch_size * flops, self.read_bytes + batch_size * self.kv_cache_bytes(seq_len))

    def encode(self, seq_len: int, batch_size: int = 1) -> Work:
        """Read rows to their last states, without output layer and cache."""
        body_bytes = self.read_bytes - self.head_weights * self.itemsize
        return Work(batch_size * self._body_flops(seq_len), body_bytes)

    def train(self, seq_len: int, num_targets: int, batch_size: int = 1) -> Work:
        """Learn an adapter from rows: forward, and backward to states but not to the frozen weights."""
        attention = 3 * self._causal_flops(seq_len)
        flops = 4 * self.body_weights * seq_len + 4 * self.head_weights * num_targets + attention
        return Work(batch_size * flops, 2 * self.read_bytes)

    def reading_bytes(self, seq_len: int, batch_size: int = 1) -> int:
        """Estimate the memory above the weights that reading prompts takes: cache, and the states of one layer."""
        states = 6 * self.hidden_size + 3 * self.intermediate_size + 2 * self.attention_width
        scores = 2 * 4 * self.num_heads * seq_len * seq_len if self.is_eager else 0
        return batch_size * (self.kv_cache_bytes(seq_len) + states * seq_len * self.itemsize + scores)

    def training_bytes(self, seq_len: int, batch_size: int = 1) -> int:
        """Estimate the memory above the weights that learning takes without recomputing: the states of all layers."""
        states = 8 * self.hidden_size + 4 * self.intermediate_size + 3 * self.attention_width + 4 * self.kv_width
        return batch_size * self.num_layers * states * seq_len * self.itemsize

    def _body_flops(self, seq_len: int) -> int:
        return 2 * self.body_weights * seq_len + self._causal_flops(seq_len)

    def _causal_flops(self, seq_len: int) -> int:
        """Every position attends to those before it and itself."""
        return sum_to(seq_len) * self._attention_flops(1)

    def _attention_flops(self, num_keys: int) -> int:
        """One query's products with keys, and of its weights with values, in all layers."""
        return 4 * self.num_layers * self.attention_width * num_keys


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def sum_to(number: int) -> int:
    """Return 1 + 2 + ... + number."""
    return number * (number + 1) // 2
