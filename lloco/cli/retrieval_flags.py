"""The flags that say how passages are searched for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from lloco.cli import options
from lloco.models.named import MINILM

if TYPE_CHECKING:
    from lloco.retrieval.retriever import Method, Retriever
    from lloco.store.corpus import Corpus

METHODS: "tuple[Method, ...]" = ("bm25", "dense", "hybrid")
EmbedderName = Annotated[
    str | None,
    typer.Option("--embedder", metavar="NAME|DIR|ID", help="Search by meaning too, with minilm or another "
                 "sentence-transformers or model2vec model: folder or hub id."),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How passages are searched for."""

    method: Annotated[
        str | None,
        options.choice(
            "--retrieval",
            METHODS,
            "By words, by meaning with minilm or --embedder, or both [default: hybrid with --embedder, else bm25].",
        ),
    ] = None
    embedder: EmbedderName = None

    def opener(self, device: str | None) -> "Callable[[Corpus], Retriever]":
        """Load the embedder that is named or needed; returns what opens the index of a corpus."""
        from functools import partial
        from typing import cast

        from lloco.retrieval.embedder import load_embedder
        from lloco.retrieval.retriever import Retriever

        method = self.method or ("bm25" if self.embedder is None else "hybrid")
        if method == "bm25" and self.embedder is not None:
            raise typer.BadParameter("--retrieval bm25: it searches by words alone", param_hint="'--embedder'")
        embedder = None if method == "bm25" else load_embedder(self.embedder or MINILM, device)
        return partial(Retriever.of_corpus, method=cast("Method", method), embedder=embedder)
