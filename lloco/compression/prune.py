"""Documents that are gone from where they were read, removed from a corpus."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from lloco.documents.document import Document, Skipped
from lloco.store.corpus import Corpus


def remove_absent(corpus: Corpus, documents: Iterable[Document], skipped: Sequence[Skipped]) -> list[str]:
    """Remove documents of the corpus that are not among these, but for those that could not be read now; return ids.

    Whatever came from a skipped file, or lies in a skipped folder, may still be there and is kept.
    """
    present = {document.id for document in documents}
    unread = {path for left_out in skipped for path in _skipped_places(left_out.source)}
    gone = [
        document.id
        for document in corpus.documents()
        if document.id not in present and not _is_unread(document.source, unread)
    ]
    for document_id in gone:
        corpus.remove_document(document_id)
    return gone


def _is_unread(source: str, unread: set[Path]) -> bool:
    """Whether a document's source is one of these places, or lies under one."""
    return any(path == folder or path.is_relative_to(folder) for path in _places(source) for folder in unread) or any(
        _ends_with(end, part) for part in _relative_parts(source) for end in unread
    )


def _places(source: str) -> set[Path]:
    """Return the absolute paths that a source names, as written and through links, with and without its line."""
    names = {source, re.sub(r":\d+$", "", source)} - {""}
    return {Path(find(name)) for name in names for find in (os.path.abspath, os.path.realpath)}


def _skipped_places(source: str) -> set[Path]:
    """Leave out where a link leads that can be followed: it was skipped because that place is read by itself."""
    is_read_elsewhere = Path(source).is_symlink() and os.access(source, os.R_OK)
    return {Path.cwd() / os.path.normpath(source)} if is_read_elsewhere else _places(source)


def _relative_parts(source: str) -> list[Path]:
    """Return a relative source and the folders it names: it was read from a working folder that may be another now."""
    path = Path(os.path.normpath(re.sub(r":\d+$", "", source)))
    if not source or path.is_absolute():
        return []
    path = Path(*(part for part in path.parts if part != ".."))
    return [part for part in (path, *path.parents) if part.parts]


def _ends_with(path: Path, end: Path) -> bool:
    return path.parts[-len(end.parts) :] == end.parts
