"""The retriever: which passages, and which documents, a question is about. BM25 over passages.

English question words ("who", "did", "the") are dropped from the question. The index is made in memory, or kept beside
a store's corpus, where it is derived: made again whenever the corpus has changed. Knows nothing of models.
"""

import contextlib
import errno
import os
import re
import shutil
import sqlite3
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lloco.bm25 import INDEX_VERSION, Bm25Index, default_index
from lloco.durable import TEMP_SUFFIX, fsync_folder, make_folder_durably
from lloco.errors import StoreError
from lloco.store.corpus import Corpus
from lloco.store.passage import Passage, PassageText

_STOP_WORDS = (
    "a about after all also am an and any are as at be because been before being but by can could did do does doing "
    "during each for from had has have having he her hers him his how i if in into is it its just me much many my no "
    "not of on one or our out over s she should so some such t than that the their them then there these they this "
    "those through to under up us was we were what when where which while who whom whose why will with would you "
    "your"
)
QUESTION_STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words of English questions that say nothing about the answer's place."""
_WORD = re.compile(r"\S{1,32}")
"""A word of a passage; what has no white space for longer (Chinese, a table) is counted in pieces."""
_BOUNDARY = re.compile(r"""[.!?]["'”’)\]]*(?=\s)|[。！？]|\n\s*\n""")
"""End of a sentence or, all white space, of a paragraph."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found; a higher score is better, scores of different questions do not compare."""

    document_id: str
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class DocumentHit:
    """A document that was found, with the score of its best passage."""

    document_id: str
    score: float


class Retriever:
    """Finds passages by the words of a question."""

    def __init__(self, index: Bm25Index) -> None:
        self._index = index

    @classmethod
    def build(cls, passages: Iterable[PassageText], folder: Path | None = None) -> "Retriever":
        """Index the passages in memory, or in an existing empty folder."""
        return cls(default_index().build(passages, folder))

    @classmethod
    def of_corpus(cls, corpus: Corpus) -> "Retriever":
        """Index of a store's corpus: the one on the disk, made first where it is missing, stale or damaged."""
        with contextlib.suppress(ValueError, OSError, sqlite3.Error):  # what cannot be opened is made again
            return cls(default_index().open(_index_folder(corpus, corpus.contents_digest())))
        digest, passages = corpus.contents()
        try:
            return cls(_build_on_disk(corpus, digest, passages))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return cls.build(passages)
            raise StoreError(
                f"could not write the index of corpus {corpus.name!r} in {corpus.index_folder}: "
                f"{error.strerror or error}; the corpus itself is as it was: free space, then ask again"
            ) from error

    def search(self, question: str, top_k: int) -> list[Hit]:
        """Best passages first, at most `top_k`; none where no word of the question occurs."""
        words = question_words(question)
        if not words or top_k < 1:
            return []
        found = self._index.search(words, top_k)
        return [Hit(one.document_id, one.start, one.end, one.text, score) for one, score in found]

    def search_documents(self, question: str, top_k: int) -> list[DocumentHit]:
        """Best documents first, at most `top_k`, each by its best passage."""
        num_passages = max(top_k, 1) * 8
        while True:
            hits = self.search(question, num_passages)
            best: dict[str, float] = {}
            for hit in hits:
                best.setdefault(hit.document_id, hit.score)
            if len(best) >= top_k or len(hits) < num_passages:
                return [DocumentHit(id, score) for id, score in list(best.items())[:top_k]]
            num_passages *= 4


def question_words(question: str) -> list[str]:
    """Lower-case words to search for, each once, without question stop words unless there are no others."""
    kept = "".join(one if unicodedata.category(one)[0] in "LNM" else " " for one in question.lower())
    words = list(dict.fromkeys(kept.split()))
    return [word for word in words if word not in QUESTION_STOP_WORDS] or words


def split_passages(text: str, max_words: int = 100) -> list[Passage]:
    """Split into passages of at most `max_words` words, at the ends of paragraphs and sentences where they fit.

    Every character that is not white space lies in exactly one passage; none begins or ends with white space.
    """
    passages: list[Passage] = []
    words: list[tuple[int, int]] = []

    def close() -> None:
        for first in range(0, len(words), max_words):
            part = words[first : first + max_words]
            passages.append(Passage(part[0][0], part[-1][1]))
        words.clear()

    for sentence, is_paragraph_end in _sentences(text):
        if len(words) + len(sentence) > max_words:
            close()
        words += sentence
        if is_paragraph_end and len(words) >= max_words / 2:
            close()
    close()
    return passages


def _sentences(text: str) -> Iterator[tuple[list[tuple[int, int]], bool]]:
    """Spans of the words of each sentence, and whether a paragraph ends there."""
    start = 0
    for boundary in _BOUNDARY.finditer(text):
        yield [word.span() for word in _WORD.finditer(text, start, boundary.end())], boundary.group().isspace()
        start = boundary.end()
    yield [word.span() for word in _WORD.finditer(text, start)], True


def _index_folder(corpus: Corpus, contents_digest: str) -> Path:
    return corpus.index_folder / f"{contents_digest}-{default_index().__name__}{INDEX_VERSION}"


def _build_on_disk(corpus: Corpus, digest: str, passages: list[PassageText]) -> Bm25Index:
    """Build beside the final place and rename, so that an index that is there is whole; drop stale ones."""
    folder = _index_folder(corpus, digest)
    temp = folder.with_name(f".{folder.name}.{os.getpid()}.{threading.get_ident()}{TEMP_SUFFIX}")
    make_folder_durably(folder.parent)
    temp.mkdir()
    try:
        default_index().build(passages, temp)
        # Other processes may be doing the same at this moment, so what is gone already is no error.
        for other in folder.parent.iterdir():
            if other.suffix != TEMP_SUFFIX:
                shutil.rmtree(other, ignore_errors=True)
        temp.replace(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    fsync_folder(folder.parent)
    return default_index().open(folder)
