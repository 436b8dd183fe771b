"""Embedders that the tests build on the spot: a model2vec folder of synonyms, and a small random transformer."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from tests.tiny import tiny_model, tiny_tokenizer

SYNONYMS = (
    ("ship", "vessel", "brig", "schooner"),
    ("bread", "loaf", "dough", "bakers", "oven"),
    ("whale", "cetacean"),
    ("lake", "water", "shore"),
)


def save_synonym_embedder(folder: Path, *, scale: float = 1.0) -> Path:
    """Write a model2vec folder in which words of one group are one direction, and others none."""
    words = ["[UNK]", "[PAD]", *(word for group in SYNONYMS for word in group)]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    vectors = np.zeros((len(words), len(SYNONYMS)), np.float32)
    for direction, group in enumerate(SYNONYMS):
        for word in group:
            vectors[words.index(word), direction] = scale
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"embeddings": vectors}, folder / "model.safetensors")
    config = {"model_type": "model2vec", "architectures": ["StaticModel"], "normalize": True, "seq_length": 1000}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def save_transformer_embedder(folder: Path) -> Path:
    """Write a sentence-transformers folder: a random model whose states are averaged."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    base = folder.with_name(folder.name + "-base")
    tiny_model().save_pretrained(base)
    tiny_tokenizer().save_pretrained(base)
    transformer = Transformer(str(base))
    pooling = Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(folder))
    return folder
