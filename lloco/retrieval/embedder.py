"""A text embedder: a vector for a passage, a vector for a question, close together where the one answers the other.

`minilm` (all-MiniLM-L6-v2 in a wheel of its own), or any sentence-transformers or model2vec folder or hub id, through
sentence-transformers (an extra to install). Knows nothing of stores and indexes.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from lloco.errors import CheckpointError, LlocoError
from lloco.models.checkpoint import checkpoint_folder
from lloco.models.decoder import resolve_device
from lloco.models.named import MINILM
from lloco.models.unpacked import minilm_folder

Vectors = NDArray[np.float32]
"""(number of texts, width), each row of length 1."""
_CHUNK_BYTES = 1 << 20


class Embedder:
    """Embeds texts; made by `load_embedder`."""

    def __init__(self, model: Any, name: str, digest: str) -> None:
        self._model = model
        self.name = name
        self.digest = digest
        self._lock = threading.Lock()

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors (number of texts, width) of length 1."""
        return self._unit(self._model.encode_document, texts)

    def embed_question(self, question: str) -> Vectors:
        """Vector (width,) of length 1, with the instruction that the model wants before questions, if any."""
        vector: Vectors = self._unit(self._model.encode_query, [question])[0]
        return vector

    def _unit(self, encode: Callable[..., Any], texts: Sequence[str]) -> Vectors:
        spelled = [text.encode(errors="replace").decode() for text in texts]  # tokenizers bear no lone surrogates
        with self._lock:
            vectors: Vectors = np.asarray(encode(spelled, show_progress_bar=False, convert_to_numpy=True), np.float32)
        if not np.isfinite(vectors).all():
            raise LlocoError(f"{self.name} returned non-finite vectors: use another embedder")
        # A text without any token that the model knows has no direction: it stays 0 and fits nothing.
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors


def load_embedder(path_or_hub_id: str | Path, device: str | None = None) -> Embedder:
    """Load `minilm`, or a sentence-transformers or model2vec model; no code of the folder is run.

    Raises:
        CheckpointError: no such folder or hub id, it holds no such model, or `minilm` is not installed.
        LlocoError: sentence-transformers is not installed.
    """
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    except ImportError as error:
        raise LlocoError(
            f"an embedder needs sentence-transformers, which is not installed ({error}): pip install 'lloco[dense]'"
        ) from error
    folder = minilm_folder() if str(path_or_hub_id) == MINILM else checkpoint_folder(path_or_hub_id)
    is_static = not (folder / "modules.json").is_file() and _is_model2vec(folder)
    try:
        modules = [cast(torch.nn.Module, StaticEmbedding.from_model2vec(str(folder)))] if is_static else None
        model = SentenceTransformer(
            None if is_static else str(folder),
            modules=modules,
            device=str(resolve_device(device)),
            local_files_only=True,
        )
    except Exception as error:  # the libraries raise whatever their files' parsers raise
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path_or_hub_id} cannot be read as a sentence-transformers or model2vec model ({reason}): name another "
            "with --embedder"
        ) from error
    return Embedder(model.eval(), str(path_or_hub_id), _folder_digest(folder))


def _is_model2vec(folder: Path) -> bool:
    try:
        return '"model2vec"' in (folder / "config.json").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def _folder_digest(folder: Path) -> str:
    """SHA-256 of the names and contents of a model's files; what describes it to people does not count."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in _MODEL_FILES):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


_MODEL_FILES = frozenset((".json", ".safetensors", ".bin", ".model", ".txt"))
