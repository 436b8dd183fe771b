"""`lloco ask` and `lloco chat`: questions to a corpus, answered from its soft prompts."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.cli import options
from lloco.cli.output import Output, printable
from lloco.cli.verb import verb
from lloco.cli.wording import adapter_template
from lloco.errors import LlocoError

if TYPE_CHECKING:
    from lloco.answer import Answer
    from lloco.engine.transformers_engine import TransformersEngine
    from lloco.store.corpus import Corpus

DocumentId = Annotated[
    str | None, typer.Option("--document", metavar="ID", help="Read this document, whatever the question says.")
]
TopK = Annotated[int, typer.Option("--top-k", min=1, help="Documents to read for a question.")]
AnswerLen = Annotated[int, typer.Option("--max-tokens", min=1, help="Tokens an answer may have.")]
SNIPPET_LEN = 160


@verb(kept="nothing was changed")
def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In words that the documents use.")],
    corpus: options.CorpusName,
    document: DocumentId = None,
    top_k: TopK = 1,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="TEXT", help="An answer to choose from; repeat it.")
    ] = None,
    max_tokens: AnswerLen = 64,
    model: options.Model = None,
    compressor: options.CompressorName = None,
    adapter: options.Adapter = None,
    template: options.TemplateName = None,
    store: options.StorePath = None,
    device: options.Device = None,
    dtype: options.DtypeName = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Answer a question from a corpus, with its source.

    Finds the document, reads its soft prompt with the corpus's adapter, answers and cites.

    \b
    Examples:
      lloco ask --corpus contracts "When does the lease of Mill Lane end?"
      lloco ask --corpus contracts --document lease.pdf "Who signs?" --json
    """
    output = Output(is_json, quiet)
    from lloco.answer import ask as ask_corpus
    from lloco.store.store import Store

    if not question.strip():
        raise typer.BadParameter("the question is empty: type one in quotes")
    with Store(store) as opened:
        found = opened.corpus(corpus, create=False)
        if document is not None:
            found.document(document)
        wording = adapter_template(template, adapter or found.adapter_folder(), output)
        answer = ask_corpus(
            found,
            question,
            document_id=document,
            top_k=top_k,
            options=tuple(option or ()),
            engine=_engine(found, _Flags(model, compressor, adapter, device, dtype)),
            adapter=adapter,
            template=wording,
            max_tokens=max_tokens,
        )
    output.result(_values(question, answer), "\n".join([_answer(answer), "", *_sources(answer)]))
    if answer.is_cut:
        output.say(f"the answer was cut at {max_tokens} tokens: --max-tokens allows more")


@verb(kept="nothing was changed")
def chat(
    corpus: options.CorpusName,
    document: DocumentId = None,
    top_k: TopK = 1,
    max_tokens: AnswerLen = 64,
    model: options.Model = None,
    compressor: options.CompressorName = None,
    adapter: options.Adapter = None,
    template: options.TemplateName = None,
    store: options.StorePath = None,
    device: options.Device = None,
    dtype: options.DtypeName = None,
    quiet: options.Quiet = False,
) -> None:
    """Ask one question after another.

    Each is answered by itself. /sources shows what was read for the last answer, /quit ends.

    \b
    Example:
      lloco chat --corpus contracts
    """
    output = Output(is_quiet=quiet)
    from lloco.answer import ask as ask_corpus
    from lloco.retriever import Retriever
    from lloco.store.store import Store

    with Store(store) as opened:
        found = opened.corpus(corpus, create=False)
        wording = adapter_template(template, adapter or found.adapter_folder(), output)
        engine = _engine(found, _Flags(model, compressor, adapter, device, dtype))
        retriever = Retriever.of_corpus(found)
        output.say(f"corpus {found.name}: {found.summary().num_documents} documents; /sources, /quit")
        last: Answer | None = None
        while (line := _next_line()) is not None:
            if line == "/sources":
                print("\n".join(_sources(last)) if last else "nothing has been read yet")
            elif line.startswith("/"):
                print(f"there is no {line.split()[0]}: /sources shows what was read for the last answer, /quit ends")
            elif line:
                try:
                    last = ask_corpus(
                        found,
                        line,
                        document_id=document,
                        top_k=top_k,
                        engine=engine,
                        retriever=retriever,
                        adapter=adapter,
                        template=wording,
                        max_tokens=max_tokens,
                    )
                except LlocoError as error:
                    print(f"error: {error}")
                else:
                    print(_answer(last))
                    output.say(_read_line(last))


def _next_line() -> str | None:
    """Return what the user typed, or None at the end."""
    try:
        line = input("> ").strip()
    except EOFError:
        print()
        return None
    return None if line in ("/quit", "/exit", "/q") else line


@dataclass(frozen=True, slots=True)
class _Flags:
    """The flags that choose models."""

    model: str | None
    compressor: str | None
    adapter: Path | None
    device: str | None
    dtype: str | None


def _engine(corpus: "Corpus", flags: _Flags) -> "TransformersEngine":
    from lloco.corpus_models import load_corpus_decoder
    from lloco.engine.transformers_engine import TransformersEngine

    decoder = load_corpus_decoder(
        corpus,
        flags.model,
        adapter=flags.adapter,
        compressor=flags.compressor,
        device=flags.device,
        dtype=flags.dtype,
    )
    return TransformersEngine(decoder, batch_size=1)


def _values(question: str, answer: "Answer") -> dict[str, Any]:
    return {"question": question, "answer": answer.text, **{k: v for k, v in asdict(answer).items() if k != "text"}}


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
    return [*lines, _read_line(answer)]


def _read_line(answer: "Answer") -> str:
    ratio = answer.num_document_tokens / answer.num_virtual_tokens
    part = "" if answer.is_whole else ", the segments of the passages found"
    return (
        f"read {answer.num_virtual_tokens:,} virtual tokens instead of {answer.num_document_tokens:,} document tokens "
        f"({ratio:.1f} times fewer{part})"
    )
