"""An engine that answers one prompt at a time, greedily, and says how long each took.

How a prompt is read is exchangeable: whole, or from keys and values that were kept of its beginning. Every way of
reading is decoded by the same loop, so that times compare. Does not know what prompts hold.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from lloco.bench.measure.spread import seconds_of, synchronize
from lloco.engine.decode_batch import DecodeBatch
from lloco.engine.decoding import Decoding, next_token_ids
from lloco.engine.engine import Generation, SamplingParams
from lloco.engine.named_adapters import NamedAdapters
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt

Step = Callable[[int], Tensor]
"""Reads one more token; returns the logits (1, vocab_size) of the next."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What one answer took."""

    first_token_seconds: float
    """From the prompt to the first token."""
    answer_seconds: float
    """From the prompt to the last token."""
    new_tokens: int
    num_dropped: int
    """Positions of the prompt that the answer does not attend to."""


class PromptReader(Protocol):
    """How a prompt is read."""

    def prepare(self, decoder: Decoder, prompt: Prompt) -> None:
        """Do what a store would have done before the question came; not part of an answer's time."""
        ...

    def begin(self, decoder: Decoder, prompt: Prompt, peft_name: str) -> tuple[Tensor, Step, int]:
        """Read the prompt; returns the logits (1, vocab_size) of the first token, how to go on, what was dropped."""
        ...


class WholePrompt:
    """Reads all of a prompt."""

    def prepare(self, decoder: Decoder, prompt: Prompt) -> None:
        """Do nothing: the prompt is all there is."""

    def begin(self, decoder: Decoder, prompt: Prompt, peft_name: str) -> tuple[Tensor, Step, int]:
        """Read the prompt as the streaming engine reads one alone."""
        batch, logits = DecodeBatch.read(decoder, [prompt], [peft_name])
        return logits, lambda token_id: batch.step(decoder, [token_id]), 0


class TimedEngine:
    """Answers prompts one after the other and keeps their timings."""

    name = "transformers"

    def __init__(self, decoder: Decoder, reader: PromptReader | None = None) -> None:
        self._adapters = NamedAdapters(decoder)
        self._reader = reader or WholePrompt()
        self.timings: list[Timing] = []
        """One an answer, in order."""
        self.prepare_seconds = 0.0
        """What the reader did before the questions."""

    @property
    def decoder(self) -> Decoder:
        """The model that reads the prompts, with the adapters that were added."""
        return self._adapters.decoder

    def add_adapter(self, name: str, folder: Path) -> None:
        """Make the adapter of that folder available under a name, as `NamedAdapters.add`."""
        self._adapters.add(name, folder)

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingParams, *, adapters: Sequence[str | None] | None = None
    ) -> list[Generation]:
        """Return one generation per prompt, in order.

        Raises:
            LlocoError: a prompt and `max_tokens` do not fit the decoder, or an adapter's name is unknown.
            MismatchError: a soft prompt was made for a decoder of another width.
        """
        names = self._adapters.peft_names(len(prompts), adapters)
        return [self._answer(prompt, sampling, name) for prompt, name in zip(prompts, names, strict=True)]

    def _answer(self, prompt: Prompt, sampling: SamplingParams, peft_name: str) -> Generation:
        decoder, decoding = self.decoder, Decoding(self.decoder, prompt, sampling)
        self.prepare_seconds += seconds_of(lambda: self._reader.prepare(decoder, prompt), decoder.device)
        synchronize(decoder.device)
        started = time.perf_counter()
        logits, step, num_dropped = self._reader.begin(decoder, prompt, peft_name)
        decoding.add(*next_token_ids([decoding], logits))
        first = time.perf_counter() - started
        while decoding.finish_reason is None:
            decoding.add(*next_token_ids([decoding], step(decoding.token_ids[-1])))
        seconds = time.perf_counter() - started
        self.timings.append(Timing(first, seconds, len(decoding.token_ids), num_dropped))
        return decoding.generation
