"""A question to a corpus: what is asked, what may be read for it, and how the answer is generated.

The command line, the server and `lloco.ask` fill this value; from here on all three take the same way. Does not know
what answers it.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from lloco.answer.mode import Mode
from lloco.engine.engine import SamplingParams
from lloco.errors import LlocoError
from lloco.prompts.prompt import NO_HISTORY, History

Unit: TypeAlias = Literal["document", "passage"]
"""What is found and read: whole documents where they fit, or no more than the best passages."""

_GREEDY = SamplingParams()


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the limits of what is read and said."""

    text: str
    """As it was asked; words in common with the documents find them."""
    document_id: str | None = None
    """Read this document, whatever the question says."""
    top_k: int = 1
    """Number of documents to read otherwise; of passages, where these are the unit."""
    unit: Unit = "document"
    """With "passage" the best passages alone are read and cited, also where their documents would fit."""
    options: tuple[str, ...] = ()
    """Answers to choose from, for an adapter that was trained on such."""
    history: History = NO_HISTORY
    """What was said before; its questions help to find documents where this one alone finds none."""
    mode: Mode = "compressed"
    """With one of `TEXT_MODES` text is read in place of vectors, with "hybrid" beside them."""
    sampling: SamplingParams = _GREEDY
    """How the answer is generated; its length is kept free behind the prompt."""
    max_virtual_tokens: int | None = None
    """Vectors that may be read; by default as many as fit the decoder."""
    budget: int | None = None
    """Positions that may be read in one of `BUDGET_MODES`; by default as many as the soft prompts have."""

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise LlocoError("the question is empty: type one")
        if self.top_k < 1:
            raise LlocoError(f"top_k must be at least 1 {self.unit}, got {self.top_k}: give a higher one")
        if self.budget is not None and self.budget < 1:
            raise LlocoError(f"budget must be at least 1 position, got {self.budget}: give a higher one")

    @property
    def earlier(self) -> list[str]:
        """Questions that were asked before."""
        return [asked for asked, _ in self.history.turns]
