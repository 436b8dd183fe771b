"""`lloco chat`: question after question, each with what was said before."""

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from lloco.cli import options
from lloco.cli.ask_session import AskFlags, Corpora, Library, RoutedAnswer, said
from lloco.cli.output import Output
from lloco.cli.retrieval_flags import Retrieval
from lloco.cli.verb import verb
from lloco.errors import LlocoError

COMMANDS = (
    "/sources shows what was read, /corpus [NAME ...] shows or chooses what is asked, /new forgets what was said, "
    "/quit ends"
)


@verb(kept="nothing was changed")
def chat(
    *,
    corpus: Corpora = None,
    turns: Annotated[
        int,
        typer.Option("--turns", parser=options.at_least(0), metavar="N", help="Earlier questions, with their answers, "
                     "that are read again before each one."),
    ] = 0,
    flags: AskFlags,
    retrieval: Retrieval,
    is_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per question, each on a line, and nothing else.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Ask one question after another.

    /sources shows what was read for the last answer, /corpus NAME asks another corpus, /new forgets what was said,
    /quit ends. Ctrl-C ends an answer.

    \b
    Examples:
      lloco chat --corpus contracts
      lloco chat --turns 3
      lloco chat --corpus contracts --document lease.pdf
      lloco chat --corpus contracts --json < questions.txt
    """
    output = Output(is_json, quiet)
    from lloco.store.store import Store

    if isinstance(sys.stdin, TextIOWrapper):
        # A line that is no text is an answer of its own, and not the end of those after it.
        sys.stdin.reconfigure(errors="surrogateescape")

    with Store(flags.store) as opened:
        library = Library(opened, corpus, flags, retrieval, output)
        _Chat(library, turns, output).run()


class _Chat:
    """What has been said, and what is typed next."""

    def __init__(self, library: Library, num_turns: int, output: Output) -> None:
        self._library = library
        self._num_turns = num_turns
        self._output = output
        self._said: list[RoutedAnswer] = []

    def run(self) -> None:
        """Answer until the input ends."""
        self._output.say(f"{self._corpora()}\n{COMMANDS}")
        while (line := self._next_line()) is not None:
            if line.startswith("/"):
                self._tell(self._command(*line.split()))
            elif line:
                self._answer(line)

    def _next_line(self) -> str | None:
        """Return what the user typed, or None at the end; where answers are for machines nothing is prompted for."""
        try:
            line = input("" if self._output.is_json else "> ").strip()
        except EOFError:
            if not self._output.is_json:
                print()
            return None
        return None if line in ("/quit", "/exit", "/q") else line

    def _answer(self, question: str) -> None:
        recent = self._said[-self._num_turns :] if self._num_turns else []
        turns = [(routed.question, routed.answer.text) for routed in recent]
        try:
            routed = self._library.ask(question, turns=turns, on_text=self._output.piece)
        except LlocoError as error:
            self._output.result({"question": question, "error": str(error)}, f"error: {error}")
        except KeyboardInterrupt:
            self._output.result({"question": question, "error": "interrupted"}, "\n(interrupted)")
        else:
            self._said.append(routed)
            self._output.result(routed.values(), said(routed))
            self._output.say("\n".join(routed.read_lines()))

    def _command(self, name: str, *arguments: str) -> str:
        """Do what was typed after a slash; returns what to say of it."""
        if name == "/sources":
            return "\n".join(self._said[-1].sources()) if self._said else "nothing has been read yet"
        if name == "/new":
            self._said.clear()
            return "what was said is forgotten"
        if name == "/corpus":
            try:
                if arguments:
                    self._library.choose(None if arguments == ("all",) else arguments)
            except LlocoError as error:
                return f"error: {error}"
            except typer.BadParameter as error:
                return f"error: {error.message}"
            return self._corpora()
        return f"there is no {name}: {COMMANDS}"

    def _corpora(self) -> str:
        return "\n".join(
            f"corpus {corpus.name}: {corpus.summary().num_documents} documents" for corpus in self._library.corpora
        )

    def _tell(self, text: str) -> None:
        """Say what was asked for; it is no answer, so machines get it elsewhere."""
        if self._output.is_json:
            self._output.say(text)
        else:
            print(text)
