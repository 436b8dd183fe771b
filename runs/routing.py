"""How often a question goes to the right corpus: `lloco.retrieval.routing` against the best score of each index.

python runs/routing.py NAME=TASK:FILE[:PART/PARTS]...

PART/PARTS keeps every PARTS-th document of a shuffled list: several corpora of one file. The table of docs/results.md:

    for part in 1 2 3: squad$part=squad_articles:squad_articles/validation.jsonl.gz:$part/3
    fairytales=fairytaleqa:fairytaleqa/validation.jsonl.gz quality=quality:QuALITY.v1.0.1.htmlstripped.dev
"""

import random
import sys
from math import sqrt

from lloco.retrieval.passages import split_passages
from lloco.retrieval.retriever import Retriever
from lloco.retrieval.routing import NUM_CANDIDATES, vote
from lloco.store.passage import PassageText
from lloco.tasks.sample import Sample
from lloco.tasks.task import load_samples

QUESTIONS = 200


def read(argument: str) -> tuple[str, list[Sample]]:
    name, _, place = argument.partition("=")
    task, file, *part = place.split(":")
    samples = load_samples(task, file)
    if part:
        number, parts = map(int, part[0].split("/"))
        ids = sorted({one.document.id for one in samples})
        random.Random(0).shuffle(ids)
        kept = set(ids[number - 1 :: parts])
        samples = [one for one in samples if one.document.id in kept]
    return name, samples


def index(samples: list[Sample]) -> Retriever:
    documents = {one.document.id: one.document for one in samples}.values()
    return Retriever.build(
        PassageText(one.id, passage.start, passage.end, one.text[passage.start : passage.end])
        for one in documents
        for passage in split_passages(one.text)
    )


def main() -> None:
    corpora = dict(read(argument) for argument in sys.argv[1:])
    indexes = {name: index(samples) for name, samples in corpora.items()}
    chooser = random.Random(1)
    voted: dict[str, list[bool]] = {}
    by_score: list[bool] = []
    for name, samples in corpora.items():
        for sample in chooser.sample(samples, min(QUESTIONS, len(samples))):
            hits = {other: one.search(sample.question, NUM_CANDIDATES) for other, one in indexes.items()}
            best = max(((found[0].score, other) for other, found in hits.items() if found), default=(0.0, ""))
            route = vote(sample.question, hits)
            voted.setdefault(name, []).append(route is not None and route.corpus == name)
            by_score.append(best[1] == name)
    right = [one for of_corpus in voted.values() for one in of_corpus]
    share = sum(right) / len(right)
    error = sqrt(share * (1 - share) / len(right))
    print(f"n {len(right)}: by votes {share:.1%} +- {error:.1%}, by the best score {sum(by_score) / len(right):.1%}")
    for name, of_corpus in voted.items():
        print(f"  {name}: {sum(of_corpus) / len(of_corpus):.1%} of {len(of_corpus)}")


if __name__ == "__main__":
    main()
