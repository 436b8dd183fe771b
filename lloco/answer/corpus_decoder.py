"""The decoder that reads a corpus, held to the digests that the corpus and its adapter remember."""

from pathlib import Path

import torch

from lloco.adapters.origin import read_origin
from lloco.compressors.compressor import Compressor
from lloco.compressors.delta import checkpoint_digest, checkpoint_width
from lloco.compressors.load import compressor_folder, load_named_decoder
from lloco.errors import CheckpointError, LlocoError, MismatchError
from lloco.models.checkpoint import moved_since
from lloco.models.decoder import Decoder, resolve_device
from lloco.store.corpus import Corpus
from lloco.store.rows import CorpusSummary


def check_decoder(decoder: Decoder, compressor: Compressor, adapter: Path | None = None) -> None:
    """Raise `MismatchError` unless the decoder is the compressor's own, or the one that the adapter was trained on."""
    is_as_wide = decoder.hidden_size == compressor.hidden_size
    if is_as_wide and decoder.digest in (compressor.digest, decoder_digest_of(adapter)):
        return
    raise MismatchError(
        f"{compressor.name} makes soft prompts for its own weights ({compressor.hidden_size} wide, digest "
        f"{compressor.digest[:12]}), {decoder.name} ({decoder.hidden_size} wide, digest {decoder.digest[:12]}) cannot "
        "read them: use a compressor that was made for this model, or an adapter that `lloco finetune --model` "
        "trained on it"
    )


def decoder_digest_of(adapter: Path | None) -> str | None:
    """Digest of the decoder that an adapter was trained on; None without an adapter, or where its folder has none."""
    origin = None if adapter is None else read_origin(adapter)
    return None if origin is None else origin.base_model_digest


def adapter_of(corpus: Corpus, decoder: Decoder, *, reads_text: bool) -> Path | None:
    """Return the adapter that reads the corpus: its own, but for text only if it was trained on this decoder."""
    adapter = corpus.adapter_folder()
    return None if reads_text and decoder_digest_of(adapter) != decoder.digest else adapter


def load_corpus_decoder(
    corpus: Corpus,
    model: str | Path | None = None,
    *,
    adapter: Path | None = None,
    compressor: str | Path | None = None,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    max_positions: int | None = None,
    is_shell: bool = False,
) -> Decoder:
    """Load the named decoder, else the one that the adapter was trained on, else the corpus's compressor's.

    Whether a named decoder may read the soft prompts depends on the adapter that reads, see
    `lloco.answer.ask.ask`; to train an adapter any of the same width may.

    Args:
        corpus: its documents are to be read.
        model: folder or hub id of the decoder.
        adapter: the adapter that is to read; the corpus's own when not given.
        compressor: where the corpus's compressor is now; where it was when the corpus was made when not given.
        device: as `load_decoder` takes it.
        dtype: as `load_decoder` takes it.
        max_positions: as `load_decoder` takes it.
        is_shell: load no layers: another process runs the model.

    Raises:
        LlocoError: the corpus has no document yet.
        MismatchError: another width than that of the corpus's soft prompts, another compressor than the corpus's, or
            weights that have changed.
    """
    summary = corpus.summary()
    if not summary.num_documents or summary.compressor is None:
        raise LlocoError(
            f"corpus {corpus.name!r} has no documents: fill it with `lloco compress PATH... --corpus {corpus.name}`"
        )
    if compressor is not None:
        _check_is_compressor_of(summary, compressor)
    resolve_device(device)
    name, digest = _own_decoder(corpus, summary, adapter, compressor) if model is None else (model, None)
    try:
        decoder = load_named_decoder(
            name,
            device=device,
            dtype=dtype,
            max_positions=max_positions,
            is_shell=is_shell,
        )
    except CheckpointError as error:
        if model is not None:
            raise
        made = f"corpus {corpus.name!r}" if digest == summary.compressor_digest else "the adapter that is to read it"
        raise moved_since(made, error, "--model") from error
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


def _own_decoder(
    corpus: Corpus, summary: CorpusSummary, adapter: Path | None, compressor: str | Path | None
) -> tuple[str | Path, str | None]:
    """Return name and digest of the model that the adapter was made for, else of the corpus's compressor.

    Raises:
        MismatchError: the adapter was made for a model of another width.
    """
    adapter = adapter or corpus.adapter_folder()
    origin = None if adapter is None else read_origin(adapter)
    if origin is not None and origin.hidden_size not in (None, summary.hidden_size):
        raise MismatchError(
            f"adapter {adapter} was made for {origin.base_model} ({origin.hidden_size} wide), corpus {corpus.name!r} "
            f"holds soft prompts of {summary.compressor} ({summary.hidden_size} wide): use an adapter of that model, "
            f"or make one with `lloco finetune --corpus {corpus.name}`"
        )
    if origin is not None and origin.base_model_digest != summary.compressor_digest:
        return origin.base_model, origin.base_model_digest
    return compressor or str(summary.compressor), summary.compressor_digest


def _check_is_compressor_of(summary: CorpusSummary, compressor: str | Path) -> None:
    folder = compressor_folder(compressor)
    digest = checkpoint_digest(folder)
    if digest != summary.compressor_digest:
        raise MismatchError(
            f"corpus {summary.name!r} holds soft prompts of {summary.compressor} ({summary.hidden_size} wide, digest "
            f"{str(summary.compressor_digest)[:12]}), {compressor} ({checkpoint_width(folder)} wide, digest "
            f"{digest[:12]}) was named as its compressor: name {summary.compressor}, or compress the documents again"
        )
