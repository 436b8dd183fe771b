"""`lloco ask` and `lloco chat`: questions to a corpus, answered from its soft prompts."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.cli import options
from lloco.cli.output import Output, printable
from lloco.cli.reading import warn_of_other_model
from lloco.cli.retrieval import Retrieval
from lloco.cli.verb import verb
from lloco.cli.wording import adapter_template
from lloco.errors import LlocoError

if TYPE_CHECKING:
    from lloco.answer import Answer
    from lloco.retriever import Retriever
    from lloco.routing import Route
    from lloco.store.corpus import Corpus
    from lloco.store.store import Store

SNIPPET_LEN = 160
BUNDLED_HINT = (
    "the bundled model answers: it is tiny and reads only records like those it comes with; for your own documents "
    "name a real one: lloco compress PATH... --corpus NAME --compressor princeton-nlp/AutoCompressor-Llama-2-7b-6k"
)


Corpora = Annotated[
    list[str] | None,
    typer.Option(
        "--corpus", metavar="NAME", help="Corpus to ask; repeat it to choose from several [default: from all]."
    ),
]


@dataclass(frozen=True, slots=True)
class _Flags:
    """The flags that say what reads and how, the same for one question and for many."""

    document: Annotated[
        str | None, typer.Option("--document", metavar="ID", help="Read this document, whatever the question says.")
    ] = None
    top_k: Annotated[
        int, typer.Option("--top-k", parser=options.at_least(1), metavar="N", help="Documents to read for a question.")
    ] = 1
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", parser=options.at_least(1), metavar="N", help="Tokens an answer may have.")
    ] = 64
    max_virtual_tokens: Annotated[
        int | None,
        typer.Option("--max-virtual-tokens", parser=options.at_least(1), metavar="N", help="Vectors that may be read "
                     "[default: as many as fit the decoder]."),
    ] = None  # fmt: skip
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a question that passages of several corpora fit.")
    ] = False
    model: options.Model = None
    compressor: options.CompressorName = None
    adapter: options.Adapter = None
    template: options.TemplateName = None
    store: options.StorePath = None
    device: options.Device = None
    dtype: options.DtypeName = None


@verb(kept="nothing was changed")
def ask(
    *,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In words that the documents use.")],
    corpus: Corpora = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="TEXT", help="An answer to choose from; repeat it.")
    ] = None,
    flags: _Flags,
    retrieval: Retrieval,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Answer a question from a corpus, with its source.

    Finds the corpus and the document, reads its soft prompt with the corpus's adapter, answers and cites.

    \b
    Examples:
      lloco ask --corpus contracts "When does the lease of Mill Lane end?"
      lloco ask --corpus contracts --document lease.pdf "Who signs?" --json
      lloco ask "Which corpus has the answer to this?"
      lloco ask --corpus contracts --embedder minishlab/potion-base-8M "Who gets the house?"
    """
    if not question.strip():
        raise typer.BadParameter("the question is empty: type one in quotes")
    output = Output(is_json, quiet)
    from lloco.store.store import Store

    with Store(flags.store) as opened:
        routed = _Library(opened, corpus, flags, retrieval, output).ask(question, tuple(option or ()))
    output.result(routed.values(), "\n".join([_answer(routed.answer), "", *routed.sources()]))
    if routed.answer.is_cut:
        output.say(f"the answer was cut at {flags.max_tokens} tokens: --max-tokens allows more")


@verb(kept="nothing was changed")
def chat(
    *,
    corpus: Corpora = None,
    flags: _Flags,
    retrieval: Retrieval,
    is_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per question, each on a line, and nothing else.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Ask one question after another.

    Each is answered by itself. /sources shows what was read for the last answer, /quit ends.

    \b
    Examples:
      lloco chat --corpus contracts
      lloco chat --corpus contracts --document lease.pdf
      lloco chat --corpus contracts --json < questions.txt
    """
    output = Output(is_json, quiet)
    from lloco.store.store import Store

    with Store(flags.store) as opened:
        library = _Library(opened, corpus, flags, retrieval, output)
        for one in library.corpora:
            output.say(f"corpus {one.name}: {one.summary().num_documents} documents")
        output.say("/sources shows what was read, /quit ends")
        last: _Routed | None = None
        tell = output.say if is_json else print
        while (line := _next_line(is_json)) is not None:
            if line == "/sources":
                tell("\n".join(last.sources()) if last else "nothing has been read yet")
            elif line.startswith("/"):
                tell(f"there is no {line.split()[0]}: /sources shows what was read for the last answer, /quit ends")
            elif line:
                try:
                    last = library.ask(line, ())
                except LlocoError as error:
                    output.result({"question": line, "error": str(error)}, f"error: {error}")
                else:
                    output.result(last.values(), _answer(last.answer))
                    output.say("\n".join(last.read_lines()))


@dataclass(frozen=True, slots=True)
class _Routed:
    """An answer, the corpus that it is from, and why that one was asked."""

    question: str
    answer: "Answer"
    corpus: str
    route: "Route | None"
    """None where there was nothing to choose."""

    def values(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        fields = {key: value for key, value in asdict(self.answer).items() if key != "text"}
        votes = None if self.route is None else dict(self.route.votes)
        return {"question": self.question, "answer": self.answer.text, "corpus": self.corpus, "votes": votes, **fields}

    def read_lines(self) -> list[str]:
        """Say where it was looked, and what was read."""
        chosen = [] if self.route is None else [f"corpus {self.corpus}, by the passages found: {self.route.reason()}"]
        return [*chosen, _read_line(self.answer)]

    def sources(self) -> list[str]:
        """Say what it was read from."""
        return [*_sources(self.answer), *self.read_lines()]


class _Library:
    """The corpora that may be asked; what answers is loaded when a corpus is first asked."""

    def __init__(
        self, store: "Store", names: list[str] | None, flags: _Flags, retrieval: Retrieval, output: Output
    ) -> None:
        named = dict.fromkeys(names or [one.name for one in store.corpora()])
        self.corpora = [store.corpus(name, create=False) for name in named]
        if flags.document is not None and len(self.corpora) != 1:
            raise typer.BadParameter("it is in one corpus: name that with --corpus", param_hint="'--document'")
        self._flags = flags
        self._output = output
        self._open_retriever = retrieval.opener(flags.device)
        # A document that is named is searched by words without the index of all.
        self._is_found = flags.document is None or retrieval.embedder is not None
        self._retrievers: dict[str, Retriever] = {}
        self._askers: dict[str, Callable[[str, tuple[str, ...]], Answer]] = {}
        if len(self.corpora) == 1:
            self._asker(self.corpora[0])

    def ask(self, question: str, choices: tuple[str, ...]) -> _Routed:
        """Ask the corpus that the question is about."""
        from lloco.routing import route_by

        if len(self.corpora) == 1:
            corpus, chosen = self.corpora[0], None
        else:
            indexes = {one.name: self._retriever(one) for one in self.corpora}
            chosen = route_by(indexes, question, strict=self._flags.strict)
            corpus = next(one for one in self.corpora if one.name == chosen.corpus)
        return _Routed(question, self._asker(corpus)(question, choices), corpus.name, chosen)

    def _asker(self, corpus: "Corpus") -> "Callable[[str, tuple[str, ...]], Answer]":
        if corpus.name not in self._askers:
            retriever = self._retriever(corpus) if self._is_found else None
            self._askers[corpus.name] = _asker(corpus, retriever, self._flags, self._output)
        return self._askers[corpus.name]

    def _retriever(self, corpus: "Corpus") -> "Retriever":
        if corpus.name not in self._retrievers:
            self._retrievers[corpus.name] = self._open_retriever(corpus)
        return self._retrievers[corpus.name]


def _asker(
    corpus: "Corpus", retriever: "Retriever | None", flags: _Flags, output: Output
) -> "Callable[[str, tuple[str, ...]], Answer]":
    """Load what answers; returns a function of a question and the answers to choose from."""
    from lloco.answer import ask as ask_corpus
    from lloco.compressors.load import BUNDLED
    from lloco.corpus_models import load_corpus_decoder
    from lloco.engine.transformers_engine import TransformersEngine

    if flags.document is not None:
        corpus.document(flags.document)
    template = adapter_template(flags.template, flags.adapter or corpus.adapter_folder(), output)
    decoder = load_corpus_decoder(
        corpus,
        flags.model,
        adapter=flags.adapter,
        compressor=flags.compressor,
        device=flags.device,
        dtype=flags.dtype,
    )
    adapter = flags.adapter or corpus.adapter_folder()
    if adapter is not None:
        warn_of_other_model(output, adapter, decoder)
    if decoder.name == BUNDLED:
        output.say(BUNDLED_HINT)
    engine = TransformersEngine(decoder, batch_size=1)
    return lambda question, choices: ask_corpus(
        corpus,
        question,
        document_id=flags.document,
        top_k=flags.top_k,
        options=choices,
        engine=engine,
        retriever=retriever,
        adapter=flags.adapter,
        template=template,
        max_tokens=flags.max_tokens,
        max_virtual_tokens=flags.max_virtual_tokens,
    )


def _next_line(is_json: bool) -> str | None:
    """Return what the user typed, or None at the end; where answers are for machines nothing is prompted for."""
    try:
        line = input("" if is_json else "> ").strip()
    except EOFError:
        if not is_json:
            print()
        return None
    return None if line in ("/quit", "/exit", "/q") else line


def _answer(answer: "Answer") -> str:
    return printable(answer.text) or "(no answer)"


def _sources(answer: "Answer") -> list[str]:
    lines = []
    for one in answer.documents:
        name = one.document_id if one.title in ("", one.document_id) else f"{one.document_id} ({printable(one.title)})"
        if one.start is None:
            lines.append(f"from {name}")
            continue
        snippet = " ".join(printable(one.text).split())
        snippet = snippet if len(snippet) <= SNIPPET_LEN else f"{snippet[:SNIPPET_LEN].rsplit(' ', 1)[0]} ..."
        lines.append(f"from {name}, characters {one.start}-{one.end}: {snippet}")
    return lines


def _read_line(answer: "Answer") -> str:
    ratio = answer.num_document_tokens / answer.num_virtual_tokens
    part = "" if answer.is_whole else ", the segments of the passages found"
    adapter = "without an adapter" if answer.adapter is None else f"with adapter {answer.adapter[:12]}"
    return (
        f"read {answer.num_virtual_tokens:,} virtual tokens instead of {answer.num_document_tokens:,} document tokens "
        f"({ratio:.1f} times fewer{part}), {adapter}"
    )
