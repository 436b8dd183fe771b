"""Make the documents that ship with the package (`lloco/bundled/documents`), so that anyone can make them again.

`museum_*` and `railway_*` are invented records of the two domains that pretraining never sees. `fairytaleqa_*` are
whole stories with their questions from FairytaleQA (Apache-2.0; the stories are in the public domain), read from a
folder that holds its `train.jsonl.gz` and `validation.jsonl.gz` as document-QA lines.

    python recipes/bundle_documents.py --fairytaleqa FOLDER
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "records"))
from generate import make_documents

OUT = Path(__file__).parent.parent / "lloco" / "bundled" / "documents"
NUM_TRAIN, NUM_TEST, NUM_STORIES_TRAIN, NUM_STORIES_TEST = 240, 40, 24, 8
MAX_STORY_WORDS = 1500


def write(path: Path, lines: list[dict[str, object]]) -> None:
    """Write gzipped JSON lines whose bytes depend on the lines alone."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.writelines((json.dumps(line, ensure_ascii=False) + "\n").encode() for line in lines)
    print(f"{path.name}: {len(lines)} documents, {path.stat().st_size} bytes", file=sys.stderr)


def records(domain: str, split: str, num_documents: int, seed: int) -> list[dict[str, object]]:
    """Return documents of two to four records each."""
    return list(make_documents((domain,), split, seed, num_documents, (2, 4)))


def stories(path: Path, num_documents: int) -> list[dict[str, object]]:
    """Return the first stories of at most `MAX_STORY_WORDS` words."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = (json.loads(line) for line in lines)
        return [story for story in found if len(story["text"].split()) <= MAX_STORY_WORDS][:num_documents]


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fairytaleqa", type=Path, help="folder with train.jsonl.gz and validation.jsonl.gz")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for domain in ("museum", "railway"):
        write(OUT / f"{domain}_train.jsonl.gz", records(domain, "train", NUM_TRAIN, seed=11))
        write(OUT / f"{domain}_test.jsonl.gz", records(domain, "test", NUM_TEST, seed=12))
    if options.fairytaleqa is not None:
        write(OUT / "fairytaleqa_train.jsonl.gz", stories(options.fairytaleqa / "train.jsonl.gz", NUM_STORIES_TRAIN))
        write(OUT / "fairytaleqa_test.jsonl.gz", stories(options.fairytaleqa / "validation.jsonl.gz", NUM_STORIES_TEST))


if __name__ == "__main__":
    main()
