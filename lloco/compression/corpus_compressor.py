"""The compressor that belongs to a corpus, held to the name and the digest that the corpus remembers."""

from pathlib import Path

import torch

from lloco.compressors.compressor import Compressor
from lloco.compressors.delta import checkpoint_digest, checkpoint_width
from lloco.compressors.load import decoder_folder, load_compressor
from lloco.errors import CheckpointError, MismatchError
from lloco.models.checkpoint import moved_since
from lloco.models.decoder import resolve_device
from lloco.models.named import full_name
from lloco.store.corpus import Corpus


def load_corpus_compressor(
    corpus: Corpus,
    name: str | Path | None = None,
    *,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    max_positions: int | None = None,
) -> Compressor:
    """Load the named compressor, else the corpus's own, else the default one.

    Raises:
        MismatchError: the corpus holds soft prompts of another compressor.
    """
    resolve_device(device)
    try:
        compressor = load_compressor(
            name or corpus.compressor_name, device=device, dtype=dtype, max_positions=max_positions
        )
    except CheckpointError as error:
        if name is not None or not corpus.compressor_name:
            raise
        raise moved_since(f"corpus {corpus.name!r}", error, "--compressor") from error
    check_compressor(corpus, compressor)
    return compressor


def check_compressor(corpus: Corpus, compressor: Compressor) -> None:
    """Raise `MismatchError` where the corpus holds soft prompts of other weights than this compressor's."""
    if corpus.compressor_digest != compressor.digest and corpus.document_ids(limit=1):
        summary = corpus.summary()
        raise MismatchError(
            f"corpus {corpus.name!r} holds soft prompts of {summary.compressor} ({summary.hidden_size} wide, digest "
            f"{str(summary.compressor_digest)[:12]}), not of {compressor.name} ({compressor.hidden_size} wide, digest "
            f"{compressor.digest[:12]}): name {summary.compressor}, or use another corpus"
        )


def check_made_for(compressor: Compressor, model: str | Path) -> None:
    """Raise `MismatchError` where this compressor's soft prompts are not for the named model; loads no weights.

    An autocompressor is a decoder with summary tokens: what it makes is read by its own weights.
    """
    if full_name(str(model)) == compressor.name:
        return
    folder = decoder_folder(model)
    digest, width = checkpoint_digest(folder), checkpoint_width(folder)
    if digest != compressor.digest:
        raise MismatchError(
            f"{compressor.name} makes soft prompts for its own weights ({compressor.hidden_size} wide, digest "
            f"{compressor.digest[:12]}), not for {model} ({width} wide, digest {digest[:12]}): name with --compressor "
            "the one that was made for this model, or leave --model out"
        )
