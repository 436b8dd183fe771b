"""The corpora that `lloco ask` and `lloco chat` ask, what answers for each, and how an answer is told."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from lloco.answer.mode import BUDGET_MODES, MODES, TEXT_MODES
from lloco.cli import options
from lloco.cli.eval_session import warn_of_other_model
from lloco.cli.output import Output, printable
from lloco.cli.retrieval_flags import Retrieval
from lloco.cli.templates import adapter_template, named_template
from lloco.errors import LlocoError
from lloco.models.named import english_hint

if TYPE_CHECKING:
    from pathlib import Path

    from lloco.answer.answer import Answer
    from lloco.answer.mode import Mode
    from lloco.answer.prepare import Reader
    from lloco.answer.question import Question, Unit
    from lloco.engine.engine import Engine
    from lloco.models.decoder import Decoder
    from lloco.retrieval.routing import Route
    from lloco.store.corpus import Corpus
    from lloco.store.store import Store

UNITS: "tuple[Unit, ...]" = ("document", "passage")
SNIPPET_LEN = 160


Corpora = Annotated[
    list[str] | None,
    typer.Option(
        "--corpus", metavar="NAME", help="Corpus to ask; repeat it to choose from several [default: from all]."
    ),
]


@dataclass(frozen=True, slots=True)
class AskFlags:
    """The flags that say what reads and how, the same for one question and for many."""

    document: Annotated[
        str | None, typer.Option("--document", metavar="ID", help="Read this document, whatever the question says.")
    ] = None
    top_k: Annotated[
        int,
        typer.Option("--top-k", parser=options.at_least(1), metavar="N", help="Documents, or passages, to read."),
    ] = 1
    unit: Annotated[str, options.choice("--unit", UNITS, "Read whole documents or only the best passages.")] = (
        "document"
    )
    mode: Annotated[
        str,
        options.choice(
            "--mode", MODES, "What is read: soft prompts, these and the best passages, the text, or its best passages."
        ),
    ] = "compressed"
    budget: Annotated[
        int | None,
        typer.Option("--budget", parser=options.at_least(1), metavar="N", help="Positions that --mode hybrid and "
                     "retrieval may read [default: as many as the soft prompts have]."),
    ] = None  # fmt: skip
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
    max_positions: options.MaxPositions = None

    @property
    def reads_text(self) -> bool:
        """Whether text is read in place of soft prompts, which any decoder can do."""
        return self.mode in TEXT_MODES


@dataclass(frozen=True, slots=True)
class RoutedAnswer:
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


class Library:
    """The corpora that may be asked; what answers is loaded when a corpus is first asked."""

    def __init__(
        self, store: "Store", names: Sequence[str] | None, flags: AskFlags, retrieval: Retrieval, output: Output
    ) -> None:
        if flags.budget is not None and flags.mode not in BUDGET_MODES:
            message = f"it is for --mode {' and '.join(BUDGET_MODES)}, got --mode {flags.mode}"
            raise typer.BadParameter(message, param_hint="'--budget'")
        if flags.template is not None:
            named_template(flags.template)
        self._store = store
        self._flags = flags
        self._output = output
        # What is not there is said before anything slow is imported.
        self.corpora = self._named(names)
        from lloco.retrieval.open_retrievers import OpenRetrievers

        # A document that is named is searched by words without the index of all.
        self._is_found = flags.document is None or retrieval.embedder is not None
        self._retrievers = OpenRetrievers(retrieval.opener(flags.device))
        self._readers: dict[str, Reader] = {}
        self._engines: dict[tuple[str | None, str | None], Engine] = {}
        self._load_only(self.corpora)

    def choose(self, names: Sequence[str] | None) -> None:
        """Ask these corpora from now on; all of the store where none is named.

        Raises:
            StoreError: there is no such corpus.
        """
        corpora = self._named(names)
        self._load_only(corpora)
        self.corpora = corpora

    def _load_only(self, corpora: "Sequence[Corpus]") -> None:
        """Load what answers for a corpus that is the only one; where there are several, a question says which."""
        if len(corpora) == 1:
            self._reader(corpora[0])

    def _named(self, names: Sequence[str] | None) -> "list[Corpus]":
        """Return the corpora of these names, all of the store where none is given, and see that the document is there.

        Raises:
            StoreError: there is no such corpus, or no such document in it.
        """
        named = dict.fromkeys(names or self._store.corpus_names())
        corpora = [self._store.corpus(name, create=False) for name in named]
        if self._flags.document is not None:
            if len(corpora) != 1:
                raise typer.BadParameter("--document is in one corpus: choose that corpus alone")
            corpora[0].document(self._flags.document)
        return corpora

    def ask(
        self,
        question: str,
        *,
        choices: Sequence[str] = (),
        turns: Sequence[tuple[str, str]] = (),
        on_text: Callable[[str], None] | None = None,
    ) -> RoutedAnswer:
        """Ask the corpus that the question is about.

        Args:
            question: as it was typed.
            choices: answers to choose from.
            turns: what was asked and answered before.
            on_text: told of the answer's text as it grows.
        """
        from lloco.answer.ask import answer_question
        from lloco.engine.streaming import StreamingEngine

        asked = self._question(question, choices, turns)
        corpus, route = self._corpus(asked)
        reader = replace(self._reader(corpus), retriever=self._retrievers.of(corpus) if self._is_found else None)
        is_streamed = isinstance(reader.engine, StreamingEngine)
        answer = answer_question(corpus, asked, reader, on_text if is_streamed else None)
        if on_text is not None and not is_streamed:
            on_text(answer.text)
        return RoutedAnswer(question, answer, corpus.name, route)

    def _question(self, text: str, choices: Sequence[str], turns: Sequence[tuple[str, str]]) -> "Question":
        """Return the question as these flags have it asked."""
        from lloco.answer.question import Question
        from lloco.documents.encoding import is_encodable
        from lloco.engine.engine import SamplingParams
        from lloco.prompts.prompt import History

        if not is_encodable(text):
            raise LlocoError(f"the question {text[:60]!r} is not valid Unicode: type or save it as UTF-8")
        flags = self._flags
        return Question(
            text,
            flags.document,
            flags.top_k,
            cast("Unit", flags.unit),
            tuple(choices),
            History(turns=tuple(turns)),
            cast("Mode", flags.mode),
            SamplingParams(max_tokens=flags.max_tokens),
            flags.max_virtual_tokens,
            flags.budget,
        )

    def _corpus(self, question: "Question") -> "tuple[Corpus, Route | None]":
        """Return the only corpus that may be asked, or the one that the question is about and why."""
        from lloco.retrieval.routing import route_by

        if len(self.corpora) == 1:
            return self.corpora[0], None
        indexes = {corpus.name: self._retrievers.of(corpus) for corpus in self.corpora}
        route = route_by(indexes, question.text, strict=self._flags.strict, earlier=question.earlier)
        return next(corpus for corpus in self.corpora if corpus.name == route.corpus), route

    def _reader(self, corpus: "Corpus") -> "Reader":
        from lloco.answer.prepare import Reader

        if corpus.name not in self._readers:
            engine = self._engine(corpus)
            adapter = self._adapter(corpus, engine.decoder)
            template = adapter_template(self._flags.template, adapter, self._output)
            if adapter is not None:
                warn_of_other_model(self._output, adapter, engine.decoder)
            self._readers[corpus.name] = Reader(engine, adapter, template)
        return self._readers[corpus.name]

    def _adapter(self, corpus: "Corpus", decoder: "Decoder") -> "Path | None":
        """Return the adapter that reads the corpus; says so where its own is left out."""
        from lloco.answer.corpus_decoder import adapter_of

        if self._flags.adapter is not None:
            return self._flags.adapter
        adapter = adapter_of(corpus, decoder, reads_text=self._flags.reads_text)
        if adapter is None and corpus.adapter_folder() is not None:
            self._output.say(
                f"corpus {corpus.name}'s adapter was not trained on {decoder.name}: text is read without it"
            )
        return adapter

    def _engine(self, corpus: "Corpus") -> "Engine":
        """Return what reads the corpus; corpora of one compressor that the same decoder reads share it."""
        from lloco.answer.corpus_decoder import decoder_digest_of, load_corpus_decoder
        from lloco.compressors.load import load_named_decoder
        from lloco.engine.streaming import embedded_engine

        flags = self._flags
        is_any_decoder = flags.reads_text and flags.model is not None
        adapter = flags.adapter or corpus.adapter_folder()
        key = (None, None) if is_any_decoder else (corpus.compressor_digest, decoder_digest_of(adapter))
        if key not in self._engines:
            if is_any_decoder:
                decoder = load_named_decoder(
                    flags.model, device=flags.device, dtype=flags.dtype, max_positions=flags.max_positions
                )
            else:
                decoder = load_corpus_decoder(
                    corpus,
                    flags.model,
                    adapter=flags.adapter,
                    compressor=flags.compressor,
                    device=flags.device,
                    dtype=flags.dtype,
                    max_positions=flags.max_positions,
                )
            if (hint := english_hint(decoder.name)) is not None:
                self._output.say(hint)
            self._engines[key] = embedded_engine(decoder, 1)
        return self._engines[key]


def said(routed: RoutedAnswer) -> str:
    """Return what ends an answer whose pieces were printed."""
    return "" if routed.answer.text else "(no answer)"


def _sources(answer: "Answer") -> list[str]:
    lines = []
    for document in answer.documents:
        name = printable(
            document.document_id
            if document.title in ("", document.document_id)
            else f"{document.document_id} ({document.title})"
        )
        if document.start is None:
            lines.append(f"from {name}")
            continue
        snippet = " ".join(printable(document.text).split())
        snippet = snippet if len(snippet) <= SNIPPET_LEN else f"{snippet[:SNIPPET_LEN].rsplit(' ', 1)[0]} ..."
        page = "" if document.page is None else f", page {document.page}"
        lines.append(f"from {name}{page}, characters {document.start}-{document.end}: {snippet}")
    return lines


def _read_line(answer: "Answer") -> str:
    part = "" if answer.is_whole else ", in part"
    adapter = "without an adapter" if answer.adapter is None else f"with adapter {answer.adapter[:12]}"
    if answer.mode == "compressed":
        ratio = answer.num_document_tokens / answer.num_virtual_tokens
        return (
            f"read {answer.num_virtual_tokens:,} virtual tokens instead of {answer.num_document_tokens:,} document "
            f"tokens ({ratio:.1f} times fewer{part}), {adapter}"
        )
    if answer.num_virtual_tokens:
        return (
            f"read {answer.num_virtual_tokens:,} virtual tokens and {answer.num_context_tokens:,} tokens of text "
            f"instead of {answer.num_document_tokens:,} document tokens{part}, {adapter}"
        )
    of = "the whole text" if answer.is_whole else f"passages of {answer.num_document_tokens:,} document tokens"
    return f"read {answer.num_context_tokens:,} tokens of text ({of}), {adapter}"
