"""A generator in this process: a causal language model, as large or as small as it is.

A small model gets its reply begun for it. `smollm2` writes as it was published and answers in its form that was
trained to read, whose answers are better. Does not know what is asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lloco.compressors.load import load_named_decoder
from lloco.engine.engine import Engine, SamplingParams
from lloco.engine.streaming import embedded_engine
from lloco.models.decoder import Decoder, load_decoder
from lloco.models.named import SMOLLM2, full_name
from lloco.models.tokenize import token_ids
from lloco.prompts.prompt import History, Prompt, build_prompt
from lloco.prompts.template import Template, default_template, has_chat_template
from lloco.self_study.ask import Ask

SMALL_PARAMETERS = 600_000_000
"""Models of fewer parameters do not follow instructions well enough to find both question and answer."""
BATCH_SIZE = 8


class LocalGenerator:
    """Writes with one model and answers with the same, or with its form that was trained to read."""

    def __init__(self, writer: Decoder, reader: Decoder | None = None, *, batch_size: int = BATCH_SIZE) -> None:
        """Generate with these models; the writer reads too where no reader is given.

        Raises:
            CheckpointError: a model has no tokenizer.
        """
        self._writer, self._reader = writer, reader or writer
        self._batch_size = batch_size
        self.num_spans_at_once = max(1, batch_size // 2)
        self._engines: dict[int, Engine] = {}
        self._template = default_template(self._reader.require_tokenizer(), "short answer")
        self.is_small = sum(weight.numel() for weight in writer.model.parameters()) < SMALL_PARAMETERS

    @property
    def name(self) -> str:
        """The model's name."""
        return self._writer.name

    @property
    def identity(self) -> str:
        """Name and digests of the models, so that replies of others are not taken for theirs."""
        return f"{self._writer.name} {self._writer.digest[:12]} {self._reader.digest[:12]}"

    def replies(self, asks: Sequence[Ask]) -> Iterator[tuple[int, str]]:
        """Yield replies, a batch of requests of one purpose after the other."""
        for purpose, decoder in (("pairs", self._writer), ("answer", self._reader)):
            own = [index for index, ask in enumerate(asks) if ask.purpose == purpose]
            for start in range(0, len(own), self._batch_size):
                batch = own[start : start + self._batch_size]
                yield from zip(batch, self._generate(decoder, [asks[index] for index in batch]), strict=True)

    def _generate(self, decoder: Decoder, asks: Sequence[Ask]) -> list[str]:
        engine = self._engines.setdefault(id(decoder), embedded_engine(decoder, self._batch_size))
        stop = ("\n",) if asks[0].purpose == "answer" or asks[0].opening else ()
        sampling = SamplingParams(max_tokens=asks[0].max_tokens, stop=stop)
        prompts = [self._answer_prompt(ask) if ask.purpose == "answer" else self._pair_prompt(ask) for ask in asks]
        # What is longer than the model reads has no reply, which the checks count.
        fits = [decoder.vectors_beside(prompt.length + sampling.max_tokens) >= 0 for prompt in prompts]
        made = iter(engine.generate([prompt for prompt, fit in zip(prompts, fits, strict=True) if fit], sampling))
        return [next(made).text if fit else "" for fit in fits]

    def _answer_prompt(self, ask: Ask) -> Prompt:
        tokenizer = self._reader.require_tokenizer()
        context = token_ids(tokenizer, ask.before) if ask.before else None
        return build_prompt(self._template, tokenizer, ask.text, context_ids=context)

    def _pair_prompt(self, ask: Ask) -> Prompt:
        """Lay a request out; what all of its kind share is a piece of its own, so that it is read once."""
        tokenizer = self._writer.require_tokenizer()
        template = _template(has_chat_template(tokenizer), ask.before)
        history = History("" if template.use_chat_template else ask.before, ask.examples)
        ids, other = (
            torch.cat(build_prompt(template, tokenizer, text, history=history).pieces)
            for text in (ask.text, f"~{ask.text}")
        )
        shared = _num_equal(ids, other)
        opening = token_ids(tokenizer, ask.opening) if ask.opening else ids[:0]
        return Prompt(tuple(piece for piece in (ids[:shared], torch.cat([ids[shared:], opening])) if len(piece)))


def load_generator(name: str, *, device: str | None, dtype: str | None) -> LocalGenerator:
    """Load a model by a name of `lloco model list`, a folder, a GGUF file or a hub id.

    Raises:
        CheckpointError: no such checkpoint, or it cannot be read as a causal language model.
    """
    is_smollm2 = full_name(name) == SMOLLM2
    writer = load_decoder(name, device=device, dtype=dtype) if is_smollm2 else load_named_decoder(
        name, device=device, dtype=dtype
    )  # fmt: skip
    reader = load_named_decoder(name, device=device, dtype=dtype) if is_smollm2 else None
    return LocalGenerator(replace(writer, name=full_name(name)), reader)


def _template(is_chat: bool, instruction: str) -> Template:
    if is_chat:
        return Template("self-study", "", "", "{question}", "{answer}", use_chat_template=True, system=instruction)
    return Template("self-study", "", "", "{question}\n", "{answer}\n\n")


def _num_equal(ids: Tensor, other: Tensor) -> int:
    length = min(len(ids), len(other))
    is_other = (ids[:length] != other[:length]).nonzero()
    return int(is_other[0]) if len(is_other) else length
