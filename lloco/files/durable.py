"""Files that are whole or not there, even when the power fails.

A file is written under a temporary name in its own folder, flushed to the disk, renamed and the folder is flushed too.
Nothing here knows what the bytes mean. Errors of the operating system (disk full, read-only) come out unchanged as
`OSError`, after the temporary file is gone.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lloco.errors import DataError

if sys.platform != "win32":
    import fcntl

TEMP_SUFFIX = ".tmp"
LOCK_FILE = ".lock"
"""An empty file in the folder of a run that one process works on at a time."""


def write_durably(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically; an older file there stays whole until the new one is on the disk."""
    temp = path.with_name(f".{path.name}.{os.getpid()}{TEMP_SUFFIX}")
    try:
        with temp.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temp.replace(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def make_folder_durably(folder: Path) -> None:
    """Create `folder` and its parents, each one's name flushed to the disk."""
    if folder.is_dir():
        return
    make_folder_durably(folder.parent)
    folder.mkdir(exist_ok=True)
    fsync_folder(folder.parent)


def fsync_folder(folder: Path) -> None:
    """Flush the names in `folder`; Windows cannot open folders and keeps its names in a journal."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Flush every file and name below `folder` to the disk, and give the files the mode that the umask gives new ones.

    Libraries that write through a temporary file of their own leave files that nobody else may read.
    """
    probe = folder / f".mode{TEMP_SUFFIX}"
    probe.touch()
    mode = probe.stat().st_mode & 0o777
    probe.unlink()
    inner = list(folder.rglob("*"))
    for file in filter(Path.is_file, inner):
        file.chmod(mode)
        with file.open("rb+") as written:
            os.fsync(written.fileno())
    for flushed in (folder, *filter(Path.is_dir, inner)):
        fsync_folder(flushed)


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock on a file, which is made where there is none; the system frees it when the process ends.

    Raises:
        DataError: another process holds it, in the words of `refusal`. Nothing is locked on Windows, nor on a file
            system that has no locks.
    """
    with path.open("ab") as file:
        if not _take_lock(file, is_waiting=False):
            raise DataError(refusal)
        yield


@contextmanager
def locked_in_turn(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock on a file as `locked` does, after whoever holds it; `on_wait` is called before waiting."""
    with path.open("ab") as file:
        if not _take_lock(file, is_waiting=False):
            on_wait()
            _take_lock(file, is_waiting=True)
        yield


def _take_lock(file: IO[bytes], *, is_waiting: bool) -> bool:
    """Lock the file until it is closed; False where another process holds the lock, True also where there are none."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX if is_waiting else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
    return True
