"""The store: one folder with a database, soft prompt files, adapters and derived indexes; holds corpora.

`Store(path)` opens or creates it. Its format is documented to the byte in `docs/storage.md`.
"""

import os
import re
import shutil
import sqlite3
import sys
from pathlib import Path
from types import TracebackType

from lloco.errors import StoreError
from lloco.store.catalogue import Catalogue
from lloco.store.corpus import Corpus
from lloco.store.files import AdapterFiles
from lloco.store.passage import Passage, PassageText
from lloco.store.rows import CorpusSummary, StoredDocument, read_summary
from lloco.store.vectors import StoredVectors
from lloco.store.verify import Problem, verify

NAME_PATTERN = r"(?!\.)[A-Za-z0-9._-]{1,64}"
"""What a corpus can be called."""

__all__ = [
    "Corpus",
    "CorpusSummary",
    "Passage",
    "PassageText",
    "Problem",
    "Store",
    "StoredDocument",
    "default_store_path",
]


class Store:
    """An open store; use it in a `with` block or call `close`. Threads may share it, processes open their own."""

    def __init__(self, path: str | Path | None = None, *, busy_seconds: float = 60.0) -> None:
        """Open the store at `path` (None: `default_store_path()`), creating it where there is none.

        `busy_seconds` is how long to wait for another process that is writing.
        """
        self.path = Path(path).expanduser() if path is not None else default_store_path()
        self._catalogue = Catalogue(self.path, busy_seconds)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; corpora of this store cannot be used afterwards."""
        self._catalogue.close()

    def corpus_names(self) -> list[str]:
        """Names of all corpora, in order."""
        with self._catalogue.read() as connection:
            return [row[0] for row in connection.execute("SELECT name FROM corpora ORDER BY name")]

    def corpora(self) -> list[CorpusSummary]:
        """Every corpus in numbers, by name."""
        with self._catalogue.read() as connection:
            keys = connection.execute("SELECT key FROM corpora ORDER BY name").fetchall()
            return [read_summary(connection, key[0]) for key in keys]

    def corpus(self, name: str, create: bool = True) -> Corpus:
        """Return the corpus of this name, creating it unless told not to; upper and lower case are the same."""
        check_name(name)
        found = self._find(name)
        if found is None:
            if not create:
                raise self._no_corpus(name)
            with self._catalogue.write(f"create corpus {name!r}") as connection:
                connection.execute("INSERT INTO corpora (name) VALUES (?) ON CONFLICT (name) DO NOTHING", (name,))
            found = self._find(name)
        if found is None:
            raise StoreError(f"corpus {name!r} was removed from {self.path} while it was being opened: try again")
        return Corpus(self.path, self._catalogue, *found)

    def __contains__(self, name: str) -> bool:
        """Whether there is a corpus of this name, in upper or lower case."""
        return self._find(name) is not None

    def remove_if_empty(self, corpus: Corpus) -> None:
        """Remove a corpus that never got a document, whoever may be adding one at this moment."""
        with self._catalogue.write(f"remove empty corpus {corpus.name!r}") as connection:
            connection.execute(
                "DELETE FROM corpora WHERE name = ? AND compressor IS NULL AND NOT EXISTS (SELECT 1 FROM adapters "
                "WHERE corpus = corpora.key)",
                (corpus.name,),
            )

    def remove_corpus(self, name: str) -> None:
        """Remove a corpus with its documents, soft prompts and adapters."""
        found = self._find(name)
        if found is None:
            raise self._no_corpus(name)
        key, folder_name = found

        def remove(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            rows = connection.execute("SELECT soft_prompt FROM documents WHERE corpus = ?", (key,)).fetchall()
            connection.execute("DELETE FROM corpora WHERE key = ?", (key,))
            return rows

        rows = self._catalogue.remove(f"remove corpus {name!r}", remove)
        StoredVectors(self.path).remove_unreferenced(self._catalogue, [row[0] for row in rows])
        with self._catalogue.write(f"remove the adapters of corpus {name!r}") as connection:
            if connection.execute("SELECT 1 FROM corpora WHERE name = ?", (name,)).fetchone() is None:
                for folder in (AdapterFiles(self.path).folder / folder_name, self.path / "index" / folder_name):
                    if folder.is_dir():
                        shutil.rmtree(folder)

    def verify(self, repair: bool = False) -> list[Problem]:
        """Compare every row with its files; `repair` removes what a crash left behind and files that are damaged."""
        return verify(self.path, self._catalogue, repair)

    def _find(self, name: str) -> tuple[int, str] | None:
        if not re.fullmatch(NAME_PATTERN, name):
            return None  # SQLite would refuse one that is not Unicode
        with self._catalogue.read() as connection:
            row = connection.execute("SELECT key, name FROM corpora WHERE name = ?", (name,)).fetchone()
        return None if row is None else (row[0], row[1])

    def _no_corpus(self, name: str) -> StoreError:
        with self._catalogue.read() as connection:
            names = [row[0] for row in connection.execute("SELECT name FROM corpora ORDER BY name")]
        return StoreError(
            f"there is no corpus {name!r}, store {self.path} has {', '.join(names) or 'none yet'}: choose one of "
            "them, or make it with `lloco compress --corpus`"
        )


def default_store_path() -> Path:
    """$LLOCO_HOME, or `lloco` in the platform's folder for a user's data."""
    if os.environ.get("LLOCO_HOME"):
        return Path(os.environ["LLOCO_HOME"]).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "lloco"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "lloco"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "lloco"


def check_name(name: str) -> None:
    """Raise `StoreError` where no corpus can be called so."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise StoreError(
            "a corpus name must be 1 to 64 letters, digits, dots, dashes or underscores and start with no dot, got "
            f"{name!r}: choose another"
        )
