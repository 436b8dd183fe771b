"""Corpora that travel without their texts, and the texts put back from one's own files.

An exported corpus (`store.archive`) has its texts in documents.jsonl. Without them a line keeps the document's id, the
digest of its text, the passages' places and the soft prompt; title and source stay behind too. Vectors may still tell
something of a text: they were made to.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lloco.documents.document import Document
from lloco.errors import StoreError
from lloco.files.durable import write_durably

DOCUMENTS = "documents.jsonl"


def strip_texts(folder: Path) -> None:
    """Take texts, titles and sources out of an exported corpus's folder."""
    kept = []
    for line in _lines(folder):
        document = Document(line["id"], line["text"])
        kept.append({key: line[key] for key in ("id", "passages", "soft_prompt")} | {"text_digest": document.digest})
    _write(folder, kept)


def fill_texts(folder: Path, out: Path, documents: Mapping[str, Document]) -> None:
    """Move a corpus without texts to `out`, on the same disk, with texts by their digest, as `import_corpus` reads it.

    Raises:
        StoreError: the text of a document is not among them, or the folder is damaged.
    """
    lines = []
    for line in _lines(folder):
        if not isinstance(line, dict) or not {"id", "passages", "soft_prompt", "text_digest"} == set(line):
            raise StoreError(f"{folder / DOCUMENTS} must hold documents without texts, it has others: push it again")
        empty = Document(str(line["id"]), "")
        document = empty if line["text_digest"] == empty.digest else documents.get(str(line["text_digest"]))
        if document is None:
            raise StoreError(
                f"this corpus was pushed without texts, and none of the {len(documents)} documents given has the text "
                f"of {line['id']!r} (digest {str(line['text_digest'])[:12]}): name the files it was made from with "
                "--documents"
            )
        taken = {key: line[key] for key in ("id", "passages", "soft_prompt")}
        lines.append(taken | {"title": document.title, "source": document.source, "text": document.text})
    _write(out, lines)
    for name in ("corpus.json", "soft_prompts", "codebooks", "adapter"):
        if (folder / name).exists():
            (folder / name).rename(out / name)


def pushed_titles(folder: Path) -> list[tuple[Any, Any, Any]]:
    """Return id, title and source of every document of a corpus that was pushed with texts."""
    return [
        (line.get("id"), line.get("title"), line.get("source")) for line in _lines(folder) if isinstance(line, dict)
    ]


def _lines(folder: Path) -> list[Any]:
    try:
        with (folder / DOCUMENTS).open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder / DOCUMENTS} cannot be read ({error}): push it again") from error


def _write(folder: Path, lines: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_durably(folder / DOCUMENTS, text.encode())
