"""The process that reads strangers' files ends at its limits, or when it is told to, and says which limit it was."""

import threading
import time
from pathlib import Path

import pytest

from lloco.documents.bounded_process import BoundedProcess, ProcessLimits
from lloco.documents.extracted import UnreadableError
from tests.serving import wait_until

LIMITS = ProcessLimits(seconds=1.5, memory_bytes=1 << 30, output_bytes=1 << 20)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.txt"
    path.write_text("Zoë 漢\n\nx", encoding="utf-8")
    return path


def process(function: str, path: Path, *arguments: int) -> BoundedProcess:
    return BoundedProcess(f"tests.stubborn:{function}", path, *arguments, limits=LIMITS)


def test_what_the_function_returns_comes_back(file: Path) -> None:
    assert process("length", file, 2).run() == ({"length": 8}, "Zoë 漢\n\nx" * 2)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("sleeps", "takes too long to read: the limit is 1.5 seconds"),
        ("spins", "takes too long to read"),
        ("grows", "memory"),
        ("writes", "longer than the limit of 1,048,576 bytes"),
        ("refuses", "^nothing in it$"),
        ("dies", "reading it failed"),
    ],
)
def test_a_reader_that_goes_too_far_is_ended_and_the_limit_is_named(file: Path, function: str, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(UnreadableError, match=reason):
        process(function, file).run()
    assert time.monotonic() - started < 10


def test_whoever_goes_away_ends_it_at_once(file: Path) -> None:
    reader = process("sleeps", file)
    limited = BoundedProcess("tests.stubborn:sleeps", file, limits=ProcessLimits(seconds=60))
    killer = threading.Thread(target=lambda: (wait_until(file.with_name("begun").exists), limited.kill()))
    killer.start()
    started = time.monotonic()
    with pytest.raises(UnreadableError, match="went away"):
        limited.run()
    killer.join()
    assert time.monotonic() - started < 20
    reader.kill()
    with pytest.raises(UnreadableError, match="went away"):
        reader.run()


def test_it_sees_nothing_of_this_process_but_its_modules(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    values, folder = process("environment", file).run()
    assert "SECRET_TOKEN" not in values["keys"] and "PYTHONPATH" in values["keys"]
    assert Path(folder).resolve() == file.parent.resolve()
