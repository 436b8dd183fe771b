"""Text and question-answer lines as token rows for pretraining.

Reads document-QA lines (`{text, questions: [{question, answers}]}` or `{context, qas: [{q, a}]}`; lines without
questions are plain text) and lays rows out with the default template. Knows nothing about models.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from lloco.documents.encoding import is_encodable
from lloco.errors import DataError
from lloco.files.strict_json import read_values
from lloco.models.control_tokens import encode_texts
from lloco.prompts.template import DEFAULT_TEMPLATE, fill

LINES_TOKENIZED_TOGETHER = 1000

IdArray: TypeAlias = NDArray[np.int32]
Line: TypeAlias = tuple[str, list[tuple[str, str]]]
"""A text and its (question, answer) pairs."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadingDocument:
    """A tokenised document and its tokenised (question, answer) pairs; the answer ends with EOS."""

    ids: IdArray
    pairs: tuple[tuple[IdArray, IdArray], ...]
    is_random: bool = False
    """Tokens without meaning, to be looked up or copied."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Token ids that follow a context, and the weight of each in the loss (0 where it is not a target)."""

    ids: Tensor
    weights: Tensor


def iter_lines(paths: Sequence[Path]) -> Iterator[Line]:
    """Yield (text, [(question, answer)]) from JSON-lines files, gzipped or not.

    Raises:
        DataError: a file is missing or a line is broken, named by file and line number.
    """
    for path in paths:
        for where, record in read_values(path):
            yield _parse_record(record, where)


def _parse_record(record: Any, where: str) -> Line:
    text = record.get("text", record.get("context")) if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise _broken(where, 'it has no string "text" or "context"')
    questions, question, answers = ("qas", "q", "a") if "qas" in record else ("questions", "question", "answers")
    try:
        pairs = [(pair[question], pair[answers][0]) for pair in record.get(questions, ()) if pair[answers]]
    except (KeyError, TypeError, IndexError) as error:
        raise _broken(where, f'"{questions}" is no list of objects with "{question}" and "{answers}"') from error
    if not all(isinstance(part, str) for pair in pairs for part in pair):
        raise _broken(where, f'a "{question}" or one of its "{answers}" is no string')
    if not all(map(is_encodable, (text, *(part for pair in pairs for part in pair)))):
        raise _broken(where, "it holds half of a surrogate pair, which is no character")
    return text, pairs


def _broken(where: str, what: str) -> DataError:
    return DataError(f"{where}: a line must have text, or context, and its questions, {what}: correct it")


def tokenize_lines(
    lines: Iterator[Line],
    tokenizer: PreTrainedTokenizerFast,
    max_document_tokens: int,
    on_lost: Callable[[int], None] | None = None,
) -> list[ReadingDocument]:
    """Tokenise documents, questions and answers; a longer text becomes several documents without questions.

    `on_lost` is called with the number of questions that such a text had.
    """
    documents: list[ReadingDocument] = []
    while group := list(islice(lines, LINES_TOKENIZED_TOGETHER)):
        texts = [part for text, pairs in group for part in (text, *_worded(pairs))]
        encoded = encode_texts(tokenizer, texts)
        for _, pairs in group:
            ids = _ids(next(encoded))
            worded = tuple((_ids(next(encoded)), _ids([*next(encoded), tokenizer.eos_token_id])) for _ in pairs)
            if len(ids) <= max_document_tokens:
                documents.append(ReadingDocument(ids, worded))
            else:
                if worded and on_lost is not None:
                    on_lost(len(worded))
                starts = range(0, len(ids), max_document_tokens)
                documents += [ReadingDocument(ids[start : start + max_document_tokens], ()) for start in starts]
    return [document for document in documents if len(document.ids) > 1]


def documents_digest(documents: Sequence[ReadingDocument]) -> str:
    """Return a digest of all token ids, in order."""
    digest = hashlib.sha256()
    for document in documents:
        for ids in (document.ids, *(part for pair in document.pairs for part in pair)):
            digest.update(len(ids).to_bytes(8, "little") + ids.tobytes())
    return digest.hexdigest()


def _worded(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield question, answer, question, answer... in the default template's wording."""
    for question, answer in pairs:
        yield fill(DEFAULT_TEMPLATE.after_context + DEFAULT_TEMPLATE.question, {"question": question})
        yield fill(DEFAULT_TEMPLATE.answer, {"answer": answer})


def _ids(ids: Sequence[int]) -> IdArray:
    return np.asarray(ids, dtype=np.int32)


def as_tensor(ids: IdArray) -> Tensor:
    """Return the ids as int64."""
    return torch.from_numpy(ids.astype(np.int64))


def questions_row(pairs: Sequence[tuple[IdArray, IdArray]]) -> Row:
    """Lay out questions and answers one after another; targets are the answers with their EOS."""
    weights = [part for q, a in pairs for part in (torch.zeros(len(q)), torch.ones(len(a)))]
    return Row(torch.cat([as_tensor(part) for pair in pairs for part in pair]), torch.cat(weights))


def text_row(ids: Tensor, target_ratio: float, chooser: random.Random, lead: Tensor | None = None) -> Row:
    """Lay out text of which a random share of the tokens are targets, after an instruction (`lead`) that is none."""
    weights = random_targets(len(ids), target_ratio, chooser)
    if lead is None:
        return Row(ids, weights)
    return Row(torch.cat([lead, ids]), torch.cat([torch.zeros(len(lead)), weights]))


def lookup_row(ids: Tensor, chunk_len: int, chooser: random.Random) -> Row:
    """Lay out the context's chunks again in another order; all tokens are targets that follow one of their own chunk.

    Position says nothing of what comes next, only the token before does: so tokens are looked up by what stood there.
    """
    chunks = list(torch.split(ids, chunk_len))
    chooser.shuffle(chunks)
    weights = torch.cat([torch.arange(len(chunk)) > 0 for chunk in chunks]).float()
    return Row(torch.cat(chunks), weights)


def random_targets(num_tokens: int, target_ratio: float, chooser: random.Random) -> Tensor:
    """Return (num_tokens,) weights: 1 for a random share of the tokens, 0 for the rest."""
    generator = torch.Generator().manual_seed(chooser.getrandbits(32))
    return (torch.rand(num_tokens, generator=generator) < target_ratio).float()
