"""Soft prompts out of an embeddings file of the public LLoCO code: a `.pth` dict from id to (num_vectors, hidden_size).

Such a file says neither what made its vectors nor of which text: the compressor is named by the user and only its
files' width and digest are read; texts come from documents or task data with the same ids, and a document without one
is stored with an empty text, to be read by its id alone. The file is read as weights only, never as a pickle of code.
"""

import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lloco.compressors.autocompressor import PUBLISHED_SEGMENT_LEN, SUMMARY_KEY
from lloco.documents.document import Document
from lloco.errors import CheckpointError, DataError, DocumentError, MismatchError
from lloco.models.checkpoint import find_tensor, weights_digest
from lloco.models.control_tokens import text_ids
from lloco.models.decoder import dtype_name, load_tokenizer
from lloco.prompts.packed import STORAGE_DTYPES
from lloco.prompts.provenance import Provenance
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.retrieval.passages import split_passages
from lloco.store.corpus import Corpus

_SLACK_TOKENS = 8
"""Tokens that cutting a text every `_CUT_CHARACTERS` may add, a cut; the public code cuts long texts so."""
_CUT_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True)
class MadeBy:
    """The compressor that made an embeddings file, as the user names it."""

    name: str
    folder: Path
    digest: str
    summary_length: int
    hidden_size: int
    segment_len: int
    base_model: str


def made_by(name: str, folder: Path, *, segment_len: int | None = None, base_model: str | None = None) -> MadeBy:
    """Read width and digest of a compressor's files; its model is not loaded.

    Without a segment_len it is the config's, else the published one.

    Raises:
        CheckpointError: it is no compressor, or damaged.
    """
    summaries = find_tensor(folder, SUMMARY_KEY)
    if summaries is None:
        raise CheckpointError(
            f"{name} has no {SUMMARY_KEY}, so it is not a compressor: name the one that made the file"
        )
    length, width = int(summaries.shape[0]), int(summaries.shape[1])
    segment_len = segment_len or _declared_segment_len(folder) or PUBLISHED_SEGMENT_LEN
    return MadeBy(name, folder, weights_digest(folder), length, width, segment_len, base_model or name)


def _declared_segment_len(folder: Path) -> int | None:
    try:
        value = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("segment_len")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder} has no config.json of a compressor that can be read: {error}") from error
    return value if isinstance(value, int) and value > 0 else None


def read_embeddings(path: Path, compressor: MadeBy) -> dict[str, Tensor]:
    """Return the vectors by id, every one checked.

    Raises:
        DataError: not a dict of vectors, damaged, or holding more than tensors.
        MismatchError: vectors of another width than the compressor's, or of another number a segment.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged pickle can raise anything
        reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0][:200]
        if not isinstance(error, OSError | RuntimeError):  # the unpickler's own words advise to run the code
            reason = "it is damaged, of another kind, or holds more than tensors"
        raise DataError(
            f"{path} cannot be read as an embeddings file with tensors alone ({reason}): copy it again, or do not use "
            "it where it holds code"
        ) from error
    if not isinstance(found, dict) or not found:
        kind = f"a {type(found).__name__}" if found or not isinstance(found, dict) else "an empty dict"
        raise DataError(f"{path} must hold a dict from document id to vectors, got {kind}: name an embeddings file")
    vectors = {str(key): _checked(str(key), value, path, compressor) for key, value in found.items()}
    if len(vectors) != len(found):
        raise DataError(f"ids must differ, {path} has one as text and as a number: write it once")
    return vectors


def _checked(id: str, value: object, path: Path, compressor: MadeBy) -> Tensor:
    where = f"{path}: {id!r}"
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = f"{value.dtype} numbers" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise DataError(f"{where}: must be floating point vectors, got {kind}: keep the vectors alone")
    if value.ndim != 2 or not len(value) or len(value) % compressor.summary_length:
        raise MismatchError(
            f"{where}: must be (segments x {compressor.summary_length}, {compressor.hidden_size}) vectors, as "
            f"{compressor.name} makes them, got {tuple(value.shape)}: name the compressor that made the file"
        )
    if value.shape[1] != compressor.hidden_size:
        raise MismatchError(
            f"{where}: vectors must be {compressor.hidden_size} wide, as {compressor.name} makes them, got "
            f"{value.shape[1]}: name the compressor that made the file"
        )
    if not bool(torch.isfinite(value).all()) or bool((value == 0).all(dim=1).any()):
        raise DataError(f"{where}: vectors must be finite and not zero, some are not: make the file again")
    if dtype_name(value.dtype) not in STORAGE_DTYPES:
        raise DataError(f"{where}: must be float32, bfloat16 or float16, got {value.dtype}: convert the vectors")
    return value


def texts_by_key(path: Path, keys: Iterable[str], documents: Mapping[str, Document]) -> dict[str, Document]:
    """Return each key's document.

    Raises:
        DataError: there are documents, and one of the file's ids is none of theirs.
    """
    keys = list(keys)
    if missing := [key for key in keys if key not in documents]:
        some = ", ".join(map(repr, list(documents)[:3]))
        raise DataError(
            f"{len(missing)} of the {len(keys)} ids in {path} have no text, first {missing[0]!r}; there are {some}: "
            "give all the texts, or none"
        )
    return {key: documents[key] for key in keys}


def soft_prompts_of(
    vectors: Mapping[str, Tensor], compressor: MadeBy, documents: Mapping[str, Document]
) -> list[tuple[Document, SoftPrompt]]:
    """Give every id its text, where there are texts, and its provenance; checks all before anything is stored.

    Raises:
        DocumentError: an id that cannot be a document's, or more vectors than its text has tokens for.
    """
    tokenizer = load_tokenizer(compressor.folder) if documents else None
    made: dict[str, tuple[Document, SoftPrompt]] = {}
    for id, embeds in vectors.items():
        document = documents.get(id) or Document(id, "")
        if document.id in made:
            if not torch.equal(made[document.id][1].embeds, embeds):
                raise DocumentError(f"document {document.id!r} has two soft prompts, the second is {id!r}")
            continue
        if not document.id.strip() or not document.id.isprintable():
            raise DocumentError(f"an id must have printable characters, got {document.id!r}: rename it in the file")
        num_most = len(embeds) // compressor.summary_length * compressor.segment_len
        num_tokens = num_most
        if tokenizer is not None:
            num_tokens = len(text_ids(tokenizer, document.text))
            slack = _SLACK_TOKENS * (1 + len(document.text) // _CUT_CHARACTERS)
            if num_tokens + slack <= num_most - compressor.segment_len:
                raise DocumentError(
                    f"document {id!r}: vectors must stand for at most {num_tokens} tokens, got {len(embeds)}, which "
                    f"stand for more than {num_most - compressor.segment_len}: they are of another text, or of "
                    "another segment length"
                )
        provenance = Provenance(
            document_id=document.id,
            text_digest=document.digest,
            num_document_tokens=max(num_tokens, 1),
            compressor=compressor.name,
            compressor_digest=compressor.digest,
            base_model=compressor.base_model,
            hidden_size=compressor.hidden_size,
            segment_len=compressor.segment_len,
            summary_length=compressor.summary_length,
            dtype=dtype_name(embeds.dtype),
        )
        made[document.id] = (document, SoftPrompt(embeds.clone(), provenance))
    return list(made.values())


def import_embeddings(corpus: Corpus, made: Iterable[tuple[Document, SoftPrompt]]) -> int:
    """Put the soft prompts into the corpus, what is there unchanged left alone; returns how many were new.

    A killed import is gone on with by the same call.

    Raises:
        MismatchError: the corpus holds soft prompts of another compressor.
    """
    num_new = 0
    stored = set(corpus.document_ids())
    for document, soft_prompt in made:
        if document.id in stored and corpus.soft_prompt(document.id).to_bytes() == soft_prompt.to_bytes():
            continue
        corpus.add(document, soft_prompt, split_passages(document.text))
        num_new += 1
    return num_new
