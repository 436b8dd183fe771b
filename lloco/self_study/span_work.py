"""The questions of spans: asked for in rounds, each for as many as are still missing, checked, counted.

Checks that cost nothing come first, those that ask the generator next; templates fill what is left.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lloco.documents.document import Document
from lloco.errors import LlocoError
from lloco.self_study import checks
from lloco.self_study.ask import Ask, Journal
from lloco.self_study.candidates import Candidate, is_declined
from lloco.self_study.patterns import RawPair, template_pairs
from lloco.self_study.question_file import Pair
from lloco.self_study.read_checks import are_alike
from lloco.self_study.spans import Span
from lloco.self_study.wording import answer_ask

_FREE_CHECKS = (checks.FORM, checks.NAMED, checks.GROUNDED, checks.FOUND)
_MODEL_CHECKS = (checks.ANSWERED, checks.UNKNOWN)
MOST_USELESS = 30
"""Replies without a question from the first on after which no more is paid for."""


@dataclass(slots=True)
class SpanWork:
    """A span while its questions are made."""

    document: Document
    span: Span
    num_wanted: int
    candidates: list[Candidate]
    """What may be asked about it, the best first; taken from the front."""
    kept: list[Pair] = field(default_factory=list)
    discarded: Counter[str] = field(default_factory=Counter)

    def take(self) -> list[Candidate]:
        """Take as many candidates as questions are missing."""
        taken = self.candidates[: max(0, self.num_wanted - len(self.kept))]
        del self.candidates[: len(taken)]
        return taken

    def keep(self, raw: RawPair, passed: Sequence[str]) -> None:
        """Keep a pair."""
        span = (self.span.start, self.span.end)
        self.kept.append(Pair(raw.question, raw.answer, raw.kind, raw.made_by, span, tuple(passed)))


@dataclass(slots=True)
class Maker:
    """A generator with what checks its pairs."""

    journal: Journal
    passages: checks.Passages
    made_by: str
    is_small: bool
    num_useless: int = 0
    """Replies whose pair failed a check that asks no model, or that held none."""
    num_pairs: int = 0
    """Replies that held a pair."""

    def round(self, works: Sequence[SpanWork]) -> int:
        """Ask once more about every span that lacks questions; returns how many requests that took."""
        asked = [(work, candidate) for work in works for candidate in work.take()]
        replies = self.journal.answer_all([candidate.ask for _, candidate in asked])
        raw: list[tuple[SpanWork, RawPair]] = []
        for (work, candidate), reply in zip(asked, replies, strict=True):
            pair = candidate.pair(reply, self.made_by)
            failed = checks.NO_PAIR if pair is None else self._failed(pair, work)
            if pair is not None and failed is None:
                raw.append((work, pair))
            elif failed is not None and not is_declined(reply):
                work.discarded[failed] += 1
                self.num_useless += 1
            self.num_pairs += pair is not None
        if not self.num_pairs and self.num_useless >= MOST_USELESS:
            raise LlocoError(
                f"generator {self.made_by} wrote no question in its first {self.num_useless} replies, the last is "
                f"{replies[-1][:80]!r}: name another model with --generator, or --generator templates"
            )
        self._read(raw)
        return len(asked)

    def _failed(self, pair: RawPair, work: SpanWork) -> str | None:
        return failed_check(pair, work, self.passages, is_strict=self.is_small)

    def _read(self, pairs: Sequence[tuple[SpanWork, RawPair]]) -> None:
        """Keep the pairs that are answered alike with the passage and not without."""
        with_passage = [answer_ask(pair.question, work.span.text) for work, pair in pairs]
        answered = []
        for (work, pair), reply in zip(pairs, self._replies(with_passage), strict=True):
            if are_alike(reply, pair.answer):
                answered.append((work, pair))
            else:
                work.discarded[checks.ANSWERED] += 1
        without = self._replies([answer_ask(pair.question, "") for _, pair in answered])
        for (work, pair), reply in zip(answered, without, strict=True):
            if are_alike(reply, pair.answer):
                work.discarded[checks.UNKNOWN] += 1
            else:
                work.keep(pair, (*_FREE_CHECKS, *_MODEL_CHECKS))

    def _replies(self, asks: Sequence[Ask]) -> list[str]:
        return self.journal.answer_all(asks)


def failed_check(pair: RawPair, work: SpanWork, passages: checks.Passages, *, is_strict: bool) -> str | None:
    """Return the first check that asks no model and that the pair fails; None where it passes all."""
    if not checks.is_well_formed(pair):
        return checks.FORM
    if not checks.says_what_it_is_about(pair):
        return checks.NAMED
    if not checks.is_grounded(pair, work.span, work.document.title, is_strict=is_strict):
        return checks.GROUNDED
    if not passages.are_found(pair.question, work.document.id, work.span):
        return checks.FOUND
    return None


def finish(work: SpanWork, passages: checks.Passages, earlier: checks.Questions, *, uses_templates: bool) -> None:
    """Drop near-duplicates of earlier questions and let templates make what is missing."""
    kept, work.kept = work.kept, []
    for pair in kept:
        _keep_new(work, pair, earlier)
    if not uses_templates:
        return
    for raw in template_pairs(work.span, work.document.title):
        if len(work.kept) >= work.num_wanted:
            break
        failed = failed_check(raw, work, passages, is_strict=False)
        if failed is not None:
            work.discarded[failed] += 1
            continue
        span = (work.span.start, work.span.end)
        _keep_new(work, Pair(raw.question, raw.answer, raw.kind, raw.made_by, span, _FREE_CHECKS), earlier)


def _keep_new(work: SpanWork, pair: Pair, earlier: checks.Questions) -> None:
    if not earlier.is_new(pair.question, pair.answer):
        work.discarded[checks.NEW] += 1
        return
    earlier.add(pair.question, pair.answer)
    work.kept.append(replace(pair, checks=(*pair.checks, checks.NEW)))
