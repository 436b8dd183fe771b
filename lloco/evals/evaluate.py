"""Evaluation: the same questions answered in several modes of reading, each scored by the task's metrics.

Rows are comparable because model, questions and greedy decoding are the same, and truncated text and retrieved passages
get as many decoder tokens as the soft prompt. Runs go on where they were killed. Does not know stores or compressors.
"""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from lloco.adapters.check import check_adapter
from lloco.adapters.digest import adapter_digest
from lloco.documents.document import Document
from lloco.engine.engine import Engine
from lloco.errors import LlocoError
from lloco.evals.mode import ADAPTER_SUFFIX, DEFAULT_MODES, MODES, VECTORS_ALONE, needs_soft_prompt
from lloco.evals.plots import write_plots
from lloco.evals.predict import PredictOptions, SoftPromptOf, predict
from lloco.evals.results import ModeResult, Results
from lloco.evals.run.earlier import EarlierRun
from lloco.evals.run.folder import PREDICTIONS_FOLDER, RESULTS_FILE, claimed_folder
from lloco.evals.run.settings import Settings, common_settings, digest_of, made_by, references_digest
from lloco.evals.scorer import score
from lloco.models.decoder import dtype_name
from lloco.prompts.prompt import build_prompt
from lloco.prompts.provenance import Provenance
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.prompts.soft_prompt_cache import SoftPromptCache
from lloco.prompts.template import Template, has_chat_template
from lloco.tasks.sample import Sample
from lloco.tasks.task import find_task
from lloco.tasks.wording import template_for
from lloco.version import __version__


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """Which rows are made, and how."""

    modes: tuple[str, ...] = DEFAULT_MODES
    """Modes of reading, in the order of the rows; `MODE+adapter` reads with the adapter."""
    max_tokens: int | None = None
    """Tokens that an answer has at most; the task's own when not given."""
    batch_size: int = 8
    """Questions that are answered together."""
    adapter: Path | None = None
    """Folder of the adapter; unless a mode names it, every mode is read with it as well."""
    context_budget: int | None = None
    """Positions for the modes that have a budget; as many as the document has virtual tokens when not given."""
    seed: int = 0
    """Seed of the bootstrap behind the standard error of ROUGE's geometric mean; decoding is greedy."""

    def __post_init__(self) -> None:
        if not self.modes:
            raise LlocoError(f"there must be at least one mode, got none: choose some of {', '.join(MODES)}")
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
        return tuple(row for mode in self.modes for row in (mode, f"{mode}{ADAPTER_SUFFIX}"))

    def predict_options(self, row: str) -> PredictOptions:
        """Return the options of one row."""
        has_adapter = row.endswith(ADAPTER_SUFFIX)
        return PredictOptions(
            mode=row.removesuffix(ADAPTER_SUFFIX),
            max_tokens=self.max_tokens,
            batch_size=self.batch_size,
            adapter=self.adapter if has_adapter else None,
            context_budget=self.context_budget,
            seed=self.seed,
        )


def evaluate(
    task: str,
    samples: Sequence[Sample],
    engine: Engine,
    options: EvaluateOptions,
    *,
    soft_prompt_of: SoftPromptOf | None = None,
    budget_of: Callable[[Document], int] | None = None,
    template: Template | None = None,
    out: Path | Callable[[Settings], Path] | None = None,
    provenance: Mapping[str, Any] | None = None,
    beside: Sequence[EarlierRun] = (),
    on_progress: Callable[[str, int], None] | None = None,
) -> Results:
    """Predict and score every mode; with `out`, write `results.json`, `predictions/MODE.json` and plots there.

    Args:
        task: name of the task.
        samples: its questions, each with a reference.
        engine: answers them.
        options: modes and limits.
        soft_prompt_of: a document's soft prompt; needed by `compressed`, and by modes that get its length as budget.
        budget_of: number of virtual tokens of a document, where that is known without `soft_prompt_of`.
        template: wording of all rows; None takes the adapter's own for rows with an adapter, else the task's.
        out: folder of the results, or what chooses it by what the run is; a killed evaluation that is started again
            there goes on.
        provenance: what the caller wants recorded among the options, such as the command and the data's path.
        beside: runs of the same questions that plots show too.
        on_progress: called with a row's name and the number of predictions that are just done.

    Raises:
        DataError: samples without references, ids that come twice, or `out` holds a run with other options, or is
            another process's.
        LlocoError: a mode lacks what it reads, a template does not suit the questions, or a question leaves no room.
        MismatchError: a soft prompt or the adapter was made for another model or text.
    """
    score(task, samples, {sample.id: "" for sample in samples})  # unusable samples are found before the long work
    _check_can_read(options, soft_prompt_of, budget_of)
    if options.adapter is not None:
        check_adapter(options.adapter, engine.decoder)
    known = _KnownSoftPrompts(soft_prompt_of) if soft_prompt_of is not None else None
    templates = {row: template or Template.of_adapter(options.predict_options(row).adapter) for row in options.rows}
    _check_wording(samples, engine, templates.values())
    run = _Run(task, samples, engine, options, templates, known, known.num_virtual_tokens if known else budget_of)
    made = run.provenance()
    settings = {} if out is None else run.settings(made)
    folder = out(settings) if callable(out) else out
    with nullcontext() if folder is None else claimed_folder(folder, settings):
        rows = tuple(run.row(row, folder, on_progress) for row in options.rows)
        described = run.described(made) | dict(provenance or {})
        results = Results(task, rows, tuple(samples), described, versions(), tuple(beside))
        if folder is not None:
            results.save(folder / RESULTS_FILE)
            write_plots(results, folder)
    return results


class _KnownSoftPrompts:
    """Keeps soft prompts as long as they fit, and how long all of them are: rows that only need a budget fetch none."""

    def __init__(self, soft_prompt_of: SoftPromptOf) -> None:
        self._soft_prompt_of = soft_prompt_of
        self._num_virtual_tokens: dict[tuple[str, str], int] = {}
        self._cache: SoftPromptCache[tuple[str, str], SoftPrompt] = SoftPromptCache()

    def soft_prompt(self, document: Document) -> SoftPrompt:
        """Fetch a document's soft prompt."""
        key = (document.id, document.digest)
        if (soft_prompt := self._cache.get(key)) is None:
            soft_prompt = self._soft_prompt_of(document)
            self._cache.keep(key, soft_prompt)
            self._num_virtual_tokens[key] = soft_prompt.num_virtual_tokens
        return soft_prompt

    def num_virtual_tokens(self, document: Document) -> int:
        """Return the length of a document's soft prompt."""
        key = (document.id, document.digest)
        if key not in self._num_virtual_tokens:
            self.soft_prompt(document)
        return self._num_virtual_tokens[key]


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What is asked, of what, and how."""

    task: str
    samples: Sequence[Sample]
    engine: Engine
    options: EvaluateOptions
    templates: Mapping[str, Template | None]
    """By row; None is the task's."""
    known: _KnownSoftPrompts | None
    budget_of: Callable[[Document], int] | None

    def row(self, row: str, out: Path | None, on_progress: Callable[[str, int], None] | None) -> ModeResult:
        """Predict and score one row."""
        predictions = predict(
            self.samples,
            self.engine,
            self.templates[row],
            self.options.predict_options(row),
            soft_prompt_of=self.known.soft_prompt if self.known else None,
            budget_of=self.budget_of,
            out=None if out is None else out / PREDICTIONS_FOLDER / f"{row}.json",
            on_progress=None if on_progress is None else partial(on_progress, row),
        )
        scores = score(
            self.task,
            self.samples,
            {prediction.id: prediction.text for prediction in predictions},
            seed=self.options.seed,
        )
        return ModeResult(row, scores, tuple(predictions))

    def provenance(self) -> Provenance | None:
        """Say how soft prompts were made, for which the first document's stands; None where none is read."""
        reads_soft_prompts = any(needs_soft_prompt(row, self.options.context_budget) for row in self.options.rows)
        if self.known is None or not reads_soft_prompts:
            return None
        return self.known.soft_prompt(self.samples[0].document).provenance

    def settings(self, made: Provenance | None) -> dict[str, Any]:
        """Return everything that decides the results, by name; soft prompts were `made` like that."""
        options = self.options
        return {
            **common_settings(self.samples, self.engine, options.adapter),
            "task": self.task,
            "num_questions": len(self.samples),
            "modes": ",".join(options.rows),
            "max_tokens": options.max_tokens,
            "context_budget": options.context_budget or self._stored_budget(),
            "soft_prompts": None if made is None else made_by(made),
            "templates": digest_of([*self._wordings(), *self._chat_wordings()]),
            "device": self.engine.decoder.device.type,
            "seed": options.seed,
        }

    def _stored_budget(self) -> int | None:
        """Return the first document's budget where budgets are known without soft prompts."""
        if self.known is not None or self.budget_of is None:
            return None
        return self.budget_of(self.samples[0].document)

    def _wordings(self) -> list[str | None]:
        return [None if template is None else template.to_json() for template in self.templates.values()]

    def _chat_wordings(self) -> list[str]:
        """Return the packaged wordings in chat form that rows without one of their own get."""
        if None not in self.templates.values() or not has_chat_template(self._tokenizer):
            return []
        return sorted({template_for(self._tokenizer, sample).to_json() for sample in self.samples})

    @property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return self.engine.decoder.require_tokenizer()

    def described(self, made: Provenance | None) -> dict[str, Any]:
        """Return everything that a reader needs to make the numbers again, resolved."""
        options, decoder = self.options, self.engine.decoder
        by_task = sorted({template_for(self._tokenizer, sample).name for sample in self.samples})
        names = {
            row: ", ".join(by_task) if template is None else template.name for row, template in self.templates.items()
        }
        answer_lens = sorted(
            {options.max_tokens or find_task(self.task).answer_tokens(sample) for sample in self.samples}
        )
        return {
            "modes": list(options.rows),
            "num_questions": len(self.samples),
            "references": references_digest(self.samples),
            "num_documents": len({(sample.document.id, sample.document.text) for sample in self.samples}),
            "max_tokens": answer_lens[0] if len(answer_lens) == 1 else answer_lens,
            "batch_size": options.batch_size,
            "context_budget": options.context_budget or "virtual tokens of the document",
            "decoding": "greedy",
            "seed": options.seed,
            "engine": self.engine.name,
            "model": decoder.name,
            "model_digest": decoder.digest,
            **({"model_made_from": decoder.made_from} if decoder.made_from else {}),
            "dtype": dtype_name(decoder.dtype),
            "device": decoder.device.type,
            "adapter": None if options.adapter is None else str(options.adapter),
            "adapter_digest": None if options.adapter is None else adapter_digest(options.adapter),
            "templates": names,
            "refine_steps": None if made is None else made.refine_steps,
        }


def versions() -> dict[str, str]:
    """Return the versions of what computes an answer."""
    packages = {name: version(name) for name in ("torch", "transformers", "peft")}
    return {
        "lloco": __version__,
        "python": platform.python_version(),
        **packages,
        "platform": platform.platform(),
    }


def _check_can_read(
    options: EvaluateOptions,
    soft_prompt_of: SoftPromptOf | None,
    budget_of: Callable[[Document], int] | None,
) -> None:
    """Refuse before the first row what the last one would refuse after hours."""
    for row in options.rows:
        is_compressed = row.removesuffix(ADAPTER_SUFFIX) in VECTORS_ALONE
        lacks_budget = budget_of is None and needs_soft_prompt(row, options.context_budget)
        if soft_prompt_of is None and (is_compressed or lacks_budget):
            raise LlocoError(
                f"mode {row} needs the documents' soft prompts, there are none: name a compressor or a corpus"
            )


def _check_wording(samples: Sequence[Sample], engine: Engine, templates: Iterable[Template | None]) -> None:
    """Lay out one question with options and one without in every wording."""
    examples = {bool(sample.options): sample for sample in samples}.values()
    for template, sample in product(templates, examples):
        tokenizer = engine.decoder.require_tokenizer()
        wording = template or template_for(tokenizer, sample)
        build_prompt(wording, tokenizer, sample.question, options=sample.options)
