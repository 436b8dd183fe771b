"""What a verb says: its result on standard output, everything else on standard error.

On a terminal, progress is a bar with speed and time left; elsewhere a line every ten seconds. Processes other than the
first that a launcher started say nothing.
"""

import json
import logging
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from lloco.cli.process import process_rank

LINE_SECONDS = 10.0
_UNSEEN = "\n\t\N{SOFT HYPHEN}\N{ZERO WIDTH SPACE}\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}\N{WORD JOINER}"

Advance = Callable[[int, int], None]
"""Called with how much has just been done and how much there is to do in all."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where a verb's words go."""

    is_json: bool = False
    is_quiet: bool = False

    @property
    def is_silent(self) -> bool:
        """Whether another process of the same run speaks."""
        return process_rank() != "0"

    def say(self, message: str) -> None:
        """Tell something that helps but is not the result."""
        if not self.is_quiet and not self.is_silent:
            print(message, file=sys.stderr, flush=True)

    def warn(self, message: str) -> None:
        """Tell something that the user must know."""
        if not self.is_silent:
            print(f"warning: {message}", file=sys.stderr, flush=True)

    def result(self, values: Mapping[str, Any], text: str | None = None) -> None:
        """Print the result: one JSON object, or text for people."""
        if self.is_silent:
            return
        if self.is_json:
            print(json.dumps(values, ensure_ascii=False, allow_nan=False, default=str), flush=True)
        elif text is not None:
            print(text, flush=True)

    def piece(self, text: str) -> None:
        """Print a piece of a result that is for people; `result` ends it."""
        if not self.is_json and not self.is_silent:
            print(printable(text), end="", flush=True)

    @contextmanager
    def progress(self, what: str, unit: str) -> Iterator[Advance]:
        """Show how far work has come while the block runs."""
        if self.is_quiet or self.is_silent:
            yield lambda num_now, total: None
        elif sys.stderr.isatty():
            with _bar(what, unit) as advance:
                yield advance
        else:
            yield ProgressLines(what, unit, self.say).advance


class _WarningLines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        Output().warn(record.getMessage())


def show_warnings() -> None:
    """Print what the models' loading and reading warns of as a verb's own warnings; again changes nothing."""
    log = logging.getLogger("lloco.models")
    if not any(isinstance(handler, _WarningLines) for handler in log.handlers):
        log.addHandler(_WarningLines())


class ProgressLines:
    """A line now and then, for logs."""

    def __init__(self, what: str, unit: str, say: Callable[[str], None]) -> None:
        self._what, self._unit, self._say = what, unit, say
        self._num_done = 0
        self._started = self._said = time.monotonic()

    def advance(self, num_now: int, total: int) -> None:
        """Count, and say it when the last line is old enough."""
        self._num_done += num_now
        now = time.monotonic()
        if now - self._said < LINE_SECONDS:
            return
        self._said = now
        speed = self._num_done / (now - self._started)
        left = max(total - self._num_done, 0) / speed if speed else 0.0
        self._say(
            f"{self._what}: {self._num_done:,} of {total:,} {self._unit}, {_rate(speed)} {self._unit}/s, "
            f"{_duration(left)} left"
        )


def _rate(per_second: float) -> str:
    """Return a speed in two digits at least."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"


@contextmanager
def _bar(what: str, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None, speed="")
        started = time.monotonic()

        def advance(num_now: int, total: int) -> None:
            seconds = time.monotonic() - started
            done = progress.tasks[0].completed + num_now
            speed = f"{_rate(done / seconds)} {unit}/s" if seconds else ""
            progress.update(task, completed=done, total=total, speed=speed)

        yield advance


def printable(text: str) -> str:
    """Return text that does nothing to a terminal but show itself; documents and answers may hold anything."""
    return "".join(char if _is_harmless(char) else "\N{REPLACEMENT CHARACTER}" for char in text)


def _is_harmless(character: str) -> bool:
    """Whether it is shown, or is a space, a line's end or a joiner of letters: no control, no change of direction."""
    return character.isprintable() or character in _UNSEEN or unicodedata.category(character) == "Zs"


def text_width() -> int:
    """Columns that a table may take."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 160


def table_text(
    title: str, columns: list[str], rows: list[list[str]], num_left: int = 1, num_whole: int = 0, caption: str = ""
) -> str:
    """Return a table for people: the first `num_left` columns on the left, the first `num_whole` never folded."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", caption=caption or None, caption_justify="left")
    for number, column in enumerate(columns):
        side: Literal["left", "right"] = "left" if number < num_left else "right"
        table.add_column(column, justify=side, overflow="fold", no_wrap=number < num_whole)
    for row in rows:
        table.add_row(*map(printable, row))
    console = Console(width=text_width(), no_color=not sys.stdout.isatty())
    with console.capture() as capture:
        console.print(table, markup=False)
    return capture.get().rstrip("\n")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
