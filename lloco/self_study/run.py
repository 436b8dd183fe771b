"""From a corpus's documents to a file of checked questions: span by span, resumable, with everything counted.

A span's questions are made in rounds, each asking for as many as are still missing; what fails a check is counted.
Documents are written in order, each when its last span is done.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lloco.documents.document import Document
from lloco.files.durable import locked
from lloco.retrieval.retriever import Hit
from lloco.self_study import checks
from lloco.self_study.ask import Generator, Journal
from lloco.self_study.candidates import Candidate, begun, instructed
from lloco.self_study.question_file import Counts, DocumentQuestions, QuestionFile, count
from lloco.self_study.span_work import Maker, SpanWork, finish
from lloco.self_study.spans import Span, document_spans
from lloco.store.corpus import Corpus

REQUESTS_A_QUESTION = 4
"""Requests that a question takes, about, its checks and those that are thrown away included."""
TEMPLATE_SPANS = 16
"""Spans that are worked on together where templates alone write."""
NUM_ROUNDS = 4
"""Rounds of asking about a span."""


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """How many questions are made, and of what."""

    num_pairs: int | None = None
    """Questions wanted of the whole corpus, spread evenly; None: `pairs_a_span` of each span."""
    pairs_a_span: int = 2
    """Questions wanted of each span of some hundred words."""
    uses_templates: bool = True
    """Whether templates fill what the generator leaves."""

    def num_wanted(self, index: int, num_spans: int) -> int:
        """Return how many are wanted of the span of this number among all, evenly spread."""
        if self.num_pairs is None:
            return self.pairs_a_span
        return (index + 1) * self.num_pairs // num_spans - index * self.num_pairs // num_spans


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What a run has before it."""

    digests: Mapping[str, str]
    """Text digests of the corpus's documents by id, in order."""
    num_spans_of: Mapping[str, int]
    options: StudyOptions

    @property
    def num_spans(self) -> int:
        """Spans of the whole corpus."""
        return sum(self.num_spans_of.values())

    def num_wanted(self, index: int) -> int:
        """Return how many questions are wanted of a span."""
        return self.options.num_wanted(index, self.num_spans)

    @property
    def num_pairs(self) -> int:
        """Questions wanted in all."""
        return sum(self.num_wanted(index) for index in range(self.num_spans))


def plan_questions(corpus: Corpus, options: StudyOptions) -> StudyPlan:
    """Count the spans of every document."""
    digests, num_spans = {}, {}
    for document in corpus.documents():
        digests[document.id] = document.digest
        num_spans[document.id] = len(document_spans(document.text, corpus.document_passages(document.id)))
    return StudyPlan(digests, num_spans, options)


class Study:
    """One run over a corpus."""

    def __init__(
        self,
        corpus: Corpus,
        generator: Generator | None,
        search: Callable[[str, int], Sequence[Hit]],
        plan: StudyPlan,
        out: Path,
        on_progress: Callable[[int, int], None] = lambda num_now, total: None,
    ) -> None:
        """Make ready; `search` finds passages of the corpus, and no generator means templates alone.

        `on_progress` is called with requests, about, that were just answered, and how many there are in all; with
        questions where there is no generator.

        Raises:
            DataError: `out` holds something else than an earlier part of the same run.
        """
        self._corpus = corpus
        self._generator = generator
        self._passages = checks.Passages(search)
        self._plan = plan
        self._out = out
        self._on_progress = on_progress
        self._num_each = 1 if generator is None else REQUESTS_A_QUESTION
        self._num_counted = self._num_due = 0
        self._questions = checks.Questions()
        made_with = {
            "generator": "templates" if generator is None else generator.identity,
            "num": plan.options.num_pairs,
            "per_span": plan.options.pairs_a_span,
        }
        self.file = QuestionFile(out, made_with)
        self.num_dropped = 0
        """Documents whose questions were dropped, as they are gone or have another text."""
        self.num_unchanged = 0
        """Documents whose questions were there."""
        self.num_edited = 0
        """Documents that were edited or removed since the plan was made."""
        self.num_asked = 0
        """Replies of the generator in this run."""
        self._num_at_once = TEMPLATE_SPANS if generator is None else generator.num_spans_at_once
        self._unwritten: list[SpanWork] = []

    def run(self) -> Counts:
        """Make the questions that are missing and count all that the file holds.

        Raises:
            LlocoError: the generator cannot be reached or refuses; what was made is kept.
            DataError: another process writes the same file.
        """
        busy = f"another process writes {self._out}: wait for it, or name another --out"
        with locked(self._out.with_name(f".{self._out.name}.lock"), busy):
            self.num_dropped = self.file.keep_only(self._plan.digests)
            for line in self.file.lines():
                for pair in line["questions"]:
                    self._questions.add(pair["question"], pair["answers"][0])
            journal = self._journal()
            maker = None if journal is None else self._maker(journal)
            is_done = False
            try:
                for block in self._blocks():
                    self._work(block, maker)
                is_done = True
            finally:
                if journal is not None:
                    self.num_asked = journal.num_asked
                    journal.close(is_done=is_done)
        return count(self.file.lines())

    def _journal(self) -> Journal | None:
        if self._generator is None:
            return None
        return Journal(self._out.with_name(f"{self._out.name}.replies"), self._generator, self._count_reply)

    def _maker(self, journal: Journal) -> Maker:
        assert self._generator is not None
        return Maker(journal, self._passages, self._generator.name, self._generator.is_small)

    def _blocks(self) -> Iterator[list[tuple[SpanWork, bool]]]:
        """Yield spans that are to be done, some at a time, with whether each is its document's last."""
        block: list[tuple[SpanWork, bool]] = []
        for works in self._documents():
            for number, work in enumerate(works, start=1):
                block.append((work, number == len(works)))
                if len(block) == self._num_at_once:
                    yield block
                    block = []
        if block:
            yield block

    def _documents(self) -> Iterator[list[SpanWork]]:
        """Yield the spans of each document whose questions are missing; one too short for any is written at once."""
        index = 0
        for id, digest in self._plan.digests.items():
            first, index = index, index + self._plan.num_spans_of[id]
            if self.file.holds(id, digest):
                self.num_unchanged += 1
                self._count(first, index)
                continue
            # Whoever edits or removes it meanwhile is followed by the next run.
            if id not in self._corpus or (stored := self._corpus.document(id)).digest != digest:
                self.num_edited += 1
                self._count(first, index)
                continue
            spans = document_spans(stored.text, self._corpus.document_passages(id))
            document = Document(id, stored.text, stored.title)
            wanted = [self._plan.num_wanted(first + number) for number in range(len(spans))]
            if not spans:
                self.file.append(DocumentQuestions(document, (), 0, 0))
                continue
            yield [
                SpanWork(document, span, wanted[number], self._candidates(spans, number, stored.title))
                for number, span in enumerate(spans)
            ]

    def _candidates(self, spans: Sequence[Span], number: int, title: str) -> list[Candidate]:
        if self._generator is None:
            return []
        return begun(spans[number]) if self._generator.is_small else instructed(spans, number, number, title)

    def _work(self, block: Sequence[tuple[SpanWork, bool]], maker: Maker | None) -> None:
        """Make the questions of a block and write the documents that end in it."""
        self._num_counted, self._num_due = 0, sum(work.num_wanted for work, _ in block) * self._num_each
        if maker is not None:
            for _ in range(NUM_ROUNDS):
                maker.round([work for work, _ in block])
        for work, is_last in block:
            finish(work, self._passages, self._questions, uses_templates=self._plan.options.uses_templates)
            self._unwritten.append(work)
            if is_last:
                self._write()
        # What took fewer requests than was thought is done with too.
        self._on_progress(self._num_due - self._num_counted, self._plan.num_pairs * self._num_each)

    def _count_reply(self) -> None:
        if self._num_counted < self._num_due:
            self._num_counted += 1
            self._on_progress(1, self._plan.num_pairs * self._num_each)

    def _count(self, first: int, last: int) -> None:
        """Count spans that need nothing."""
        num_questions = sum(self._plan.num_wanted(index) for index in range(first, last))
        self._on_progress(num_questions * self._num_each, self._plan.num_pairs * self._num_each)

    def _write(self) -> None:
        works, self._unwritten = self._unwritten, []
        discarded: Counter[str] = Counter()
        for work in works:
            discarded.update(work.discarded)
        pairs = [pair for work in works for pair in work.kept]
        num_wanted = sum(work.num_wanted for work in works)
        self.file.append(DocumentQuestions(works[0].document, pairs, len(works), num_wanted, discarded))
