"""Indexes kept beside a store's corpus: opened while they fit what it holds, else made again.

An index is derived: whatever cannot be opened is made again, and where the disk takes none, full or read-only, it is
made in memory. Knows nothing of what is in one.
"""

import contextlib
import errno
import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias, TypeVar

from lloco.errors import LlocoError, StoreError
from lloco.files.durable import TEMP_SUFFIX, fsync_folder, make_folder_durably
from lloco.store.corpus import Corpus
from lloco.store.passage import PassageText

_log = logging.getLogger(__name__)
Index = TypeVar("Index")
Build: TypeAlias = Callable[[Iterable[PassageText], Path | None, Index | None], Index]
"""Index the passages in an empty folder or in memory; the index of what the corpus held before may help."""


def kept_index(corpus: Corpus, kind: str, open_index: Callable[[Path], Index], build: Build[Index]) -> Index:
    """Return the corpus's index of this kind, as the corpus is now."""
    for _ in range(MAX_TRIES):  # others may index newer contents, and remove this index before it is opened
        with contextlib.suppress(*_UNREADABLE):
            return open_index(_folder(corpus, corpus.contents_digest(), kind))
        try:
            with corpus.contents() as (digest, passages):
                folder = _folder(corpus, digest, kind)
                _build_on_disk(corpus, folder, kind, passages, open_index, build)
            with contextlib.suppress(*_UNREADABLE):
                return open_index(folder)
        except LlocoError:
            raise
        except _UNREADABLE as error:
            if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                break  # as of a store that is only read
            _log.warning("could not write the index in %s, it is made in memory: %s", corpus.index_folder, error)
            break
    try:
        with corpus.contents() as (_, passages):
            return build(passages, None, None)
    except _UNREADABLE as error:
        raise StoreError(
            f"could not make the index of corpus {corpus.name!r}, neither in {corpus.index_folder} nor in memory "
            f"({error}): free space, or allow writing there"
        ) from error


_UNREADABLE = (ValueError, OSError, sqlite3.Error)
MAX_TRIES = 3


def _folder(corpus: Corpus, contents_digest: str, kind: str) -> Path:
    return corpus.index_folder / f"{contents_digest}-{kind}"


def _build_on_disk(
    corpus: Corpus,
    folder: Path,
    kind: str,
    passages: Iterable[PassageText],
    open_index: Callable[[Path], Index],
    build: Build[Index],
) -> None:
    """Build beside the final place and rename, so that an index that is there is whole; drop stale ones of the kind."""
    temp = folder.with_name(f".{folder.name}.{os.getpid()}.{threading.get_ident()}{TEMP_SUFFIX}")
    make_folder_durably(folder.parent)
    stale = [path for path in folder.parent.iterdir() if path.name.endswith(f"-{kind}")]
    temp.mkdir()
    try:
        build(passages, temp, _first_readable(stale, open_index))
        # Other processes may be doing the same at this moment, so what is gone already is no error.
        for path in stale:
            shutil.rmtree(path, ignore_errors=True)
        temp.replace(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    fsync_folder(folder.parent)


def _first_readable(folders: list[Path], open_index: Callable[[Path], Index]) -> Index | None:
    for folder in folders:
        with contextlib.suppress(*_UNREADABLE):
            return open_index(folder)
    return None
