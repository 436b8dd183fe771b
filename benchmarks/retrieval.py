"""Retrieval of one task's documents and passages: how often what holds the answer is among the first, and how fast.

The documents of all questions are searched together. Where questions name supporting facts (HotpotQA) every paragraph
is a document, and those with such a fact are to be found; elsewhere the question's own document, and its passages that
hold an answer.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import mean, stdev

import torch

from lloco.bench.measure.machine import measure_machine
from lloco.bench.measure.spread import spread_fields
from lloco.bench.measure.turns import OnRun
from lloco.bench.show.results import BenchResults, Curve, Row, plain_options, ratio
from lloco.documents.document import Document
from lloco.errors import DataError
from lloco.evals.evaluate import versions
from lloco.evals.metrics.short_answer import normalise_answer
from lloco.retrieval.embedder import Embedder
from lloco.retrieval.passages import split_passages
from lloco.retrieval.retriever import Hit, Method, Retriever
from lloco.store.passage import PassageText
from lloco.tasks.sample import Sample


@dataclass(frozen=True, slots=True)
class RetrievalBenchOptions:
    """What is measured."""

    task: str
    """Its questions are asked."""
    data: str
    """Where they are from."""
    top_ks: tuple[int, ...] = (1, 5, 10)
    """How many of the first documents or passages are looked at."""
    embedder: str | None = None
    """Name of the embedder; methods that need one are measured only with it."""
    limit: int | None = None
    """Only so many questions, about all the documents."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question and what is to be found for it."""

    question: str
    document_ids: frozenset[str]
    answers: tuple[str, ...]
    """Normalised; empty where passages with an answer cannot be told."""


def measure_retrieval(
    samples: Sequence[Sample],
    options: RetrievalBenchOptions,
    embedder: Embedder | None = None,
    on_run: OnRun | None = None,
) -> BenchResults:
    """Search the documents of all samples for each question, by words and, with an embedder, by meaning and by both.

    Raises:
        DataError: there is one document only, so nothing to choose from.
    """
    documents, wanted = questions_and_documents(samples)
    if len(documents) < 2:
        raise DataError(
            f"{options.data} must hold at least 2 documents to choose from, got {len(documents)}: give more"
        )
    passages = [
        PassageText(document.id, span.start, span.end, document.text[span.start : span.end])
        for document in documents
        for span in split_passages(document.text)
    ]
    methods: tuple[Method, ...] = ("bm25",) if embedder is None else ("bm25", "dense", "hybrid")
    rows: list[Row] = []
    for method in methods:
        rows += _measure(method, passages, wanted[: options.limit], options, embedder)
        if on_run is not None:
            on_run(1, len(methods))
    by_words = {(row["found"], row["top_k"]): row["recall"] for row in rows if row["method"] == "bm25"}
    compared = tuple(row | {"ratio": ratio(row["recall"], by_words[row["found"], row["top_k"]])} for row in rows)
    machine = measure_machine(torch.device("cpu"), torch.float32, 0)
    described = {**asdict(machine), "num_documents": len(documents), "num_passages": len(passages)}
    return BenchResults("retrieval", compared, described, plain_options(options), versions(), CURVES)


def questions_and_documents(samples: Iterable[Sample]) -> tuple[list[Document], list[Wanted]]:
    """Return what is searched, each document once, and what each question should find."""
    documents: dict[str, Document] = {}
    wanted: list[Wanted] = []
    for sample in samples:
        if sample.supporting_facts:
            for paragraph in sample.document.text.split("\n\n"):
                documents.setdefault(paragraph.split("\n", 1)[0], Document(paragraph.split("\n", 1)[0], paragraph))
            found, answers = frozenset(title for title, _ in sample.supporting_facts), []
        else:
            documents.setdefault(sample.document.id, sample.document)
            found = frozenset([sample.document.id])
            answers = [normalise_answer(reference) for reference in sample.references]
        wanted.append(Wanted(sample.question, found, tuple(answer for answer in answers if answer)))
    return list(documents.values()), wanted


def recall_of_documents(hits: Sequence[str], wanted: Wanted, top_k: int) -> float:
    """Return the share of the documents to find that are among the first."""
    return len(wanted.document_ids & set(hits[:top_k])) / len(wanted.document_ids)


def recall_of_passages(hits: Sequence[Hit], wanted: Wanted, top_k: int) -> float:
    """Return 1 where one of the first passages is of the document and holds an answer, word for word."""
    mine = (f" {normalise_answer(hit.text)} " for hit in hits[:top_k] if hit.document_id in wanted.document_ids)
    return float(any(f" {answer} " in text for text in mine for answer in wanted.answers))


def _measure(
    method: Method,
    passages: Sequence[PassageText],
    wanted: Sequence[Wanted],
    options: RetrievalBenchOptions,
    embedder: Embedder | None,
) -> list[Row]:
    started = time.perf_counter()
    retriever = Retriever.build(passages, method, embedder)
    index_seconds = time.perf_counter() - started
    most = max(options.top_ks)
    recalls: dict[tuple[str, int], list[float]] = {}
    seconds: list[float] = []
    for question in wanted:
        started = time.perf_counter()
        hits = retriever.search(question.question, most)
        seconds.append(time.perf_counter() - started)
        documents = [hit.document_id for hit in retriever.search_documents(question.question, most)]
        for top_k in options.top_ks:
            recalls.setdefault(("document", top_k), []).append(recall_of_documents(documents, question, top_k))
            if question.answers:
                recalls.setdefault(("passage", top_k), []).append(recall_of_passages(hits, question, top_k))
    return [
        {
            "method": method,
            "found": found,
            "line": f"{method}, {found}s",
            "top_k": top_k,
            "n": len(values),
            "recall": 100 * mean(values),
            "recall_stderr": 100 * stdev(values) / sqrt(len(values)) if len(values) > 1 else None,
            "index_seconds": index_seconds,
            **spread_fields("search_seconds", seconds),
        }
        for (found, top_k), values in sorted(recalls.items())
    ]


CURVES = (Curve("recall", "top_k", "recall", "line", "Recall", "first k that are looked at", "%"),)
