"""The models that belong to a corpus: the compressor of its soft prompts and the decoder that reads them.

A corpus remembers its compressor by name and by the digest of its weights; whatever is loaded for it is held to both.
"""

import json
from pathlib import Path

from lloco.compressors.compressor import Compressor
from lloco.compressors.load import load_compressor, load_named_decoder
from lloco.errors import CheckpointError, LlocoError, MismatchError
from lloco.models.adapter import ORIGIN_FILE
from lloco.models.decoder import Decoder
from lloco.store.corpus import Corpus
from lloco.store.rows import CorpusSummary


def load_corpus_compressor(
    corpus: Corpus, name: str | Path | None = None, *, device: str | None = None, dtype: str | None = None
) -> Compressor:
    """Load the named compressor, else the corpus's own, else the bundled one.

    Raises:
        MismatchError: the corpus holds soft prompts of another compressor.
    """
    try:
        compressor = load_compressor(name or corpus.compressor_name, device=device, dtype=dtype)
    except CheckpointError as error:
        raise _moved(corpus, error, "--compressor") if name is None and corpus.compressor_name else error from error
    check_compressor(corpus, compressor)
    return compressor


def check_compressor(corpus: Corpus, compressor: Compressor) -> None:
    """Raise `MismatchError` where the corpus holds soft prompts of other weights than this compressor's."""
    summary = corpus.summary()
    if summary.num_documents and summary.compressor_digest != compressor.digest:
        raise MismatchError(
            f"corpus {corpus.name!r} holds soft prompts of {summary.compressor} ({summary.hidden_size} wide, digest "
            f"{str(summary.compressor_digest)[:12]}), {compressor.name} ({compressor.hidden_size} wide, digest "
            f"{compressor.digest[:12]}) was to be used: name {summary.compressor}, or use another corpus"
        )


def load_corpus_decoder(
    corpus: Corpus, model: str | Path | None = None, *, device: str | None = None, dtype: str | None = None
) -> Decoder:
    """Load the named decoder, else the one that the corpus's compressor is made of.

    Raises:
        LlocoError: the corpus has no document yet.
        MismatchError: its width is another than that of the corpus's soft prompts, or the weights have changed.
    """
    summary = corpus.summary()
    if not summary.num_documents or summary.compressor is None:
        raise LlocoError(
            f"a corpus with documents was wanted, {corpus.name!r} has none: fill it with "
            f"`lloco compress PATH... --corpus {corpus.name}`"
        )
    name, digest = _own_decoder(corpus, summary) if model is None else (model, None)
    try:
        decoder = load_named_decoder(name, device=device, dtype=dtype)
    except CheckpointError as error:
        raise _moved(corpus, error, "--model") if model is None else error from error
    if decoder.hidden_size != summary.hidden_size:
        raise MismatchError(
            f"corpus {corpus.name!r} holds soft prompts {summary.hidden_size} wide, made by {summary.compressor}; "
            f"{decoder.name} reads embeddings {decoder.hidden_size} wide: use the model that {summary.compressor} was "
            "made for, or compress the documents with a compressor of this model"
        )
    if digest not in (None, decoder.digest):
        raise MismatchError(
            f"corpus {corpus.name!r} was made with {name} of digest {str(digest)[:12]}, what is there now has "
            f"{decoder.digest[:12]}: put the old weights back, or compress the documents into another corpus"
        )
    return decoder


def _own_decoder(corpus: Corpus, summary: CorpusSummary) -> tuple[str, str | None]:
    """Return name and digest of the model that the corpus's adapter was made for, else of its compressor."""
    adapter = corpus.adapter_folder()
    if adapter is not None and (adapter / ORIGIN_FILE).is_file():
        origin = json.loads((adapter / ORIGIN_FILE).read_text(encoding="utf-8"))
        if isinstance(origin, dict) and "base_model" in origin and "base_model_digest" in origin:
            return str(origin["base_model"]), str(origin["base_model_digest"])
    return str(summary.compressor), summary.compressor_digest


def _moved(corpus: Corpus, error: CheckpointError, flag: str) -> CheckpointError:
    """Say that it is the corpus that remembers this place."""
    return CheckpointError(f"{error}; corpus {corpus.name!r} was made with it: if it has moved, name it with {flag}")
