"""Read files in tests: as documents, as exactly one document, or refused with a reason."""

from __future__ import annotations

from pathlib import Path

from lloco.documents.document import Document, Skipped, read_documents


def read(*paths: Path, max_bytes: int = 512 << 20) -> tuple[list[Document], list[Skipped]]:
    skipped: list[Skipped] = []
    return list(read_documents(paths, on_skip=skipped.append, max_bytes=max_bytes)), skipped


def read_one(path: Path, content: bytes | str) -> Document:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    documents, skipped = read(path)
    assert skipped == []
    return documents[0]


def refuse(path: Path, content: bytes | str, *, max_bytes: int = 512 << 20) -> str:
    """The reason for which a file is skipped; nothing of it may come through as a document."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    documents, skipped = read(path, max_bytes=max_bytes)
    assert documents == []
    assert [entry.source for entry in skipped] == [path.as_posix()]
    return skipped[0].reason
