"""What each mode lets the decoder read of a document: its soft prompt, all, the beginning, the best passages, nothing.

Hybrid reading, truncated text and retrieved passages get a budget of decoder tokens and never one more, so that they
compare with a soft prompt of that many virtual tokens. What does not fit the decoder's positions is cut and marked,
never in silence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lloco.answer.hybrid import TEXT_SHARE
from lloco.answer.text import join_pieces, max_words_of, pack_passages
from lloco.answer.vectors import best_rows, token_starts
from lloco.documents.document import Document
from lloco.errors import DocumentError, MismatchError
from lloco.evals.mode import VECTORS_ALONE
from lloco.models.tokenize import token_ids
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.retrieval.passages import split_passages
from lloco.retrieval.retriever import Hit, Retriever
from lloco.store.passage import Passage, PassageText


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What stands before a question: a soft prompt, or token ids, or nothing."""

    soft_prompts: tuple[Tensor, ...] = ()
    token_ids: Tensor | None = None
    is_cut: bool = False
    """Whether the decoder's positions, not the mode, made it shorter."""
    num_soft_prompt_tokens: int = 0
    """Virtual tokens of the whole soft prompt."""


class DocumentReading(Protocol):
    """What of one document is read for each of its questions."""

    @property
    def token_ids(self) -> Tensor:
        """The whole text."""
        ...

    def context(self, mode: str, question: str, room: int) -> Context:
        """Choose what to read for this question; `room` is the number of positions that context may take."""
        ...


class PassageSearch(Protocol):
    """What finds passages for a question."""

    def search(self, question: str, top_k: int) -> Sequence[Hit]:
        """Best passages first, at most `top_k`."""
        ...


SearchOf = Callable[[Sequence[PassageText]], PassageSearch]


@dataclass(slots=True, eq=False)
class DocumentContext:
    """The contexts of one document: it is tokenised, fetched as vectors and split into passages once at most."""

    document: Document
    tokenizer: PreTrainedTokenizerBase
    soft_prompt_of: Callable[[], SoftPrompt]
    budget_of: Callable[[], int]
    search_of: SearchOf = Retriever.build
    """Makes what passages are searched with."""
    token_ids: Tensor = field(init=False)
    _soft_prompt: SoftPrompt | None = None
    _budget: int | None = None
    _passages: "Passages | None" = None
    _starts: list[int] | None = None
    """The first character of every token."""
    _stored_passages: list[PassageText] | None = None
    """The passages that a corpus would have stored."""

    def __post_init__(self) -> None:
        self.token_ids = token_ids(self.tokenizer, self.document.text)
        if not len(self.token_ids):
            raise DocumentError(f"document {self.document.id!r} has no text to answer from: leave its questions out")

    def context(self, mode: str, question: str, room: int) -> Context:
        """Choose what to read for this question; `room` is the number of positions that context may take."""
        if mode == "none":
            return Context()
        if mode in VECTORS_ALONE:
            embeds, is_cut = self.soft_prompt.embeds, len(self.soft_prompt.embeds) > room
            if is_cut and mode == "compressed" and len(best := self._best_vectors(question, room)):
                return Context((best,), is_cut=True, num_soft_prompt_tokens=len(embeds))
            return Context((embeds[:room],), is_cut=is_cut, num_soft_prompt_tokens=len(embeds))
        if mode == "full":
            return Context(token_ids=self.token_ids[:room], is_cut=len(self.token_ids) > room)
        limit = min(self.budget, room)
        is_cut = min(self.budget, len(self.token_ids)) > room
        if mode == "truncated" or len(self.token_ids) <= limit:
            return Context(token_ids=self.token_ids[:limit], is_cut=is_cut)
        if mode == "hybrid" and (both := self._hybrid(question, limit, is_cut)) is not None:
            return both
        return Context(token_ids=self.passages.packed(question, limit)[0], is_cut=is_cut)

    def _best_vectors(self, question: str, room: int) -> Tensor:
        """Return the vectors of the segments that hold the best passages, as they are read for a user's question."""
        if self._stored_passages is None:
            spans, text = split_passages(self.document.text), self.document.text
            self._stored_passages = [
                PassageText(self.document.id, span.start, span.end, text[span.start : span.end]) for span in spans
            ]
        hits = Retriever.build([]).search_within(self.document.id, self._stored_passages, question)
        return best_rows(self.soft_prompt, self._token_starts, [Passage(hit.start, hit.end) for hit in hits], room)

    @property
    def _token_starts(self) -> list[int]:
        if self._starts is None:
            self._starts = token_starts(self.tokenizer, self.document.text)
        return self._starts

    def _hybrid(self, question: str, limit: int, is_cut: bool) -> Context | None:
        """Read the best passages as text, and vectors: all that fit, else those of the next best passages.

        None where one of the two has no room.
        """
        if not (share := round(limit * TEXT_SHARE)):
            return None
        text, others = self.passages.packed(question, share)
        vectors, room = self.soft_prompt.embeds, limit - len(text)
        if len(vectors) > room:
            vectors = best_rows(self.soft_prompt, self._token_starts, others, room)
        if not len(vectors):
            return None
        return Context((vectors,), text, is_cut, num_soft_prompt_tokens=len(self.soft_prompt.embeds))

    @property
    def passages(self) -> "Passages":
        """The document's passages, so short that some fit the budget."""
        if self._passages is None:
            num_words = len(self.document.text.split())
            max_words = max_words_of(self.budget * num_words // len(self.token_ids))
            self._passages = Passages(self.document, self.tokenizer, max_words, self.search_of)
        return self._passages

    @property
    def soft_prompt(self) -> SoftPrompt:
        """The document's soft prompt.

        Raises:
            MismatchError: it was made from another text.
        """
        if self._soft_prompt is None:
            self._soft_prompt = self.soft_prompt_of()
            made_from = self._soft_prompt.provenance.text_digest
            if made_from != self.document.digest:
                raise MismatchError(
                    f"the soft prompt of document {self.document.id!r} must be made from text "
                    f"{self.document.digest[:12]}, got one made from {made_from[:12]}: compress the document again"
                )
        return self._soft_prompt

    @property
    def budget(self) -> int:
        """Decoder tokens that truncated text and retrieved passages may take."""
        if self._budget is None:
            self._budget = self.budget_of()
        return self._budget


class Passages:
    """A document's passages with their token ids, searched among themselves."""

    def __init__(
        self,
        document: Document,
        tokenizer: PreTrainedTokenizerBase,
        max_words: int,
        search_of: SearchOf,
    ) -> None:
        spans = split_passages(document.text, max_words)
        texts = [PassageText(document.id, span.start, span.end, document.text[span.start : span.end]) for span in spans]
        self._spans = {(0, span.start): span for span in spans}
        self._ids = {(0, text.start): token_ids(tokenizer, text.text.strip()) for text in texts}
        self._separator = token_ids(tokenizer, "\n")
        self._search = search_of(texts)

    def __len__(self) -> int:
        return len(self._ids)

    def packed(self, question: str, limit: int) -> tuple[Tensor, list[Passage]]:
        """Token ids of the best passages, `limit` at most, in document order, and the passages left, best first.

        The last that is taken may be cut. Passages without a word of the question come after all others, so that the
        budget is always used.
        """
        ranked = dict.fromkeys([*((0, hit.start) for hit in self._search.search(question, len(self._ids))), *self._ids])
        taken = pack_passages(ranked, self._ids.__getitem__, self._separator, limit)
        ids = join_pieces([taken[where] for where in sorted(taken)], self._separator)
        return ids, [self._spans[where] for where in ranked if where not in taken]
