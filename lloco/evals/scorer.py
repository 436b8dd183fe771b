"""The scorer: predictions against samples, by the metrics and the rules of the samples' benchmark.

Every value is 0..100. Each mean comes with its standard error (sample deviation / sqrt n), the geometric mean of ROUGE
with a seeded bootstrap over samples. Knows nothing of models: `lloco score` needs none.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lloco.errors import DataError
from lloco.evals.metrics import hotpot
from lloco.evals.metrics.multiple_choice import is_letter_lloco, parse_letter
from lloco.evals.metrics.rouge import ROUGE_TYPES, geometric_mean, longbench_rouge_l, rouge_scores
from lloco.evals.metrics.short_answer import (
    answer_f1,
    exact_match,
    longbench_f1,
    needle,
    normalise_answer,
    string_match_all,
)
from lloco.evals.run.predictions import Predictions, as_predictions
from lloco.tasks.longbench import DATASETS
from lloco.tasks.sample import Sample
from lloco.tasks.task import Task, find_task

_NUM_RESAMPLES = 1000
_ROUNDED = (
    "hotpot_f1_lloco",
    "longbench_rouge_l",
    "string_match_all",
)  # means that their benchmark's script gives with two decimals
_ANSWER_METRICS = {
    "answer_f1": answer_f1,
    "exact_match": exact_match,
    "longbench_f1": longbench_f1,
    "longbench_rouge_l": longbench_rouge_l,
    "needle": needle,
    "string_match_all": string_match_all,
}


@dataclass(frozen=True, slots=True)
class Score:
    """One sample's scores, 0..100, with what they were computed from.

    `prediction` is None where the benchmark counts a missing answer as 0; `extracted` is what was compared: the parsed
    letter (None when there is none), the normalised short answer, or the text itself.
    """

    id: str
    prediction: str | None
    extracted: str | None
    references: tuple[str, ...]
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Scores:
    """A task's means, 0..100; `stderr` is None for a mean over one sample; `num_samples` counts those in each mean.

    The means `hotpot_f1_lloco`, `longbench_rouge_l` and `string_match_all` are rounded to 2 decimals, as their own
    scripts round them.
    """

    task: str
    n: int
    metrics: dict[str, float]
    stderr: dict[str, float | None]
    num_samples: dict[str, int]
    per_sample: tuple[Score, ...]


def score(task: str, samples: Sequence[Sample], predictions: Mapping[str, Any], *, seed: int = 0) -> Scores:
    """Score predictions `{id: text}`, or HotpotQA's official `{"answer": ..., "sp": ...}`; `seed` is the bootstrap's.

    Raises DataError where the benchmark makes missing or extra ids an error, or a sample has no reference.
    """
    found = find_task(task)
    given = as_predictions(predictions, "predictions")
    if given.is_official_hotpot and task != "hotpotqa":
        raise DataError(f"predictions: task {task} wants {{id: text}}, got HotpotQA's official form: check --task")
    _check_ids(found, samples, given.answers)
    per_sample = tuple(_score_sample(found, sample, given) for sample in samples)
    columns = _columns(found, samples, per_sample)
    metrics = {name: _mean(name, values) for name, values in columns.items()}
    stderr = {name: _standard_error(values) for name, values in columns.items()}
    num_samples = {name: len(values) for name, values in columns.items()}
    if "rouge_geometric_mean" in found.metrics:
        name = "rouge_geometric_mean"
        metrics[name] = geometric_mean(metrics)
        stderr[name] = _bootstrap_error([columns[rouge] for rouge in ROUGE_TYPES], seed)
        num_samples[name] = len(samples)
    order = sorted(metrics, key=lambda name: _place(found, name))
    return Scores(
        task=task,
        n=len(samples),
        metrics={name: metrics[name] for name in order},
        stderr={name: stderr[name] for name in order},
        num_samples={name: num_samples[name] for name in order},
        per_sample=per_sample,
    )


def _check_ids(task: Task, samples: Sequence[Sample], answers: Mapping[str, str]) -> None:
    if not samples:
        raise DataError(f"task {task.name}: there are no samples to score")
    wanted = {sample.id for sample in samples}
    missing = [sample.id for sample in samples if sample.id not in answers]
    extra = [name for name in answers if name not in wanted]
    if missing and (task.on_missing == "error" or len(missing) == len(samples)):
        raise DataError(
            f"task {task.name}: {len(missing)} of {len(samples)} samples have no prediction: {_some(missing)}: "
            "predict them, or score the same --data and --limit that were predicted"
        )
    if extra and task.on_extra == "error":
        raise DataError(
            f"task {task.name}: its rules allow no prediction without a sample, {len(extra)} are extra: "
            f"{_some(extra)}: remove them, or score the same --data and --limit that were predicted"
        )
    unanswered = [sample.id for sample in samples if not sample.references]
    if unanswered:
        reason = "this looks like a split published without answers"
        if len(unanswered) < len(samples):
            reason = "questions without an answer, such as SQuAD 2.0's, are not scored: leave them out of the data"
        raise DataError(
            f"task {task.name}: {len(unanswered)} samples have no reference answers: {_some(unanswered)}: {reason}"
        )


def _some(ids: Sequence[str]) -> str:
    shown = ", ".join(ids[:5])
    return shown if len(ids) <= 5 else f"{shown} and {len(ids) - 5} more"


def _score_sample(task: Task, sample: Sample, given: Predictions) -> Score:
    prediction = given.answers.get(sample.id)
    if task.name == "hotpotqa":
        values = _hotpot_values(sample, prediction, given)
    elif prediction is None:
        values = dict.fromkeys(task.metrics, 0.0)
    else:
        values = _values(task, sample, prediction)
    extracted = None if prediction is None else _extracted(task, sample, prediction)
    scaled = {name: 100 * value for name, value in values.items()}
    return Score(sample.id, prediction, extracted, sample.references, scaled)


def _values(task: Task, sample: Sample, prediction: str) -> dict[str, float]:
    """Values 0..1 of the task's metrics that apply to this sample."""
    if sample.dataset in DATASETS:
        names: tuple[str, ...] = (DATASETS[sample.dataset].metric,)
    else:
        names = task.metrics
    values = {name: _ANSWER_METRICS[name](prediction, sample.references) for name in names if name in _ANSWER_METRICS}
    if set(names) & set(ROUGE_TYPES):
        rouges = rouge_scores(prediction, sample.references)
        values |= {name: value for name, value in rouges.items() if name in names}
    if sample.gold_letter is not None and "accuracy" in names:
        values["accuracy"] = float(_letter(sample, prediction) == sample.gold_letter)
    if sample.gold_letter is not None and "accuracy_lloco" in names:
        values["accuracy_lloco"] = float(is_letter_lloco(prediction, sample.gold_letter))
    return values


def _hotpot_values(sample: Sample, prediction: str | None, given: Predictions) -> dict[str, float]:
    """Official values, the joint one only where the file gives supporting facts; LLoCO's only where answered."""
    facts = None if given.facts is None else given.facts.get(sample.id)
    official = hotpot.question_scores(prediction, facts, sample.references[0], sample.supporting_facts)
    values = {"hotpot_em": official["em"], "hotpot_f1": official["f1"]}
    if given.facts is not None:
        values["hotpot_joint_f1"] = official["joint_f1"]
    if prediction is not None:
        values["hotpot_f1_lloco"] = hotpot.lloco_answer_f1(prediction, sample.references[0])
    return values


def _letter(sample: Sample, prediction: str) -> str | None:
    return parse_letter(prediction, sample.options)


def _extracted(task: Task, sample: Sample, prediction: str) -> str | None:
    if sample.gold_letter is not None and "accuracy" in task.metrics:
        return _letter(sample, prediction)
    is_text = sample.dataset in DATASETS and DATASETS[sample.dataset].metric == "longbench_rouge_l"
    if is_text or task.name in ("qmsum", "needle", "ruler"):
        return prediction
    return normalise_answer(prediction)


def _columns(task: Task, samples: Sequence[Sample], per_sample: Sequence[Score]) -> dict[str, list[float]]:
    """Values by metric name; difficult questions and, where there are several, sets have columns of their own.

    A subtask of RULER always has: no score over all of its tasks says which they are.
    """
    columns: dict[str, list[float]] = {}
    has_sets = len({sample.dataset for sample in samples}) > 1 or task.name == "ruler"
    for sample, scored in zip(samples, per_sample, strict=True):
        for name, value in scored.metrics.items():
            columns.setdefault(name, []).append(value)
            if sample.is_difficult and name.startswith("accuracy"):
                columns.setdefault(f"{name}_difficult", []).append(value)
            if has_sets and sample.dataset:
                columns.setdefault(f"{name}_{sample.dataset}", []).append(value)
    return columns


def _place(task: Task, name: str) -> tuple[int, str]:
    """The task's own metrics first, in its order; then what was added to them, by name."""
    return (task.metrics.index(name), "") if name in task.metrics else (len(task.metrics), name)


def _mean(name: str, values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return round(mean, 2) if name.startswith(_ROUNDED) else mean


def _standard_error(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _bootstrap_error(columns: Iterable[Sequence[float]], seed: int) -> float | None:
    """Deviation of the geometric mean over resampled sets of samples."""
    values = np.array(list(columns)).T
    if len(values) < 2:
        return None
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean(axis=0) for _ in range(_NUM_RESAMPLES)]
    return float(np.std(np.cbrt(np.prod(means, axis=1)), ddof=1))
