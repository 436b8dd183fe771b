"""Long documents compressed once into soft prompts; questions answered from the vectors.

The public names are loaded when they are first used, so that `import lloco` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lloco.answer.answer import Answer
    from lloco.answer.ask import ask
    from lloco.cli.python_api import compress, evaluate, finetune, questions
    from lloco.compressors.load import load_compressor
    from lloco.documents.document import Document
    from lloco.models.decoder import load_decoder
    from lloco.prompts.soft_prompt import SoftPrompt
    from lloco.retrieval.embedder import load_embedder
    from lloco.retrieval.retriever import Retriever
    from lloco.retrieval.routing import route
    from lloco.store.store import Store

    __version__: str

__all__ = [
    "Answer",
    "Document",
    "Retriever",
    "SoftPrompt",
    "Store",
    "__version__",
    "ask",
    "compress",
    "evaluate",
    "finetune",
    "load_compressor",
    "load_decoder",
    "load_embedder",
    "questions",
    "route",
]

_HOMES = {
    "Answer": "lloco.answer.answer",
    "Document": "lloco.documents.document",
    "Retriever": "lloco.retrieval.retriever",
    "SoftPrompt": "lloco.prompts.soft_prompt",
    "Store": "lloco.store.store",
    "ask": "lloco.answer.ask",
    "compress": "lloco.cli.python_api",
    "evaluate": "lloco.cli.python_api",
    "finetune": "lloco.cli.python_api",
    "load_compressor": "lloco.compressors.load",
    "load_decoder": "lloco.models.decoder",
    "load_embedder": "lloco.retrieval.embedder",
    "questions": "lloco.cli.python_api",
    "route": "lloco.retrieval.routing",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module it lives in."""
    import importlib

    if name == "__version__":
        return importlib.import_module("lloco.version").__version__
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lloco' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
