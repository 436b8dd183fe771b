"""A dense index of passages: their vectors by an embedder, compared with a question's one by one.

Exact search over all vectors, mapped from one Arrow file; texts and questions are embedded in Unicode's NFC. When a
corpus changes, passages that were there keep their vectors: only new ones are embedded. Knows nothing of stores.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from lloco.retrieval.embedder import Embedder, Vectors
from lloco.store.passage import PassageText

if TYPE_CHECKING:
    import pyarrow

INDEX_VERSION = 2
"""Changes with what is written into an index folder, so that older ones are made again."""
_FILE = "dense.arrow"
_TOGETHER = 1024
"""Passages that are embedded at once."""


class DenseIndex:
    """Passages that can be searched by what a question means."""

    def __init__(self, table: "pyarrow.Table", embedder: Embedder) -> None:
        self._table = table.combine_chunks()
        self.embedder = embedder

    @classmethod
    def build(
        cls, passages: Iterable[PassageText], embedder: Embedder, folder: Path | None, older: "DenseIndex | None" = None
    ) -> "DenseIndex":
        """Index the passages in `folder`, or in memory; `older` lends the vectors of passages that it has too."""
        rows = list(passages)
        digests = [_digest(row.text) for row in rows]
        known = {} if older is None else older._vectors_by_digest()
        new = [index for index, digest in enumerate(digests) if digest not in known]
        for start in range(0, len(new), _TOGETHER):
            places = new[start : start + _TOGETHER]
            vectors = embedder.embed_passages([normalize("NFC", rows[index].text) for index in places])
            known.update((digests[index], vector) for index, vector in zip(places, vectors, strict=True))
        table = _table(rows, digests, [known[digest] for digest in digests])
        if folder is not None:
            _write(table, folder / _FILE)
        return cls(table, embedder)

    @classmethod
    def open(cls, folder: Path, embedder: Embedder) -> "DenseIndex":
        """Open what `build` wrote with this embedder; raises ValueError or OSError where it cannot be read."""
        import pyarrow

        return cls(pyarrow.ipc.open_file(pyarrow.memory_map(str(folder / _FILE))).read_all(), embedder)

    def search(self, question: str, limit: int, document_id: str | None = None) -> list[tuple[PassageText, float]]:
        """Best passages with their cosines, of one document alone where it is named; equal ones keep their order."""
        if not len(self._table):
            return []
        rows = None if document_id is None else self._rows_of(document_id)
        vectors = self._matrix() if rows is None else self._matrix()[rows]
        scores = vectors @ self.embedder.embed_question(normalize("NFC", question))
        best = np.argsort(-scores, kind="stable")[:limit]
        places = best if rows is None else rows[best]
        return [(passage, float(scores[at])) for passage, at in zip(self._passages(places), best, strict=True)]

    def _rows_of(self, document_id: str) -> NDArray[np.int64]:
        import pyarrow.compute

        is_its: NDArray[np.bool_] = pyarrow.compute.equal(self._table["document_id"], document_id).to_numpy()
        return np.flatnonzero(is_its)

    def _passages(self, places: NDArray[np.int64]) -> Sequence[PassageText]:
        rows = self._table.select(["document_id", "start", "end", "text"]).take(places).to_pylist()
        return [PassageText(**row) for row in rows]

    def _matrix(self) -> Vectors:
        """Return the vectors (number of passages, width), without a copy."""
        [column] = self._table["vector"].chunks
        values: Vectors = column.flatten().to_numpy(zero_copy_only=True)
        return values.reshape(len(self._table), -1)

    def _vectors_by_digest(self) -> dict[bytes, Vectors]:
        return dict(zip(self._table["digest"].to_pylist(), self._matrix(), strict=True)) if len(self._table) else {}


def _table(rows: Sequence[PassageText], digests: Sequence[bytes], vectors: Sequence[Vectors]) -> "pyarrow.Table":
    import pyarrow

    matrix = np.stack(vectors) if vectors else np.empty((0, 1), np.float32)
    return pyarrow.table(
        {
            "document_id": pyarrow.array([row.document_id for row in rows], pyarrow.large_string()),
            "start": pyarrow.array([row.start for row in rows], pyarrow.int64()),
            "end": pyarrow.array([row.end for row in rows], pyarrow.int64()),
            "text": pyarrow.array([row.text for row in rows], pyarrow.large_string()),
            "digest": pyarrow.array(digests, pyarrow.binary(16)),
            "vector": pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(matrix.reshape(-1)), matrix.shape[1]),
        }
    )


def _write(table: "pyarrow.Table", path: Path) -> None:
    import pyarrow

    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
