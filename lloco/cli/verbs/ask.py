"""`lloco ask`: one question, answered from soft prompts or from text."""

from typing import Annotated

import typer

from lloco.cli import options
from lloco.cli.ask_session import AskFlags, Corpora, Library, said
from lloco.cli.output import Output
from lloco.cli.retrieval_flags import Retrieval
from lloco.cli.verb import verb


@verb(kept="nothing was changed")
def ask(
    *,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In words that the documents use.")],
    corpus: Corpora = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="TEXT", help="An answer to choose from; repeat it.")
    ] = None,
    flags: AskFlags,
    retrieval: Retrieval,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Answer a question from a corpus, with its source.

    Finds the corpus and the document, reads its soft prompt with the corpus's adapter, answers and cites. With
    --mode full or retrieval any --model reads text instead.

    \b
    Examples:
      lloco ask --corpus contracts "When does the lease of Mill Lane end?"
      lloco ask --corpus contracts --document lease.pdf "Who signs?" --json
      lloco ask --corpus contracts --mode full --model HuggingFaceTB/SmolLM2-135M-Instruct "Who signs?"
      lloco ask "Which corpus has the answer to this?"
      lloco ask --corpus contracts --embedder minilm "Who gets the house?"
    """
    if not question.strip():
        raise typer.BadParameter("the question is empty: type one in quotes")
    output = Output(is_json, quiet)
    from lloco.store.store import Store

    with Store(flags.store) as opened:
        library = Library(opened, corpus, flags, retrieval, output)
        routed = library.ask(question, choices=option or (), on_text=output.piece)
    output.result(routed.values(), "\n".join([said(routed), "", *routed.sources()]))
    if routed.answer.is_cut:
        output.say(f"the answer was cut at {flags.max_tokens} tokens: --max-tokens allows more")
