"""A row of results, without the questions behind it: what tables, plots and `results.json` say of a mode."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResultRow:
    """Means over a mode's questions."""

    mode: str
    n: int
    metrics: Mapping[str, float]
    stderr: Mapping[str, float | None]
    num_samples: Mapping[str, int]
    context_tokens: float
    virtual_tokens: float
    document_tokens: float
    compression_ratio: float | None
    seconds: float
    num_cut: int
    num_empty: int = 0
    """Answers without a word; results of before do not tell."""
    num_answers_cut: int = 0
    """Answers that ended because they were as long as they may be."""

    @property
    def tokens_read(self) -> float:
        """Mean number of positions that the context took, as text or as vectors."""
        return self.context_tokens + self.virtual_tokens

    def value(self, metric: str) -> str:
        """Return a mean with its standard error as text."""
        if metric not in self.metrics:
            return "–"
        stderr = self.stderr[metric]
        mean = f"{self.metrics[metric]:.1f}"
        return mean if stderr is None else f"{mean} ± {stderr:.1f}"
