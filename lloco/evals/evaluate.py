"""Evaluation: the same questions answered in several modes of reading, each scored by the task's metrics.

Rows are comparable because model, questions and greedy decoding are the same, and truncated text and retrieved passages
get as many decoder tokens as the soft prompt. Runs go on where they were killed. Does not know stores or compressors.
"""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

from lloco.documents import Document
from lloco.durable import make_folder_durably
from lloco.engine.engine import Engine
from lloco.errors import LlocoError
from lloco.evals.context import BUDGET_MODES
from lloco.evals.plots import write_plots
from lloco.evals.predict import MODES, PredictOptions, SoftPromptOf, predict, template_for
from lloco.evals.results import ADAPTER_SUFFIX, ModeResult, Results
from lloco.evals.sample import Sample
from lloco.evals.scorer import score
from lloco.evals.tasks import find_task
from lloco.models.adapter import adapter_digest, check_adapter
from lloco.prompt import build_prompt
from lloco.soft_prompt import SoftPrompt
from lloco.template import TEMPLATE_FILE, Template
from lloco.version import installed_version


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """Which rows are made, and how."""

    modes: tuple[str, ...] = MODES
    """Modes of reading, in the order of the rows; `MODE+adapter` reads with the adapter."""
    max_tokens: int | None = None
    """Tokens that an answer has at most; the task's own when not given."""
    batch_size: int = 8
    """Questions that are answered together."""
    adapter: Path | None = None
    """Folder of the adapter; unless a mode names it, a row `compressed+adapter` is added."""
    context_budget: int | None = None
    """Tokens for truncated and retrieval; as many as the document has virtual tokens when not given."""
    seed: int = 0
    """Seed of the bootstrap behind the standard error of ROUGE's geometric mean; decoding is greedy."""

    def __post_init__(self) -> None:
        if not self.modes:
            raise LlocoError(f"at least one mode was wanted, none came: choose some of {', '.join(MODES)}")
        if unknown := [mode for mode in self.modes if mode.removesuffix(ADAPTER_SUFFIX) not in MODES]:
            raise LlocoError(f"there is no mode {unknown[0]!r}: choose some of {', '.join(MODES)}")
        if len(set(self.modes)) != len(self.modes):
            raise LlocoError(f"modes {', '.join(self.modes)} hold one twice: name each mode once")
        if self.adapter is None and any(mode.endswith(ADAPTER_SUFFIX) for mode in self.modes):
            raise LlocoError(f"modes {', '.join(self.modes)} ask for an adapter and none is given: name its folder")

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows, in order."""
        if self.adapter is None or any(mode.endswith(ADAPTER_SUFFIX) for mode in self.modes):
            return self.modes
        with_adapter = {"compressed": ("compressed", f"compressed{ADAPTER_SUFFIX}")}
        return tuple(row for mode in self.modes for row in with_adapter.get(mode, (mode,)))

    def predict_options(self, row: str) -> PredictOptions:
        """Return the options of one row."""
        has_adapter = row.endswith(ADAPTER_SUFFIX)
        return PredictOptions(
            mode=row.removesuffix(ADAPTER_SUFFIX),
            max_tokens=self.max_tokens,
            batch_size=self.batch_size,
            adapter=self.adapter if has_adapter else None,
            context_budget=self.context_budget,
        )


def evaluate(
    task: str,
    samples: Sequence[Sample],
    engine: Engine,
    options: EvaluateOptions,
    *,
    soft_prompt_of: SoftPromptOf | None = None,
    template: Template | None = None,
    out: Path | None = None,
    provenance: Mapping[str, Any] | None = None,
    on_progress: Callable[[str, int], None] | None = None,
) -> Results:
    """Predict and score every mode; with `out`, write `results.json`, `predictions/MODE.json` and plots there.

    Args:
        task: name of the task.
        samples: its questions, each with a reference.
        engine: answers them.
        options: modes and limits.
        soft_prompt_of: a document's soft prompt; needed by `compressed`, and by modes that get its length as budget.
        template: wording of all rows; None takes the adapter's own for rows with an adapter, else the task's.
        out: folder of the results; a killed evaluation that is started again there goes on.
        provenance: what the caller wants recorded among the options, such as the command and the data's path.
        on_progress: called with a row's name and the number of predictions that are just done.

    Raises:
        DataError: samples without references, ids that come twice, or another run's unfinished predictions in `out`.
        LlocoError: a mode lacks what it reads, a template does not suit the questions, or a question leaves no room.
        MismatchError: a soft prompt or the adapter was made for another model or text.
    """
    score(task, samples, {sample.id: "" for sample in samples})  # unusable samples are found before the long work
    _check_can_read(options, soft_prompt_of)
    if options.adapter is not None:
        check_adapter(options.adapter, engine.decoder)
    known = _KnownSoftPrompts(soft_prompt_of) if soft_prompt_of is not None else None
    templates = {row: template or _template_of(options.predict_options(row)) for row in options.rows}
    _check_wording(samples, engine, templates.values())
    rows = []
    for row in options.rows:
        predictions = predict(
            samples,
            engine,
            templates[row],
            options.predict_options(row),
            soft_prompt_of=known.soft_prompt if known else None,
            budget_of=known.num_virtual_tokens if known else None,
            out=None if out is None else out / "predictions" / f"{row}.json",
            on_progress=_progress_of(row, on_progress),
        )
        scores = score(task, samples, {one.id: one.text for one in predictions}, seed=options.seed)
        rows.append(ModeResult(row, scores, tuple(predictions)))
    described = _describe(task, samples, engine, options, templates) | dict(provenance or {})
    results = Results(task, tuple(rows), tuple(samples), described, versions())
    if out is not None:
        make_folder_durably(out)
        results.save(out / "results.json")
        write_plots(results, out)
    return results


class _KnownSoftPrompts:
    """Remembers how long soft prompts are, so that rows that only need a budget do not fetch or make them again."""

    def __init__(self, soft_prompt_of: SoftPromptOf) -> None:
        self._soft_prompt_of = soft_prompt_of
        self._num_virtual_tokens: dict[tuple[str, str], int] = {}

    def soft_prompt(self, document: Document) -> SoftPrompt:
        """Fetch a document's soft prompt."""
        soft_prompt = self._soft_prompt_of(document)
        self._num_virtual_tokens[document.id, document.digest] = soft_prompt.num_virtual_tokens
        return soft_prompt

    def num_virtual_tokens(self, document: Document) -> int:
        """Return the length of a document's soft prompt."""
        if (document.id, document.digest) not in self._num_virtual_tokens:
            self.soft_prompt(document)
        return self._num_virtual_tokens[document.id, document.digest]


def versions() -> dict[str, str]:
    """Return the versions of what computes an answer."""
    packages = {name: version(name) for name in ("torch", "transformers", "peft")}
    return {
        "lloco": installed_version(),
        "python": platform.python_version(),
        **packages,
        "platform": platform.platform(),
    }


def _check_can_read(options: EvaluateOptions, soft_prompt_of: SoftPromptOf | None) -> None:
    """Refuse before the first row what the last one would refuse after hours."""
    for row in options.rows:
        mode = options.predict_options(row).mode
        lacks_budget = mode in BUDGET_MODES and options.context_budget is None
        if soft_prompt_of is None and (mode == "compressed" or lacks_budget):
            raise LlocoError(f"mode {mode} needs the documents' soft prompts: name a compressor or a corpus")


def _check_wording(samples: Sequence[Sample], engine: Engine, templates: Iterable[Template | None]) -> None:
    """Lay out one question with options and one without in every wording."""
    examples = {bool(sample.options): sample for sample in samples}.values()
    for template, sample in product(templates, examples):
        wording = template or template_for(sample.task, sample)
        build_prompt(wording, engine.decoder.require_tokenizer(), sample.question, options=sample.options)


def _template_of(options: PredictOptions) -> Template | None:
    """Return the adapter's own wording, or None for the task's."""
    if options.adapter is None or not (options.adapter / TEMPLATE_FILE).is_file():
        return None
    return Template.load(options.adapter)


def _progress_of(row: str, on_progress: Callable[[str, int], None] | None) -> Callable[[int], None] | None:
    if on_progress is None:
        return None
    return lambda num_done: on_progress(row, num_done)


def _describe(
    task: str,
    samples: Sequence[Sample],
    engine: Engine,
    options: EvaluateOptions,
    templates: Mapping[str, Template | None],
) -> dict[str, Any]:
    """Everything that a reader needs to make the numbers again, resolved."""
    decoder = engine.decoder
    by_task = sorted({template_for(task, sample).name for sample in samples})
    names = {row: ", ".join(by_task) if template is None else template.name for row, template in templates.items()}
    answer_lens = sorted({options.max_tokens or find_task(task).answer_tokens(sample) for sample in samples})
    return {
        "modes": list(options.rows),
        "num_questions": len(samples),
        "num_documents": len({(sample.document.id, sample.document.text) for sample in samples}),
        "max_tokens": answer_lens[0] if len(answer_lens) == 1 else answer_lens,
        "batch_size": options.batch_size,
        "context_budget": options.context_budget or "virtual tokens of the document",
        "decoding": "greedy",
        "seed": options.seed,
        "model": decoder.name,
        "model_digest": decoder.digest,
        "dtype": str(decoder.dtype).removeprefix("torch."),
        "device": decoder.device.type,
        "adapter": None if options.adapter is None else str(options.adapter),
        "adapter_digest": None if options.adapter is None else adapter_digest(options.adapter),
        "templates": names,
    }
