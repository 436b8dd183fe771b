"""Routing: which of several corpora a question is about, by the votes of the passages found in all of them.

Scores of different indexes do not compare, so the best passages of every corpus are scored again in one index. Each of
the best then votes for its corpus, the more the better it fits (relevance-weighted majority). Knows nothing of models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lloco.errors import LlocoError
from lloco.retrieval.embedder import Embedder
from lloco.retrieval.retriever import Hit, NothingFoundError, Retriever
from lloco.store.corpus import Corpus
from lloco.store.passage import PassageText

NUM_CANDIDATES = 20
"""Passages of each corpus that are scored again."""
NUM_VOTES = 5
"""Passages that vote."""
POWER = 4
"""Votes are scores to this power, so that several passages that fit somewhat do not outvote one that fits."""


@dataclass(frozen=True, slots=True)
class Route:
    """The corpus that a question goes to, and why."""

    corpus: str
    votes: Mapping[str, float]
    """Each corpus's share of the votes, the highest first; they add up to 1."""

    @property
    def is_unanimous(self) -> bool:
        """Whether all passages voted for the same corpus."""
        return len(self.votes) == 1

    def reason(self) -> str:
        """Say why, for people."""
        return ", ".join(f"{name} {share:.0%}" for name, share in self.votes.items())


class SeveralCorporaError(LlocoError):
    """Passages of several corpora fit a question, and only one was to."""

    def __init__(self, message: str, votes: Mapping[str, float]) -> None:
        super().__init__(message)
        self.votes = votes


def route(corpora: Sequence[Corpus], question: str, *, strict: bool = False) -> Route:
    """Return the corpus that a question is about; see `route_by`, which keeps indexes open between questions."""
    return route_by({corpus.name: Retriever.of_corpus(corpus) for corpus in corpora}, question, strict=strict)


def route_by(
    retrievers: Mapping[str, Retriever], question: str, *, strict: bool = False, earlier: Sequence[str] = ()
) -> Route:
    """Return the corpus that a question is about.

    Args:
        retrievers: indexes of those to choose from, by name.
        question: words in common with the documents find them.
        strict: refuse where passages vote for different corpora.
        earlier: questions asked before, which are searched for with it where no corpus has a word of it.

    Raises:
        NothingFoundError: no corpus has a word of the question.
        LlocoError: an empty question, no corpus to choose from, or `strict` and the votes differ.
    """
    if not question.strip():
        raise LlocoError("the question is empty: type one")
    if not retrievers:
        raise LlocoError("the store has no corpus to ask: lloco compress PATH... --corpus NAME")
    embedder = next((retriever.embedder for retriever in retrievers.values() if retriever.embedder is not None), None)

    def voted(words: str) -> Route | None:
        return vote(
            words, {name: retriever.search(words, NUM_CANDIDATES) for name, retriever in retrievers.items()}, embedder
        )

    found = voted(question) or (voted("\n".join([*earlier, question])) if earlier else None)
    if found is None:
        raise NothingFoundError(
            f"none of {', '.join(retrievers)} has a word of {question.strip()[:60]!r}: ask in the documents' words, "
            "or name one with --corpus"
        )
    if strict and not found.is_unanimous:
        raise SeveralCorporaError(
            f"passages of several corpora fit {question.strip()[:60]!r} ({found.reason()}): name one with --corpus, "
            "or leave --strict out",
            found.votes,
        )
    return found


def vote(question: str, hits: Mapping[str, Sequence[Hit]], embedder: Embedder | None = None) -> Route | None:
    """Let the best of these passages vote for the corpora that they are from; None where none fits.

    They are scored by the question's words; where no passage has one, by the embedder.
    """
    owners: list[str] = []
    candidates: list[PassageText] = []
    for name, of_corpus in hits.items():
        for hit in of_corpus:
            candidates.append(PassageText(str(len(owners)), hit.start, hit.end, hit.text))
            owners.append(name)
    scores: dict[str, float] = {}
    found = Retriever.build(candidates).search(question, NUM_VOTES)
    if not found and embedder is not None:
        found = Retriever.build(candidates, "dense", embedder).search(question, NUM_VOTES)
    for best in found:
        owner = owners[int(best.document_id)]
        scores[owner] = scores.get(owner, 0.0) + max(best.score, 0.0) ** POWER
    total = sum(scores.values())
    if not total:
        return None
    ordered = sorted(scores.items(), key=lambda scored: -scored[1])
    return Route(ordered[0][0], {name: score / total for name, score in ordered})
