"""Answers to a task's questions by one mode of reading: batched, greedy, resumable.

A document's questions are asked together, so that its soft prompt is fetched and its text tokenised once. Prompts are
laid out by `prompt` and nothing else; which part of a document they hold is `context`'s; files are `run.log`'s. Does
not score.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lloco.adapters.digest import adapter_digest
from lloco.documents.document import Document
from lloco.engine.engine import Engine, SamplingParams
from lloco.errors import DataError, LlocoError
from lloco.evals.context import Context, DocumentContext, DocumentReading
from lloco.evals.mode import BUDGET_MODES, MODES, VECTOR_MODES, VECTORS_ALONE, needs_soft_prompt
from lloco.evals.run.log import Prediction, WorkLog
from lloco.evals.run.settings import common_settings, digest_of, made_by
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt, build_prompt
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.prompts.template import Template, has_chat_template
from lloco.tasks.sample import Sample
from lloco.tasks.task import find_task
from lloco.tasks.wording import template_for

SoftPromptOf = Callable[[Document], SoftPrompt]
_STANDIN = torch.zeros(1, dtype=torch.int64)


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How a document is read and how long answers may be."""

    mode: str = "compressed"
    """What is read, one of `MODES`."""
    max_tokens: int | None = None
    """Tokens that an answer has at most; the task's own when not given."""
    batch_size: int = 8
    """Questions that are answered together."""
    adapter: Path | None = None
    """Folder of the adapter that answers; none when not given."""
    context_budget: int | None = None
    """Positions for the modes that have a budget; as many as the document has virtual tokens when not given."""
    seed: int = 0
    """Recorded with the predictions, so that runs of two seeds do not mix; decoding is greedy."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise LlocoError(f"there is no mode {self.mode!r}: choose one of {', '.join(MODES)}")
        for name in ("max_tokens", "batch_size", "context_budget"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise LlocoError(f"{name} is {value}: it must be at least 1")


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """A sample with its prompt."""

    sample: Sample
    template: Template
    prompt: Prompt
    sampling: SamplingParams
    num_document_tokens: int
    context: Context


def predict(
    samples: Sequence[Sample],
    engine: Engine,
    template: Template | None,
    options: PredictOptions,
    *,
    soft_prompt_of: SoftPromptOf | None = None,
    budget_of: Callable[[Document], int] | None = None,
    reading_of: Callable[[Document], DocumentReading] | None = None,
    out: Path | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[Prediction]:
    """Answer every sample, in order; with `out`, a run that was killed goes on where it was, to the same file.

    Args:
        samples: questions of one task.
        engine: its decoder reads the prompts; gets the adapter of `options` added.
        template: wording of all questions; None chooses by task and sample.
        options: the mode and its limits.
        soft_prompt_of: called once per document, and only where the mode or its budget needs it.
        budget_of: number of virtual tokens of a document, where that is known without its vectors.
        reading_of: what of a document is read, where it is not one of the modes' own ways; without `out`.
        out: predictions file `{id: text}`; the log of what was read to answer lies beside it.
        on_progress: called with the number of predictions that are just done.

    Raises:
        DataError: an id comes twice, or `out` holds the beginning of another run.
        LlocoError: a question leaves no room for its context, or the mode lacks what it reads.
        MismatchError: a soft prompt or the adapter was made for another model or text.
    """
    assert out is None or reading_of is None, "a log does not know how other readings were made"
    _check(samples, options, soft_prompt_of, budget_of, reading_of)
    ordered = [sample for group in by_document(samples) for sample in group]
    contexts = _Contexts(engine.decoder, options, soft_prompt_of, budget_of, reading_of)
    log = None if out is None else WorkLog(out, _settings(samples, ordered[0], engine, contexts, template))
    with nullcontext() if log is None else log.claimed():
        done = {} if log is None else {prediction.id: prediction for prediction in log.begin()}
        if on_progress is not None and done:
            on_progress(len(done))
        adapter = _add_adapter(engine, options.adapter)
        waiting = (_question(sample, contexts, template) for sample in ordered if sample.id not in done)
        for batch in _batches(waiting, options.batch_size):
            predictions = _answer(batch, engine, adapter)
            if log is not None:
                log.append(predictions)
            done |= {prediction.id: prediction for prediction in predictions}
            if on_progress is not None:
                on_progress(len(predictions))
        in_order = [done[sample.id] for sample in samples]
        if log is not None:
            log.finish(in_order)
    return in_order


class _Contexts:
    """The contexts of the document that is being asked about."""

    def __init__(
        self,
        decoder: Decoder,
        options: PredictOptions,
        soft_prompt_of: SoftPromptOf | None,
        budget_of: Callable[[Document], int] | None,
        reading_of: Callable[[Document], DocumentReading] | None,
    ) -> None:
        self.decoder, self.options = decoder, options
        self._soft_prompt_of, self._budget_of, self._reading_of = soft_prompt_of, budget_of, reading_of
        self._current: DocumentContext | None = None

    @property
    def needs_soft_prompts(self) -> bool:
        """Whether soft prompts decide what is read, if only by their lengths."""
        return self._soft_prompt_of is not None and needs_soft_prompt(self.options.mode, self.options.context_budget)

    def of(self, document: Document) -> DocumentReading:
        """Return what of the document is read."""
        return self.by_mode(document) if self._reading_of is None else self._reading_of(document)

    def by_mode(self, document: Document) -> DocumentContext:
        """Return the document's contexts; kept until another document is asked for."""
        if self._current is None or self._current.document != document:
            tokenizer = self.decoder.require_tokenizer()
            self._current = current = DocumentContext(
                document, tokenizer, lambda: self._soft_prompt(document), lambda: self._budget(current)
            )
        return self._current

    def _soft_prompt(self, document: Document) -> SoftPrompt:
        assert self._soft_prompt_of is not None, "_check saw to it"
        return self._soft_prompt_of(document)

    def _budget(self, current: DocumentContext) -> int:
        if self.options.context_budget is not None:
            return self.options.context_budget
        if self._budget_of is not None:
            return self._budget_of(current.document)
        return current.soft_prompt.num_virtual_tokens


def _check(
    samples: Sequence[Sample],
    options: PredictOptions,
    soft_prompt_of: SoftPromptOf | None,
    budget_of: Callable[[Document], int] | None,
    reading_of: Callable[[Document], DocumentReading] | None,
) -> None:
    if not samples:
        raise DataError("there are no samples to predict: check --data and --limit")
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise DataError(f"sample id {sample.id!r} occurs twice: give every question its own id")
        seen.add(sample.id)
    if reading_of is not None:
        return
    if options.mode in VECTOR_MODES and soft_prompt_of is None:
        raise LlocoError(f"mode {options.mode} reads soft prompts, there are none: name a compressor or a corpus")
    has_budget = options.context_budget is not None or soft_prompt_of is not None or budget_of is not None
    if options.mode in BUDGET_MODES and not has_budget:
        raise LlocoError(
            f"mode {options.mode} reads as many tokens as the soft prompt has, there is none: name a compressor or a "
            "corpus, or give a context budget"
        )


def by_document(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Group samples by their document; documents come in the order in which they are first asked about."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.document.id, sample.document.text), []).append(sample)
    return list(groups.values())


def _question(sample: Sample, contexts: _Contexts, template: Template | None) -> _Question:
    decoder, options = contexts.decoder, contexts.options
    tokenizer = decoder.require_tokenizer()
    template = template or template_for(tokenizer, sample)
    max_tokens = options.max_tokens or find_task(sample.task).answer_tokens(sample)
    document = contexts.of(sample.document)
    context = Context()
    if options.mode != "none":
        around = build_prompt(template, tokenizer, sample.question, context_ids=_STANDIN, options=sample.options)
        room = decoder.max_len - max_tokens - (around.length - len(_STANDIN))
        if room < 1:
            raise LlocoError(
                f"question {sample.id!r} takes {around.length - len(_STANDIN)} tokens and its answer up to "
                f"{max_tokens}, {decoder.name} reads {decoder.max_len}: no room is left for the document; lower "
                "max_tokens or use a model with more positions"
            )
        if options.mode in VECTORS_ALONE:
            room = max(room, decoder.num_vectors_beyond)
        context = document.context(options.mode, sample.question, room)
    prompt = build_prompt(
        template,
        tokenizer,
        sample.question,
        soft_prompts=context.soft_prompts,
        context_ids=context.token_ids,
        options=sample.options,
    )
    sampling = SamplingParams(max_tokens=max_tokens, stop=template.stop)
    return _Question(sample, template, prompt, sampling, len(document.token_ids), context)


def _batches(questions: Iterator[_Question], batch_size: int) -> Iterator[list[_Question]]:
    """Batches of questions that are sampled alike."""
    batch: list[_Question] = []
    for question in questions:
        if batch and (len(batch) == batch_size or batch[0].sampling != question.sampling):
            yield batch
            batch = []
        batch.append(question)
    if batch:
        yield batch


def _answer(batch: Sequence[_Question], engine: Engine, adapter: str | None) -> list[Prediction]:
    started = time.perf_counter()
    generations = engine.generate(
        [question.prompt for question in batch], batch[0].sampling, adapters=[adapter] * len(batch)
    )
    seconds = (time.perf_counter() - started) / len(batch)
    return [
        Prediction(
            id=question.sample.id,
            text=question.template.read_answer(generation.text).strip(),
            num_context_tokens=question.prompt.num_context_tokens,
            num_virtual_tokens=question.prompt.num_virtual_tokens,
            num_document_tokens=question.num_document_tokens,
            num_soft_prompt_tokens=question.context.num_soft_prompt_tokens,
            is_cut=question.context.is_cut,
            is_answer_cut=generation.finish_reason == "length",
            seconds=seconds,
        )
        for question, generation in zip(batch, generations, strict=True)
    ]


def _add_adapter(engine: Engine, folder: Path | None) -> str | None:
    """Add the adapter under its digest, which no other adapter can have."""
    if folder is None:
        return None
    name = adapter_digest(folder)
    engine.add_adapter(name, folder)
    return name


def _settings(
    samples: Sequence[Sample], first: Sample, engine: Engine, contexts: _Contexts, template: Template | None
) -> dict[str, Any]:
    """Everything that decides the predictions, by name; the first document stands for the making of soft prompts."""
    options, document = contexts.options, contexts.by_mode(first.document)
    return {
        **common_settings(samples, engine, options.adapter),
        "mode": options.mode,
        "max_tokens": options.max_tokens,
        "context_budget": document.budget if options.mode in BUDGET_MODES else None,
        "soft_prompts": made_by(document.soft_prompt.provenance) if contexts.needs_soft_prompts else None,
        "template": _wording(samples, engine.decoder) if template is None else digest_of(template.to_json()),
        "seed": options.seed,
    }


def _wording(samples: Sequence[Sample], decoder: Decoder) -> str:
    """Name the default wording: "by sample", or what it is in chat form, which older logs did not have."""
    tokenizer = decoder.require_tokenizer()
    if not has_chat_template(tokenizer):
        return "by sample"
    return digest_of(sorted({template_for(tokenizer, sample).to_json() for sample in samples}))
