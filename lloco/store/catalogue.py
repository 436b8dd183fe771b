"""The store's database: one SQLite file, write-ahead log, every commit flushed to the disk.

Opens it, brings its tables up to date by numbered migrations and hands out transactions. What SQLite or the operating
system refuses becomes a `StoreError` here. Knows nothing of soft prompts or corpora.
"""

import contextlib
import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from lloco.errors import DiskFullError, StoreError
from lloco.files.durable import make_folder_durably
from lloco.store.guarded_connection import GuardedConnection

Result = TypeVar("Result")
DATABASE_NAME = "lloco.db"
RESERVE_NAME = ".reserve"
RESERVE_BYTES = 1 << 20
"""Of zeros, which make room for the log of a removal where the disk is full."""
APPLICATION_ID = 0x4C4C4F43
"""The letters LLOC, in SQLite's header: a database without them is not ours and is left as it is."""

MIGRATIONS = (
    """
    CREATE TABLE corpora (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        compressor TEXT,
        compressor_digest TEXT,
        hidden_size INTEGER,
        created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
    );
    CREATE TABLE documents (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        corpus INTEGER NOT NULL REFERENCES corpora(key) ON DELETE CASCADE,
        id TEXT NOT NULL,
        title TEXT NOT NULL,
        source TEXT NOT NULL,
        text TEXT NOT NULL,
        text_digest TEXT NOT NULL,
        num_tokens INTEGER NOT NULL,
        num_virtual_tokens INTEGER NOT NULL,
        segment_len INTEGER NOT NULL,
        compressor_digest TEXT NOT NULL,
        dtype TEXT NOT NULL,
        soft_prompt TEXT NOT NULL,
        num_bytes INTEGER NOT NULL,
        passages_digest TEXT NOT NULL,
        added TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
        UNIQUE (corpus, id)
    );
    CREATE INDEX documents_by_soft_prompt ON documents (soft_prompt);
    CREATE TABLE passages (
        document INTEGER NOT NULL REFERENCES documents(key) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        start INTEGER NOT NULL,
        "end" INTEGER NOT NULL,
        PRIMARY KEY (document, position)
    ) WITHOUT ROWID;
    CREATE TABLE adapters (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        corpus INTEGER NOT NULL REFERENCES corpora(key) ON DELETE CASCADE,
        digest TEXT NOT NULL,
        base_digest TEXT,
        added TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
    );
    """,
    "ALTER TABLE documents ADD COLUMN num_read_tokens INTEGER",
    """
    CREATE INDEX documents_in_order ON documents (
        corpus, key, id, text_digest, passages_digest, num_tokens, num_virtual_tokens, num_bytes
    );
    CREATE INDEX documents_by_age ON documents (corpus, added, key, segment_len, dtype);
    """,
    """
    ALTER TABLE documents ADD COLUMN codebook TEXT;
    CREATE INDEX documents_by_codebook ON documents (codebook, corpus, added, key) WHERE codebook IS NOT NULL
    """,
)
"""Migration n brings a database from schema version n to n + 1; one that was released is never edited."""


class Catalogue:
    """One open database; safe to share between threads, and reopened by itself in a forked process."""

    def __init__(self, folder: Path, busy_seconds: float) -> None:
        self.path = folder / DATABASE_NAME
        self._busy_seconds = busy_seconds
        self._is_short = False
        self._reader, self._writer = GuardedConnection(self._connect), GuardedConnection(self._connect)
        with self.as_store_error("open the store"):
            make_folder_durably(folder)
            self.is_read_only = not all(_is_writable(path) for path in (folder, self.path) if path.exists())
            self._migrate()
        self._reserve()

    def close(self) -> None:
        """Close the database; using the catalogue afterwards is an error."""
        self._reader.close()
        self._writer.close()

    def version(self) -> tuple[int, int]:
        """Return another pair after every commit, whoever's it is; the first number is this process's."""
        with self.as_store_error("read the store"), self._reader.opened() as connection:
            return os.getpid(), int(connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent view: everything read inside belongs to the same commit."""
        with self._transaction(self._reader, "read the store", "BEGIN") as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """One consistent view for long reads, on a connection of its own: nobody waits for it."""
        with self.as_store_error("read the store"):
            connection = self._connect()
        with closing(connection):
            connection.execute("BEGIN")  # deferred: it waits for nobody before the first read
            yield connection

    @contextmanager
    def write(self, purpose: str) -> Iterator[sqlite3.Connection]:
        """The only writer among all processes until the block ends; commits there, or nothing of it stays.

        It waits for others on a connection of its own, so reading goes on meanwhile.

        `purpose` ("add document 'a'") is named by the error when it cannot be done. Not to be nested.
        """
        if self.is_read_only:
            raise StoreError(
                f"could not {purpose}: {self.path.parent} is read-only; allow writing there or choose another folder "
                "with --store"
            )
        if self._is_short:
            self._end_shortage()
        with self._transaction(self._writer, purpose, "BEGIN IMMEDIATE") as connection:
            yield connection

    def remove(self, purpose: str, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do work that removes rows as in a block of `write`; where the disk is full, the reserve makes room."""
        try:
            with self.write(purpose) as connection:
                return work(connection)
        except DiskFullError:
            self._use_reserve()
        with self.write(purpose) as connection:
            return work(connection)

    @property
    def _reserve_path(self) -> Path:
        return self.path.with_name(RESERVE_NAME)

    def _reserve(self) -> None:
        """Set room aside for removals, where there is enough of it."""
        with contextlib.suppress(OSError):
            has_room = shutil.disk_usage(self.path.parent).free > 4 * RESERVE_BYTES
            if has_room and not (self.is_read_only or self._reserve_path.exists()):
                self._reserve_path.write_bytes(bytes(RESERVE_BYTES))

    def _use_reserve(self) -> None:
        """Give the reserve to the log: the database does not grow meanwhile, nor are removed pages written over."""
        with contextlib.suppress(OSError):
            self._reserve_path.unlink()
        self._is_short = True
        with self._writer.opened() as connection:
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("PRAGMA secure_delete = FAST")

    def _end_shortage(self) -> None:
        """Go on as usual where there is room again."""
        self._reserve()
        if self._reserve_path.exists():
            self._is_short = False
            with self._writer.opened() as connection:
                connection.execute("PRAGMA wal_autocheckpoint = 1000")

    @contextmanager
    def _transaction(self, shared: GuardedConnection, purpose: str, begin: str) -> Iterator[sqlite3.Connection]:
        with self.as_store_error(purpose), shared.opened() as connection:
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _connect(self) -> sqlite3.Connection:
        # On a read-only disk the log's files cannot be made; nobody can be writing there, so none is needed.
        is_immutable = self.is_read_only and not Path(f"{self.path}-wal").exists()
        address = f"{self.path.absolute().as_uri()}?{'mode=ro&immutable=1' if is_immutable else 'mode=rwc'}"
        connection = sqlite3.connect(
            address, uri=True, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        return connection

    def _migrate(self) -> None:
        with self._reader.opened() as connection:
            self._check_ours(connection)
            if connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS):
                return
            self._use_write_ahead_log(connection)
        with self.write("set up the store's database") as connection:
            self._check_ours(connection)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            for statements in MIGRATIONS[version:]:
                for statement in statements.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _check_ours(self, connection: sqlite3.Connection) -> None:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        is_empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if application != APPLICATION_ID and not (is_empty and application == version == 0):
            raise StoreError(
                f"{self.path} is not a store but a database of another program (application id {application}): choose "
                "another folder with --store"
            )
        if version > len(MIGRATIONS):
            raise StoreError(
                f"schema version must be at most {len(MIGRATIONS)}, store {self.path} has {version}: a newer lloco "
                "wrote it, upgrade this one"
            )

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        """Switch the log on; SQLite does not wait for others here, two processes may be creating the store at once."""
        give_up = time.monotonic() + self._busy_seconds
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(0.02)

    @contextmanager
    def as_store_error(self, purpose: str) -> Iterator[None]:
        """Say what SQLite or the system refuses in the store's words; `purpose` is what could not be done."""
        try:
            yield
        except sqlite3.Error as error:
            kind = DiskFullError if "is full" in str(error) else StoreError
            raise kind(f"could not {purpose} in {self.path}: {_explain(error)}") from error
        except OSError as error:
            kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
            raise kind(
                f"could not {purpose}: {error.strerror or error} ({error.filename or self.path}); everything stored "
                "before is kept: free space or allow writing there, then run the same again"
            ) from error


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _explain(error: sqlite3.Error) -> str:
    """Say what SQLite's message means and what to do about it."""
    message = str(error)
    advice = {
        "locked": "another process has been writing for too long; wait for it, then run the same again",
        "readonly": "the store is read-only; allow writing there or choose another folder with --store",
        "unable to open": "the folder cannot be read or written; allow it or choose another folder with --store",
        "is full": "the disk is full; everything stored before is kept, free space and run the same again",
        "not a database": "this file is not a store's database; choose another folder with --store",
        "malformed": "the database is damaged; restore it from a copy, or remove the folder and compress again",
        "disk I/O error": "the disk does not write; everything stored before is kept, check it and run the same again",
        "closed database": "the store was closed; open it again",
    }
    return next(
        (f"{message}: {what}" for part, what in advice.items() if part in message), f"{message}: see docs/storage.md"
    )
