"""A tiny random compressor on the disk, and small documents, for tests of what is built on them."""

from pathlib import Path

import torch

from lloco.compressors.autocompressor import AutoCompressor
from lloco.documents.document import Document
from lloco.prompts.provenance import Provenance
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.retrieval.passages import split_passages
from lloco.store.corpus import Corpus
from tests.tiny import CHAT_TEMPLATE, tiny_decoder, tiny_llama, tiny_tokenizer

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


def save_chat_model(folder: Path, *, seed: int = 7) -> Path:
    """Write a language model with a chat template that is no compressor, and wider than those of tests."""
    model = tiny_llama(seed=seed, hidden_size=64, head_dim=16)
    model.save_pretrained(folder)
    tiny_tokenizer(chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    return folder


def lease_and_voyage() -> list[Document]:
    return [Document("lease", LEASE, "Lease", "lease.txt"), Document("voyage", VOYAGE, "Voyage", "voyage.txt")]


def add_document(corpus: Corpus, id: str, text: str) -> None:
    """Put a document with a made-up soft prompt and passages of 8 words into the store."""
    document = Document(id, text)
    provenance = Provenance(id, document.digest, 30, "tiny", "c" * 64, "base", 4, 30, 1, "float32")
    corpus.add(document, SoftPrompt(torch.ones(1, 4), provenance), split_passages(text, 8))
