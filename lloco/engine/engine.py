"""The contract of an engine: prompts in, generations out, one adapter or none per prompt.

Engines are exchangeable: greedy generations in float32 are equal token by token. An engine knows nothing about
questions, documents or stores. Names of sampling parameters are vLLM's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from lloco.errors import LlocoError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt

FinishReason: TypeAlias = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is chosen and when to end; greedy unless a temperature is given."""

    max_tokens: int = 64
    """Tokens that are generated at most."""
    temperature: float = 0.0
    """0 always takes the likeliest token; above, the higher the more varied."""
    top_p: float = 1.0
    """Sample only from the likeliest tokens that together have this probability."""
    seed: int | None = None
    """Makes sampling repeatable: a prompt's generation depends on its own text and this number only."""
    stop: tuple[str, ...] = ()
    """Strings that end the answer and are not part of it."""

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise LlocoError(f"max_tokens is {self.max_tokens}: it must be at least 1")
        if not 0.0 <= self.temperature < float("inf"):
            raise LlocoError(f"temperature is {self.temperature}: it must be 0 (greedy) or above")
        if not 0.0 < self.top_p <= 1.0:
            raise LlocoError(f"top_p is {self.top_p}: it must be above 0 and at most 1")
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise LlocoError(f"seed is {self.seed}: it must be at least 0 and below 2**63")
        if "" in self.stop:
            raise LlocoError("an empty stop string would end every answer at once: remove it")

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature == 0.0


@dataclass(frozen=True, slots=True)
class Generation:
    """What the decoder wrote after one prompt."""

    text: str
    """Up to a stop string, without special tokens; empty if the decoder has no tokenizer."""
    token_ids: tuple[int, ...]
    """Every token that was generated, EOS and a stop string's tokens included."""
    num_prompt_tokens: int
    """Positions that the prompt took, virtual tokens included."""
    finish_reason: FinishReason
    """Whether EOS or a stop string ended it, `max_tokens`, or whoever had asked for it."""
    num_cached_tokens: int = 0
    """Positions of the prompt that had been read before and were not read again."""


class Engine(Protocol):
    """Generates for many prompts at once."""

    name: str
    """What `--engine` calls it."""

    @property
    def decoder(self) -> Decoder:
        """The model that reads the prompts."""
        ...

    def add_adapter(self, name: str, folder: Path) -> None:
        """Make the adapter of that folder available under a name."""
        ...

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingParams, *, adapters: Sequence[str | None] | None = None
    ) -> list[Generation]:
        """Return one generation per prompt, in order; `adapters` names each prompt's adapter, None for none."""
        ...
