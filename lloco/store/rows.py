"""Rows of the catalogue: a document, a corpus in numbers, and how they are read and written.

Works inside a transaction that the caller opened; knows the tables and nothing of files.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lloco.documents.document import Document
from lloco.store.passage import Passage, PassageText

if TYPE_CHECKING:
    from lloco.prompts.soft_prompt import SoftPrompt


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as the store holds it, with what its soft prompt was made with."""

    id: str
    title: str
    source: str
    text: str
    digest: str
    num_tokens: int
    num_virtual_tokens: int
    segment_len: int
    compressor_digest: str
    dtype: str
    num_read_tokens: int | None
    """Tokens that the soft prompt stands for, fewer than the document's where it was truncated; None: not noted."""

    @property
    def num_compressed_tokens(self) -> int:
        """The same; all of the document's where it was not noted."""
        return self.num_tokens if self.num_read_tokens is None else self.num_read_tokens


@dataclass(frozen=True, slots=True)
class CorpusSummary:
    """What a corpus holds, in numbers."""

    name: str
    compressor: str | None
    compressor_digest: str | None
    hidden_size: int | None
    adapter_digest: str | None
    segment_len: int | None
    """Tokens of a segment of the document that was stored last; None before the first."""
    storage_dtype: str | None
    """In which the soft prompt of that document was stored."""
    num_documents: int
    num_passages: int
    num_document_tokens: int
    num_virtual_tokens: int
    num_bytes: int
    """Size of the soft prompt files together."""


DOCUMENT_COLUMNS = (
    "id, title, source, text, text_digest, num_tokens, num_virtual_tokens, segment_len, compressor_digest, dtype, "
    "num_read_tokens"
)


def read_summary(connection: sqlite3.Connection, key: int) -> CorpusSummary:
    """Count what the corpus with this key holds."""
    corpus = connection.execute("SELECT * FROM corpora WHERE key = ?", (key,)).fetchone()
    counts = connection.execute(
        "SELECT count(*), "
        "(SELECT count(*) FROM passages JOIN documents ON documents.key = document WHERE corpus = :key), "
        "total(num_tokens), total(num_virtual_tokens), total(num_bytes) FROM documents WHERE corpus = :key",
        {"key": key},
    ).fetchone()
    return CorpusSummary(
        corpus["name"],
        corpus["compressor"],
        corpus["compressor_digest"],
        corpus["hidden_size"],
        active_adapter(connection, key),
        *read_last_stored(connection, key),
        *(int(count) for count in counts),
    )


def read_last_stored(connection: sqlite3.Connection, key: int) -> tuple[int | None, str | None]:
    """Segment length and dtype of the corpus's document that was stored last."""
    last = connection.execute(
        "SELECT segment_len, dtype FROM documents WHERE corpus = ? ORDER BY added DESC, key DESC LIMIT 1", (key,)
    ).fetchone()
    return (None, None) if last is None else (int(last[0]), str(last[1]))


def read_last_codebook(connection: sqlite3.Connection, key: int) -> str | None:
    """Digest of the codebook of the corpus's document that was stored last as pq."""
    last = connection.execute(
        "SELECT codebook FROM documents WHERE corpus = ? AND codebook IS NOT NULL "
        "ORDER BY added DESC, key DESC LIMIT 1",
        (key,),
    ).fetchone()
    return None if last is None else str(last[0])


def named_codebooks(connection: sqlite3.Connection) -> set[str]:
    """Digests of the codebooks that rows of any corpus name."""
    rows = connection.execute("SELECT DISTINCT codebook FROM documents WHERE codebook IS NOT NULL")
    return {str(row[0]) for row in rows}


def active_adapter(connection: sqlite3.Connection, key: int) -> str | None:
    """Digest of the adapter set last; earlier rows are history."""
    row = connection.execute(
        "SELECT digest FROM adapters WHERE corpus = ? ORDER BY key DESC LIMIT 1", (key,)
    ).fetchone()
    return None if row is None else str(row[0])


def read_passages(connection: sqlite3.Connection, corpus: int, id: str | None) -> Iterator[PassageText]:
    """Passages of the document with this id, or of all documents, in order."""
    # A condition with OR would look through the whole corpus for one document.
    find = "SELECT key, id, text FROM documents WHERE corpus = ? "
    documents = (
        connection.execute(f"{find} ORDER BY key", (corpus,))
        if id is None
        else connection.execute(f"{find} AND id = ?", (corpus, id))
    )
    for key, document_id, text in documents:
        spans = connection.execute('SELECT start, "end" FROM passages WHERE document = ? ORDER BY position', (key,))
        for start, end in spans:
            yield PassageText(document_id, start, end, text[start:end])


def read_contents_digest(connection: sqlite3.Connection, corpus: int) -> str:
    """sha256 over ids, texts and passages of a corpus, from the digests beside them."""
    digest = hashlib.sha256()
    for row in connection.execute(
        "SELECT id, text_digest, passages_digest FROM documents WHERE corpus = ? ORDER BY key", (corpus,)
    ):
        digest.update(json.dumps(tuple(row)).encode() + b"\n")
    return digest.hexdigest()


def passages_digest(passages: Sequence[Passage]) -> str:
    """sha256 over the spans."""
    return hashlib.sha256(json.dumps([(passage.start, passage.end) for passage in passages]).encode()).hexdigest()


def num_read_tokens(soft_prompt: "SoftPrompt") -> int:
    """Tokens that a soft prompt stands for: fewer than the document's where it was truncated, at a segment's end."""
    made = soft_prompt.provenance
    return min(made.num_document_tokens, -(-soft_prompt.num_virtual_tokens // made.summary_length) * made.segment_len)


def write_document(
    connection: sqlite3.Connection,
    corpus: int,
    document: Document,
    soft_prompt: "SoftPrompt",
    passages: Sequence[Passage],
    file: tuple[str, str, int],
) -> None:
    """Insert or replace a document's row and passages; `file` is dtype, digest and size of its soft prompt's file."""
    made_by = soft_prompt.provenance
    values = {
        "corpus": corpus,
        "id": document.id,
        "title": document.title,
        "source": document.source,
        "text": document.text,
        "text_digest": document.digest,
        "num_tokens": made_by.num_document_tokens,
        "num_read_tokens": num_read_tokens(soft_prompt),
        "num_virtual_tokens": soft_prompt.num_virtual_tokens,
        "segment_len": made_by.segment_len,
        "compressor_digest": made_by.compressor_digest,
        **dict(zip(("dtype", "soft_prompt", "num_bytes"), file, strict=True)),
        "passages_digest": passages_digest(passages),
        "codebook": made_by.codebook or None,
    }
    updates = ", ".join(f"{name} = excluded.{name}" for name in values if name not in ("corpus", "id"))
    connection.execute(
        f"INSERT INTO documents ({', '.join(values)}) VALUES ({', '.join(':' + name for name in values)}) "
        f"ON CONFLICT (corpus, id) DO UPDATE SET {updates}, added = strftime('%Y-%m-%dT%H:%M:%SZ', 'now')",
        values,
    )
    where = (corpus, document.id)
    key = connection.execute("SELECT key FROM documents WHERE corpus = ? AND id = ?", where).fetchone()[0]
    connection.execute("DELETE FROM passages WHERE document = ?", (key,))
    connection.executemany(
        'INSERT INTO passages (document, position, start, "end") VALUES (?, ?, ?, ?)',
        [(key, position, passage.start, passage.end) for position, passage in enumerate(passages)],
    )
