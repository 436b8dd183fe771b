"""The documentation as tests see it: blocks of code, what they print, commands of lloco in them, links."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer

from benchmarks.main import app as benchmarks_app
from lloco.cli.main import app as lloco_app

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "recipes").glob("*/README.md")),
    *sorted((ROOT / "lloco" / "bundled").glob("*/README.md")),
]
SCRIPTS = sorted((ROOT / "runs").glob("*.sh"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(\w+=\S+ )*lloco [a-z]", re.MULTILINE)
COMMENT = re.compile(r"(^|\s+)#\s.*")
INLINE = re.compile(r"`([^`]+)`")
PROGRAMS = {
    "lloco": (lloco_app, re.compile(r"(?:^|[\s;&|(])(?:python -m |-m )?lloco (?=[a-z])")),
    "python -m benchmarks": (benchmarks_app, re.compile(r"(?:^|[\s;&|(])python -m benchmarks (?=[a-z])")),
}
READ_FROM_DISK = {"adapter", "template"}
"""Options whose value names a file that must be there."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, with what it prints: the block that follows it at once, or the lines between its prompts."""

    language: str
    code: str
    line: int
    output: str = ""

    @property
    def is_shell(self) -> bool:
        """Whether these are commands, rather than a file or an output."""
        return self.language == "sh" or (not self.language and COMMAND.search(self.code) is not None)


def blocks(text: str) -> list[Block]:
    found: list[Block] = []
    end = 0
    for match in FENCE.finditer(text):
        block = _block(match[1], match[2], text.count("\n", 0, match.start()) + 2)
        follows = found and not text[end : match.start()].strip() and not match[1] and not block.is_shell
        if follows and (found[-1].is_shell or found[-1].language == "python") and not found[-1].output:
            before = found.pop()
            block = Block(before.language, before.code, before.line, match[2])
        found.append(block)
        end = match.end()
    return found


def _block(language: str, code: str, line: int) -> Block:
    """Make a block; of one with prompts the commands and their output are told apart."""
    if not code.startswith("$ "):
        return Block(language, code, line)
    typed, printed = [], []
    goes_on = False
    for text in code.splitlines():
        is_typed = goes_on or text.startswith("$ ")
        (typed if is_typed else printed).append(text.removeprefix("$ "))
        goes_on = is_typed and text.rstrip().endswith("\\")
    return Block("sh", "\n".join(typed), line, "\n".join(printed))


def statements(code: str) -> list[str]:
    """Return the commands of a block, each with its continuation lines; a here-document is part of its command."""
    found: list[str] = []
    lines = iter(code.splitlines())
    for line in lines:
        statement = COMMENT.sub("", line)
        while statement.rstrip().endswith("\\"):
            statement = statement.rstrip()[:-1] + next(lines, "")
        if here := re.search(r"<<-?'?(\w+)'?", statement):
            for inner in lines:
                statement += "\n" + inner
                if inner == here[1]:
                    break
        if statement.strip():
            found.append(statement)
    return found


def calls(statement: str) -> Iterator[tuple[str, list[str]]]:
    """Return the programs of ours that a command line calls, with their arguments."""
    for name, (_, pattern) in PROGRAMS.items():
        for match in pattern.finditer(statement):
            yield name, words(statement[match.end() :])


def words(text: str) -> list[str]:
    """Split as a shell does, up to the end of the command."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[str] = []
    for word in lexer:
        if word[0] in "|&;<>()":
            break
        found.append(word)
    return found


@cache
def command_line(program: str) -> Any:
    return typer.main.get_command(PROGRAMS[program][0])


def command_of(program: str, argv: Sequence[str]) -> tuple[Any, str, list[str]]:
    """Return the verb that these words call, its name and the words behind it."""
    command: Any = command_line(program)
    rest, name = list(argv), program
    while rest and getattr(command, "commands", None):
        verb = rest.pop(0)
        assert verb in command.commands, f"{name} has no {verb}"
        command, name = command.commands[verb], f"{name} {verb}"
    return command, name, rest


def flags_of(command: Any) -> set[str]:
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def check_parses(program: str, argv: Sequence[str]) -> None:
    """Raise where a verb, a flag, a value or an argument is wrong; nothing is run."""
    command, name, rest = command_of(program, argv)
    context = command.make_context(name, [], resilient_parsing=True)
    context.resilient_parsing = False
    values, left, _ = command.make_parser(context).parse_args(rest)
    assert not left, f"{name} takes no {left}"
    for parameter in command.params:
        value = values.get(parameter.name)
        if isinstance(value, str | list | tuple) and parameter.name not in READ_FROM_DISK:
            parameter.process_value(context, value)
        assert value or not parameter.required, f"{name} needs {parameter.opts[0]}"


def check_flags(program: str, argv: Sequence[str]) -> None:
    """Raise where a verb or a flag is none; values and what is left out are not looked at."""
    command, name, rest = command_of(program, argv)
    if not getattr(command, "commands", None):
        unknown = {word.split("=")[0] for word in rest if word.startswith("--")} - flags_of(command)
        assert not unknown, f"{name} has no {', '.join(sorted(unknown))}"


def all_flags() -> set[str]:
    """Return every flag of every verb."""

    def below(command: Any) -> Iterator[str]:
        for inner in getattr(command, "commands", {}).values():
            yield from below(inner)
        yield from flags_of(command)

    return {flag for program in PROGRAMS for flag in below(command_line(program))}


def prose(text: str) -> str:
    """Return the page without its fenced blocks."""
    return FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """Return what links may name after `#`, as GitHub makes it of the headings."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    shown = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", head) for head in heads]
    return {re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in shown}
