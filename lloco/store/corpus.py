"""A corpus: documents that share a compressor and an adapter, inside a store.

The database says what exists; files are put on the disk before the row that names them is committed and removed after
the row is gone (`docs/storage.md`). Knows nothing of models: soft prompts and adapters come ready-made.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lloco.adapters.digest import adapter_files_digest
from lloco.documents.document import Document
from lloco.errors import ExistsError, MismatchError, StoreError
from lloco.store.belonging import check_belongs, check_is_unicode
from lloco.store.catalogue import Catalogue
from lloco.store.files import (
    AdapterFiles,
    adapter_base_digest,
    read_adapter_folder,
)
from lloco.store.passage import Passage, PassageText
from lloco.store.rows import (
    DOCUMENT_COLUMNS,
    CorpusSummary,
    StoredDocument,
    active_adapter,
    read_contents_digest,
    read_last_codebook,
    read_last_stored,
    read_passages,
    read_summary,
    write_document,
)
from lloco.store.vectors import StoredVectors

if TYPE_CHECKING:
    import torch

    from lloco.prompts.codebook import Codebook
    from lloco.prompts.soft_prompt import SoftPrompt


class Corpus:
    """One corpus of an open store; made by `Store.corpus`."""

    def __init__(self, store_folder: Path, catalogue: Catalogue, key: int, name: str) -> None:
        self.name = name
        self.store_folder = store_folder
        self._catalogue = catalogue
        self._key = key
        self._vectors = StoredVectors(store_folder)
        self._adapters = AdapterFiles(store_folder)

    @property
    def index_folder(self) -> Path:
        """Where indexes made from this corpus belong; what is there can always be made again."""
        return self.store_folder / "index" / self.name

    @property
    def compressor_name(self) -> str | None:
        """Name of the compressor of its soft prompts; None before the first document."""
        with self._catalogue.read() as connection:
            name: str | None = self._row(connection)["compressor"]
            return name

    @property
    def compressor_digest(self) -> str | None:
        """Digest of that compressor's weights."""
        with self._catalogue.read() as connection:
            digest: str | None = self._row(connection)["compressor_digest"]
            return digest

    def summary(self) -> CorpusSummary:
        """Count what the corpus holds."""
        with self._catalogue.read() as connection:
            return read_summary(connection, self._row(connection)["key"])

    def last_stored(self) -> tuple[int | None, str | None]:
        """Segment length and storage dtype of the document that was stored last; None and None without any."""
        with self._catalogue.read() as connection:
            return read_last_stored(connection, self._key)

    def codebook(self) -> "Codebook | None":
        """Return that of the document that was stored last as pq; None where there is none, or it cannot be read."""
        with self._catalogue.read() as connection:
            digest = read_last_codebook(connection, self._key)
        return None if digest is None else self._vectors.codebook(digest)

    def add(
        self,
        document: Document,
        soft_prompt: "SoftPrompt",
        passages: Sequence[Passage],
        storage_dtype: str | None = None,
        *,
        codebook: "Codebook | None" = None,
        replace: bool = True,
    ) -> None:
        """Store a document, replacing an older one of the same id if it may; when this returns it survives a crash.

        `storage_dtype` None keeps the soft prompt's own; pq needs a `codebook`, which is stored too. Raises
        `MismatchError` for a soft prompt of another text or of another compressor than the corpus's, `ExistsError` for
        an id that is there and may not be replaced, whoever else is adding it at this moment, `StoreError` where it
        cannot be stored.
        """
        check_belongs(document, soft_prompt, passages)
        soft_prompt = soft_prompt.as_stored(storage_dtype, codebook)
        data, dtype = soft_prompt.to_bytes(), soft_prompt.provenance.dtype
        with self._catalogue.write(f"add document {document.id!r} to corpus {self.name!r}") as connection:
            self._take_compressor(connection, soft_prompt)
            where = (self._key, document.id)
            old = connection.execute("SELECT soft_prompt FROM documents WHERE corpus = ? AND id = ?", where).fetchone()
            if old is not None and not replace:
                raise self.exists_already(document.id)
            digest = self._vectors.write(soft_prompt, data)
            write_document(connection, self._key, document, soft_prompt, passages, (dtype, digest, len(data)))
        if old is not None and old[0] != digest:
            self._vectors.remove_unreferenced(self._catalogue, [old[0]])

    def exists_already(self, id: str) -> ExistsError:
        """Return the refusal to replace a document."""
        return ExistsError(
            f"document {id!r} is in corpus {self.name!r} already: replace or remove it, or choose another id"
        )

    def refine_steps(self) -> int:
        """Gradient steps of the document that was stored last, of those whose file can be read; 0 without any."""
        with self._catalogue.read() as connection:
            rows = connection.execute(
                "SELECT soft_prompt FROM documents WHERE corpus = ? ORDER BY added DESC, key DESC", (self._key,)
            )
            return next((steps for row in rows if (steps := self._vectors.refine_steps(row[0])) is not None), 0)

    def is_current(
        self,
        document: Document,
        compressor_digest: str,
        segment_len: int,
        storage_dtype: str | None = None,
        refine_steps: int | None = None,
    ) -> bool:
        """Whether compressing this document again would store what is there.

        `storage_dtype` None and `refine_steps` None accept any.
        """
        with self._catalogue.read() as connection:
            row = connection.execute(
                "SELECT text_digest, compressor_digest, segment_len, dtype, soft_prompt, num_bytes, codebook "
                "FROM documents WHERE corpus = ? AND id = ?",
                (self._key, document.id),
            ).fetchone()
        if row is None or tuple(row)[:3] != (document.digest, compressor_digest, segment_len):
            return False
        is_same = storage_dtype in (None, row[3]) and self._vectors.is_whole(*tuple(row)[4:])
        return is_same and (refine_steps is None or self._vectors.refine_steps(row[4]) == refine_steps)

    def refresh(self, document: Document) -> None:
        """Take over the title and source of a document that is there with the same text; its soft prompt stays."""
        where = (self._key, document.id, document.digest)
        find = "SELECT title, source FROM documents WHERE corpus = ? AND id = ? AND text_digest = ?"
        with self._catalogue.read() as connection:
            row = connection.execute(find, where).fetchone()
        if row is None or tuple(row) == (document.title, document.source):
            return
        check_is_unicode(document)
        with self._catalogue.write(f"refresh document {document.id!r} of corpus {self.name!r}") as connection:
            connection.execute(
                "UPDATE documents SET title = ?, source = ? WHERE corpus = ? AND id = ? AND text_digest = ?",
                (document.title, document.source, *where),
            )

    def document_ids(self, limit: int | None = None) -> list[str]:
        """Ids in the order in which they were first added, at most so many."""
        with self._catalogue.read() as connection:
            self._row(connection)
            # SQLite takes a negative limit for none.
            of_corpus = (self._key, -1 if limit is None else limit)
            rows = connection.execute("SELECT id FROM documents WHERE corpus = ? ORDER BY key LIMIT ?", of_corpus)
            return [row[0] for row in rows]

    def __contains__(self, id: str) -> bool:
        """Whether there is a document with this id."""
        with self._catalogue.read() as connection:
            found = connection.execute("SELECT 1 FROM documents WHERE corpus = ? AND id = ?", (self._key, id))
            return found.fetchone() is not None

    def documents(self) -> Iterator[StoredDocument]:
        """Every document, one text in memory at a time; skips what another process removes meanwhile."""
        for id in self.document_ids():
            document = self._find(id)
            if document is not None:
                yield document

    def document(self, id: str) -> StoredDocument:
        """Return the document with this id; raises `StoreError` where there is none."""
        document = self._find(id)
        if document is None:
            raise self._no_document(id)
        return document

    def passages(self) -> Iterator[PassageText]:
        """Every passage of every document, in order."""
        for id in self.document_ids():
            yield from self.document_passages(id)

    def document_passages(self, id: str) -> list[PassageText]:
        """Passages of one document, in order; empty where there is no such document any more."""
        with self._catalogue.read() as connection:
            return list(read_passages(connection, self._key, id))

    def store_version(self) -> tuple[int, int]:
        """Whatever changed in the store since, here or in another process: this is another pair then."""
        return self._catalogue.version()

    def contents_digest(self) -> str:
        """Digest over the texts and passages; an index made from other contents is stale."""
        with self._catalogue.read() as connection:
            return read_contents_digest(connection, self._row(connection)["key"])

    @contextmanager
    def contents(self) -> Iterator[tuple[str, Iterator[PassageText]]]:
        """Digest and passages of one moment, whoever writes meanwhile; they are read while the block lasts."""
        with self._catalogue.snapshot() as connection:
            with self._catalogue.as_store_error("read the store"):
                digest = read_contents_digest(connection, self._row(connection)["key"])
            yield digest, self._passages_of(connection)

    def _passages_of(self, connection: sqlite3.Connection) -> Iterator[PassageText]:
        with self._catalogue.as_store_error("read the store"):
            yield from read_passages(connection, self._key, None)
            # Whoever goes on to work with them does not hold back the database's log.
            connection.execute("COMMIT")

    def soft_prompt(self, id: str, dtype: "torch.dtype | None" = None) -> "SoftPrompt":
        """Read a document's soft prompt, checked against its digest; `dtype` as in `SoftPrompt.from_bytes`."""
        digest = self._soft_prompt_digest(id)
        while True:
            try:
                return self._vectors.read(digest, f"document {id!r} in corpus {self.name!r}", dtype)
            except StoreError:
                newer = self._soft_prompt_digest(id)
                if newer == digest:
                    raise
                digest = newer  # it was replaced between the two reads

    def remove_document(self, id: str) -> None:
        """Remove a document, its passages and its soft prompt."""

        def remove(connection: sqlite3.Connection) -> str:
            self._row(connection)
            where = (self._key, id)
            row = connection.execute("SELECT soft_prompt FROM documents WHERE corpus = ? AND id = ?", where).fetchone()
            if row is None:
                raise self._no_document(id)
            connection.execute("DELETE FROM documents WHERE corpus = ? AND id = ?", where)
            return str(row[0])

        digest = self._catalogue.remove(f"remove document {id!r} from corpus {self.name!r}", remove)
        self._vectors.remove_unreferenced(self._catalogue, [digest])

    def set_adapter(self, folder: str | Path) -> str:
        """Copy a PEFT adapter folder into the store and make it the corpus's adapter; returns its digest."""
        files = read_adapter_folder(Path(folder))
        digest, base_digest = adapter_files_digest(files), adapter_base_digest(files)
        with self._catalogue.write(f"set the adapter of corpus {self.name!r}") as connection:
            self._row(connection)
            self._adapters.write(self.name, files)
            if active_adapter(connection, self._key) != digest:
                connection.execute(
                    "INSERT INTO adapters (corpus, digest, base_digest) VALUES (?, ?, ?)",
                    (self._key, digest, base_digest),
                )
        with self._catalogue.write(f"remove older adapters of corpus {self.name!r}") as connection:
            self._adapters.remove_all_but(self.name, active_adapter(connection, self._key))
        return digest

    def adapter_folder(self) -> Path | None:
        """Folder of the corpus's adapter inside the store; None before there is one."""
        with self._catalogue.read() as connection:
            digest = active_adapter(connection, self._row(connection)["key"])
        if digest is None:
            return None
        path = self._adapters.path(self.name, digest)
        if not path.is_dir():
            raise StoreError(f"adapter {digest[:12]} of corpus {self.name!r} is gone from {path}: finetune again")
        return path

    def _row(self, connection: sqlite3.Connection) -> sqlite3.Row:
        row = connection.execute("SELECT * FROM corpora WHERE key = ?", (self._key,)).fetchone()
        if row is None:
            raise StoreError(f"corpus {self.name!r} was removed from {self.store_folder}: open or create it again")
        assert isinstance(row, sqlite3.Row)
        return row

    def _find(self, id: str) -> StoredDocument | None:
        with self._catalogue.read() as connection:
            row = connection.execute(
                f"SELECT {DOCUMENT_COLUMNS} FROM documents WHERE corpus = ? AND id = ?", (self._key, id)
            ).fetchone()
        return None if row is None else StoredDocument(*row)

    def _soft_prompt_digest(self, id: str) -> str:
        with self._catalogue.read() as connection:
            row = connection.execute(
                "SELECT soft_prompt FROM documents WHERE corpus = ? AND id = ?", (self._key, id)
            ).fetchone()
        if row is None:
            raise self._no_document(id)
        return str(row[0])

    def _no_document(self, id: str) -> StoreError:
        return StoreError(
            f"corpus {self.name!r} in {self.store_folder} has no document {id!r}: `lloco corpus show` lists them"
        )

    def _take_compressor(self, connection: sqlite3.Connection, soft_prompt: "SoftPrompt") -> None:
        """Hold the corpus to one compressor: the one of its first document."""
        row, made_by = self._row(connection), soft_prompt.provenance
        if (row["compressor_digest"], row["hidden_size"]) == (made_by.compressor_digest, made_by.hidden_size):
            return
        if connection.execute("SELECT 1 FROM documents WHERE corpus = ? LIMIT 1", (self._key,)).fetchone():
            raise MismatchError(
                f"corpus {self.name!r} holds soft prompts of compressor {row['compressor']} ({row['hidden_size']} "
                f"wide, digest {row['compressor_digest'][:12]}), document {made_by.document_id!r} was compressed by "
                f"{made_by.compressor} ({made_by.hidden_size} wide, digest {made_by.compressor_digest[:12]}): "
                f"compress it with {row['compressor']}, or use another corpus"
            )
        connection.execute(
            "UPDATE corpora SET compressor = ?, compressor_digest = ?, hidden_size = ? WHERE key = ?",
            (made_by.compressor, made_by.compressor_digest, made_by.hidden_size, self._key),
        )
