"""Write a needle-in-a-haystack grid as task data: ten lengths, ten depths, one hidden fact each.

    python recipes/needles.py --max-words 1000 --split test --out needles.jsonl
    lloco evaluate --task needle --data needles.jsonl

Needles of the train and the test split share no answer: an adapter can be trained on one and tested on the other.
"""

import argparse
from pathlib import Path

from lloco.errors import LlocoError
from lloco.tasks.needle import build_needles, write_needles


def main() -> None:
    """Write one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-words", type=int, default=1000, help="length of the longest document")
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    lengths = [options.max_words * (step + 1) // 10 for step in range(10)]
    try:
        needles = build_needles(lengths, seed=options.seed, split=options.split)
    except LlocoError as error:
        parser.error(f"--max-words {options.max_words}, the shortest document has a tenth of it: {error}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_needles(needles, options.out)


if __name__ == "__main__":
    main()
