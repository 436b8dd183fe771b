"""Split a benchmark file that has no training part into two halves that share no document.

    python runs/halves.py FILE OUT_FIRST OUT_SECOND

Lines (or list items) about the same document go to the same half; documents alternate. Knows the formats by their keys:
SCROLLS (`input`), QuALITY (`article`), LongBench and HotpotQA (`context`).
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any


def document_of(record: dict[str, Any]) -> str:
    """Return the text of the record's document."""
    if "input" in record and "output" in record:
        return str(record["input"]).partition("\n\n")[2]
    return json.dumps(record.get("article") or record.get("context"))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON list or of JSON lines, gzipped or not."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    return (
        json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines() if line.strip()]
    )


def main() -> None:
    """Write both halves."""
    source, *outs = map(Path, sys.argv[1:])
    halves: tuple[list[str], list[str]] = ([], [])
    known: dict[str, int] = {}
    for record in read(source):
        place = known.setdefault(document_of(record), len(known) % 2)
        halves[place].append(json.dumps(record))
    is_list = source.suffix == ".json"
    for out, lines in zip(outs, halves, strict=True):
        out.write_text(f"[{','.join(lines)}]" if is_list else "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
