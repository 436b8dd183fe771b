"""What routing costs in answers: questions over three corpora, each routed, and each asked of its own corpus.

python runs/routed_answers.py [OUT]. Museum and railway are the demo's corpora, with the
adapters that it trains; clinic is of a domain that the bundled model knows, without one. 100 questions of each.
"""

import random
import sys
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).parent.parent / "recipes" / "records"))
from generate import make_documents

from lloco.answer.ask import ask
from lloco.compression.run import compress_into
from lloco.compressors.load import load_compressor
from lloco.demo import DOCUMENTS, run_demo
from lloco.documents.document import Document
from lloco.engine.transformers_engine import TransformersEngine
from lloco.evals.metrics import exact_match
from lloco.retrieval.retriever import NothingFoundError, Retriever
from lloco.retrieval.routing import route_by
from lloco.store.store import Store
from lloco.tasks.task import load_samples

QUESTIONS = 100
Asked = tuple[str, str, tuple[str, ...]]
"""Corpus, question, accepted answers."""


def main(out: Path) -> None:
    asked: list[Asked] = []
    for task in ("museum", "railway"):
        run_demo(out / task, task, store=out / "store", limit=1, say=lambda message: None)
        test = load_samples("jsonl", DOCUMENTS / f"{task}_test.jsonl.gz")
        asked += [(task, one.question, one.references) for one in random.Random(1).sample(test, QUESTIONS)]
    compressor = load_compressor("records")
    with Store(out / "store") as store:
        for task in ("museum", "railway"):
            samples = load_samples("jsonl", DOCUMENTS / f"{task}_test.jsonl.gz")
            documents = {one.document.id: one.document for one in samples}.values()
            compress_into(store.corpus(task), documents, compressor)
        lines = list(make_documents(("clinic",), "test", 21, 40, (2, 4)))
        compress_into(store.corpus("clinic"), [Document(one["id"], one["text"]) for one in lines], compressor)
        pairs = [pair for one in lines for pair in one["questions"]]
        asked += [
            ("clinic", one["question"], tuple(one["answers"])) for one in random.Random(1).sample(pairs, QUESTIONS)
        ]
        report(store, asked, TransformersEngine(compressor.decoder, batch_size=1))


def report(store: Store, asked: list[Asked], engine: TransformersEngine) -> None:
    retrievers = {one.name: Retriever.of_corpus(store.corpus(one.name)) for one in store.corpora()}

    def is_right(corpus: str, question: str, answers: tuple[str, ...]) -> float:
        try:
            made = ask(store.corpus(corpus), question, engine=engine, retriever=retrievers[corpus], max_tokens=16)
        except NothingFoundError:
            return 0.0
        return float(exact_match(made.text, answers))

    rows: list[tuple[str, bool, float, float]] = []
    for corpus, question, answers in asked:
        chosen = route_by(retrievers, question).corpus
        oracle = is_right(corpus, question, answers)
        routed = oracle if chosen == corpus else is_right(chosen, question, answers)
        rows.append((corpus, chosen == corpus, oracle, routed))
    for name in (*retrievers, "all"):
        of_corpus = [row for row in rows if name in (row[0], "all")]
        routed, oracle, answered = ([100 * float(row[column]) for row in of_corpus] for column in (1, 2, 3))
        print(f"{name}: n {len(of_corpus)}, routed right {mean(routed):.1f} +- {_error(routed):.1f}", end="")
        print(f", exact match of its own corpus {mean(oracle):.1f} +- {_error(oracle):.1f}", end="")
        print(f", of the routed one {mean(answered):.1f} +- {_error(answered):.1f}")


def _error(values: list[float]) -> float:
    return stdev(values) / len(values) ** 0.5


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "work-routed-answers"))
