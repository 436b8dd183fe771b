"""A tiny random compressor on the disk, and small documents, for tests of what is built on them."""

from pathlib import Path

import torch

from lloco.compressors.autocompressor import AutoCompressor
from lloco.documents import Document
from tests.tiny import tiny_decoder, tiny_llama

SUMMARY_LENGTH = 4
SEGMENT_LEN = 24
LEASE = (
    "The lease of the mill in Harrow Lane was signed by Agnes Webb on the third of May. "
    "It runs for nine years, and the rent is forty crowns a quarter."
)
VOYAGE = (
    "The brig Petrel left Dundee with a cargo of slate. Her master was Edmund Crane. "
    "She was lost off Stavanger in the gale of the ninth of November."
)


def save_compressor(folder: Path, *, seed: int = 0, **model: int) -> Path:
    """Write a compressor whose weights depend on the seed alone; `model` goes to the Llama config."""
    decoder = tiny_decoder(tiny_llama(seed=seed, **model))
    summaries = torch.randn(SUMMARY_LENGTH, decoder.hidden_size, generator=torch.Generator().manual_seed(seed))
    AutoCompressor(decoder, summaries, segment_len=SEGMENT_LEN).save(folder)
    return folder


def lease_and_voyage() -> list[Document]:
    return [Document("lease", LEASE, "Lease", "lease.txt"), Document("voyage", VOYAGE, "Voyage", "voyage.txt")]
