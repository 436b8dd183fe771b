"""Results of an evaluation: one row per mode of reading, every mean with its n and standard error.

The JSON form is what `lloco evaluate --json` prints. Knows how numbers are written for people, not how they were made.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lloco.evals.result_row import ResultRow
from lloco.evals.run.earlier import EarlierRun
from lloco.evals.run.log import Prediction
from lloco.evals.scorer import Score, Scores
from lloco.files.durable import write_durably
from lloco.tasks.sample import Sample

_PARTIAL_METRICS = ("rouge1", "rouge2", "rougeL", "hotpot_em")


@dataclass(frozen=True, slots=True)
class ModeResult:
    """A task's scores when documents are read in one mode; token counts are means over questions."""

    mode: str
    scores: Scores
    predictions: tuple[Prediction, ...]

    @property
    def context_tokens(self) -> float:
        """Mean number of document tokens that were read as text."""
        return _mean([prediction.num_context_tokens for prediction in self.predictions])

    @property
    def virtual_tokens(self) -> float:
        """Mean number of virtual tokens that were read."""
        return _mean([prediction.num_virtual_tokens for prediction in self.predictions])

    @property
    def document_tokens(self) -> float:
        """Mean number of tokens that the documents have."""
        return _mean([prediction.num_document_tokens for prediction in self.predictions])

    @property
    def tokens_read(self) -> float:
        """Mean number of positions that the context took, as text or as vectors."""
        return self.context_tokens + self.virtual_tokens

    @property
    def compression_ratio(self) -> float | None:
        """Document tokens per virtual token, of soft prompts as they are before a cut; None where none was read."""
        num_virtual = _mean([prediction.num_soft_prompt_tokens for prediction in self.predictions])
        return self.document_tokens / num_virtual if num_virtual else None

    @property
    def num_cut(self) -> int:
        """Questions whose context was shortened because the decoder has too few positions."""
        return sum(prediction.is_cut for prediction in self.predictions)

    @property
    def seconds(self) -> float:
        """Time that generating took, over all questions."""
        return sum(prediction.seconds for prediction in self.predictions)

    def means(self) -> ResultRow:
        """Return the row of tables and of `results.json`."""
        return ResultRow(
            mode=self.mode,
            n=self.scores.n,
            metrics=self.scores.metrics,
            stderr=self.scores.stderr,
            num_samples=self.scores.num_samples,
            context_tokens=self.context_tokens,
            virtual_tokens=self.virtual_tokens,
            document_tokens=self.document_tokens,
            compression_ratio=self.compression_ratio,
            seconds=self.seconds,
            num_cut=self.num_cut,
            num_empty=sum(not prediction.text for prediction in self.predictions),
            num_answers_cut=sum(prediction.is_answer_cut for prediction in self.predictions),
        )

    def value(self, metric: str) -> str:
        """Return a mean with its standard error as text."""
        return self.means().value(metric)


@dataclass(frozen=True, slots=True)
class Results:
    """A task's rows, with the options and versions that they came from."""

    task: str
    rows: tuple[ModeResult, ...]
    samples: tuple[Sample, ...]
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    beside: tuple[EarlierRun, ...] = ()
    """Runs that are shown too; what is written and printed of this run does not have them."""

    @property
    def main_metric(self) -> str:
        """The metric that headlines and plots show: the one that the benchmark ranks by."""
        if all(row.scores.num_samples.get("accuracy") == row.scores.n for row in self.rows):
            return "accuracy"
        names = [name for row in self.rows for name in row.scores.metrics]
        return next((name for name in names if name not in _PARTIAL_METRICS), names[0])

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics, the main one first."""
        return tuple(dict.fromkeys([self.main_metric, *(name for row in self.rows for name in row.scores.metrics)]))

    @property
    def metric_of_set(self) -> dict[str, str]:
        """The metric of each set or subtask that is also scored by itself, in the order of the questions."""
        sets = dict.fromkeys(sample.dataset for sample in self.samples if sample.dataset)
        found = {name: next((metric for metric in self.metrics if metric.endswith(f"_{name}")), None) for name in sets}
        return {name: metric for name, metric in found.items() if metric is not None}

    def row(self, mode: str) -> ModeResult | None:
        """Return the row of a mode, or None."""
        return next((row for row in self.rows if row.mode == mode), None)

    def to_dict(self) -> dict[str, Any]:
        """Return what `results.json` holds."""
        return {
            "task": self.task,
            "rows": [asdict(row.means()) for row in self.rows],
            "options": dict(self.options),
            "versions": dict(self.versions),
        }

    def save(self, path: Path) -> None:
        """Write the JSON file, atomically."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        # A path that is not UTF-8 stands as escapes, which JSON reads back.
        write_durably(path, (text + "\n").encode(errors="backslashreplace"))


def score_of(score: Score, metric: str) -> float | None:
    """Return one question's score on a metric; ROUGE's geometric mean is that of the question's own three."""
    if metric == "rouge_geometric_mean" and "rougeL" in score.metrics:
        rouges = [score.metrics[name] for name in ("rouge1", "rouge2", "rougeL")]
        return float((rouges[0] * rouges[1] * rouges[2]) ** (1 / 3))
    return score.metrics.get(metric)


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)
