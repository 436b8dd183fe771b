"""A verb: a function that the command line runs, and what its errors become for the user.

A parameter that is a dataclass stands for one flag per field, so that verbs can share flags. Exit codes: 0 done, 1 the
user's mistake or the machine's (disk, permissions), 2 a wrong command line, 130 interrupted, 143 terminated.
"""

import functools
import inspect
import math
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import Parameter
from types import FrameType
from typing import Any

import typer

from lloco.cli.output import show_warnings
from lloco.cli.process import is_one_of_several, process_rank
from lloco.errors import LlocoError

DEBUG = "LLOCO_DEBUG"
GRACE_SECONDS = 30.0
"""Within this time a launcher ends the processes of a run of which one has failed."""


_NO_MEMORY = re.compile(
    "can't allocate memory|out of memory|not enough memory|bad_alloc|Storage size calculation overfl"
)
"""What PyTorch says where memory ends, on a CPU and on a GPU."""


class Terminated(KeyboardInterrupt):
    """The process was told to terminate: what it has begun is put in order first, as after an interrupt."""


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Raise `Terminated` in the block for a request to terminate that nobody else handles."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second request does not wait
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def verb(kept: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Turn errors into one message and an exit code; `kept` says what an interrupted run leaves behind."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        spread = _spread(function)

        @functools.wraps(spread)
        def run(**flags: Any) -> None:
            try:
                show_warnings()
                with _terminated_as_interrupted():
                    spread(**flags)
            except (typer.Exit, typer.BadParameter):
                raise
            except Terminated:
                raise _stop(f"terminated: {kept}", 143) from None
            except KeyboardInterrupt:
                raise _stop(f"interrupted: {kept}", 130) from None
            except BrokenPipeError:
                _close_stdout()
                raise typer.Exit(1) from None
            except LlocoError as error:
                raise _stop(f"error: {error}", 1) from None
            except OSError as error:
                raise _stop(f"error: {_os_message(error)}", 1) from None
            except Exception as error:
                if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
                    raise _stop(f"error: not enough memory: lower the sizes that were asked for ({error})", 1) from None
                if _is_of_lost_process(error):
                    raise _end_too() from None
                what = f"{type(error).__name__}: {error}".strip()
                hint = f"this is a fault of lloco; set {DEBUG}=1 to see where, and please report it"
                raise _stop(f"error: {what.splitlines()[0]}\n{hint}", 1) from None

        return run

    return decorate


def _spread(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function with every parameter that is a dataclass replaced by that class's fields."""
    signature = inspect.signature(function)
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if is_dataclass(parameter.annotation)
    }

    @functools.wraps(function)
    def call(**flags: Any) -> None:
        _check_finite(flags)
        made = {
            name: group(**{field.name: flags.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        function(**flags, **made)

    parameters: list[Parameter] = []
    for name, parameter in signature.parameters.items():
        parameters += map(_parameter, fields(groups[name])) if name in groups else [parameter]
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _check_finite(flags: Mapping[str, Any]) -> None:
    for name, value in flags.items():
        if isinstance(value, float) and not math.isfinite(value):
            hint = f"'--{name.replace('_', '-')}'"
            raise typer.BadParameter(f"must be a finite number, got {value}", param_hint=hint)


def _parameter(field: "Field[Any]") -> Parameter:
    default = Parameter.empty if field.default is MISSING else field.default
    return Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=field.type)


def _stop(message: str, code: int) -> typer.Exit:
    """Print the message, and where it came from if the user asked for that.

    A process other than the first waits with its own: where all fail alike, it is ended before it says so too.
    """
    if os.environ.get(DEBUG):
        traceback.print_exc()
    if (rank := process_rank()) == "0":
        print(message, file=sys.stderr, flush=True)
    elif code == 1:
        time.sleep(GRACE_SECONDS)
        print(f"process {rank}: {message}", file=sys.stderr, flush=True)
    return typer.Exit(code)


def _end_too() -> typer.Exit:
    """End because another process did, which says why itself, or its launcher does."""
    if process_rank() == "0":
        time.sleep(GRACE_SECONDS)
        print("error: another process of this run has stopped", file=sys.stderr, flush=True)
    return typer.Exit(1)


def _is_of_lost_process(error: Exception) -> bool:
    """Return whether the error is that another process of the same run cannot be reached any more."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return is_one_of_several() and ("DistError" in names or "gloo" in str(error).lower())


def _os_message(error: OSError) -> str:
    file_name = f" ({error.filename})" if error.filename is not None else ""
    is_other_kind = isinstance(error, (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError))
    advice = "name another place" if is_other_kind else "free space or allow access there, then run the same again"
    return f"{error.strerror or error}{file_name}: {advice}"


def _close_stdout() -> None:
    """The reader has gone: what is still buffered must not raise again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
