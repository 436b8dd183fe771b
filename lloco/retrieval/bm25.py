"""Two BM25 indexes of passages with one face: tantivy, and SQLite's FTS5 where tantivy is not installed.

Both stem English and take words as `search_words` makes them, not query syntax, so no question can be a syntax
error. Know nothing of stores.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from lloco.retrieval.search_words import search_text
from lloco.store.passage import PassageText

INDEX_VERSION = 2
"""Changes with what is written into an index folder, so that older ones are made again."""
_WRITER_BYTES = 64_000_000
_MOST_ROWS = 2**63 - 1
"""What SQLite can count to."""


class Bm25Index(Protocol):
    """Passages that can be searched by words."""

    def search(self, words: Sequence[str], limit: int) -> list[tuple[PassageText, float]]:
        """Best passages with their scores, higher is better; equal scores keep the order of the passages."""
        ...


def default_index() -> "type[TantivyIndex] | type[Fts5Index]":
    """Choose tantivy where it can be imported."""
    try:
        import tantivy  # noqa: F401
    except ImportError:
        return Fts5Index
    return TantivyIndex


class TantivyIndex:
    """BM25 by tantivy, with its English stemmer."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._searcher = index.searcher()

    @classmethod
    def build(cls, passages: Iterable[PassageText], folder: Path | None) -> "TantivyIndex":
        """Index the passages in `folder`, or in memory."""
        import tantivy

        schema = tantivy.SchemaBuilder()
        schema.add_text_field("words", stored=False, tokenizer_name="en_stem")
        schema.add_bytes_field("text", stored=True, indexed=False)
        schema.add_text_field("document_id", stored=True, tokenizer_name="raw")
        for name in ("start", "end", "position"):
            schema.add_unsigned_field(name, stored=True)
        index = tantivy.Index(schema.build(), path=None if folder is None else str(folder))
        writer = index.writer(_WRITER_BYTES, num_threads=1)  # one thread: the same passages give the same order
        for position, passage in enumerate(passages):
            writer.add_document(
                tantivy.Document(
                    words=search_text(passage.text),
                    text=passage.text.encode("utf-8", "surrogatepass"),
                    document_id=passage.document_id,
                    start=passage.start,
                    end=passage.end,
                    position=position,
                )
            )
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        return cls(index)

    @classmethod
    def open(cls, folder: Path) -> "TantivyIndex":
        """Open what `build` wrote; raises ValueError where it cannot be read."""
        import tantivy

        return cls(tantivy.Index.open(str(folder)))

    def search(self, words: Sequence[str], limit: int) -> list[tuple[PassageText, float]]:
        """See `Bm25Index`."""
        query = self._index.parse_query(" ".join(f'"{word}"' for word in words), ["words"])
        found = []
        # It takes memory for as many as it is asked for.
        num_wanted = min(limit, max(self._searcher.num_docs, 1))
        for score, address in self._searcher.search(query, num_wanted, count=False).hits:
            fields = self._searcher.doc(address).to_dict()
            document_id, start, end, text = (fields[name][0] for name in ("document_id", "start", "end", "text"))
            passage = PassageText(document_id, start, end, bytes(text).decode("utf-8", "surrogatepass"))
            found.append((-score, fields["position"][0], passage))
        return [(passage, -negative) for negative, _, passage in sorted(found, key=lambda scored: scored[:2])]


class Fts5Index:
    """BM25 by SQLite's full-text search, with its Porter stemmer."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __del__(self) -> None:
        self._connection.close()

    @classmethod
    def build(cls, passages: Iterable[PassageText], folder: Path | None) -> "Fts5Index":
        """Index the passages in `folder`, or in memory."""
        connection = sqlite3.connect(":memory:" if folder is None else folder / "fts5.db", check_same_thread=False)
        connection.execute(
            "CREATE VIRTUAL TABLE passages USING fts5(words, text UNINDEXED, document_id UNINDEXED, start UNINDEXED, "
            "\"end\" UNINDEXED, tokenize = 'porter unicode61')"
        )
        connection.executemany(
            "INSERT INTO passages VALUES (?, ?, ?, ?, ?)",
            (
                (search_text(passage.text), passage.text, passage.document_id, passage.start, passage.end)
                for passage in passages
            ),
        )
        connection.commit()
        return cls(connection)

    @classmethod
    def open(cls, folder: Path) -> "Fts5Index":
        """Open what `build` wrote; raises `sqlite3.Error` where it cannot be read."""
        address = f"{(folder / 'fts5.db').absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        opened = cls(connection)
        connection.execute("SELECT count(*) FROM passages").fetchone()
        return opened

    def search(self, words: Sequence[str], limit: int) -> list[tuple[PassageText, float]]:
        """See `Bm25Index`."""
        rows = self._connection.execute(
            'SELECT document_id, start, "end", text, rank FROM passages WHERE passages MATCH ? '
            "ORDER BY rank, rowid LIMIT ?",
            (" OR ".join(f'"{word}"' for word in words), min(limit, _MOST_ROWS)),
        )
        return [(PassageText(*row[:4]), -row[4]) for row in rows]
