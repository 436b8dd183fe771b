"""`lloco` run in this process, with what it printed, and the small files that tests of its verbs give it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lloco.cli.main import main

QUICK = ("--num-steps", "2", "--batch-size", "2", "--micro-batch-size", "2", "--learning-rate", "0.05")


class Run:
    """Runs `lloco` in this process and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], program: Callable[[list[str]], int] = main) -> None:
        self._capsys = capsys
        self._program = program
        self.out = self.err = ""

    def __call__(self, *argv: object) -> int:
        self._capsys.readouterr()
        code = self._program([str(item) for item in argv])
        self.out, self.err = self._capsys.readouterr()
        assert "Traceback" not in self.err
        return code

    def json(self, *argv: object) -> dict[str, Any]:
        """Run a command that must succeed with one JSON object, and nothing else, on standard output."""
        assert self(*argv, "--json") == 0, self.err
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    def fails(self, *argv: object, code: int = 1) -> str:
        """Run a command that must fail; returns its message."""
        assert self(*argv) == code, (self.out, self.err)
        assert self.out == ""
        return self.err


def write_lines(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def raiser(error: BaseException) -> Callable[..., None]:
    def raise_it(*args: object, **kwargs: object) -> None:
        raise error

    return raise_it
