"""A verb: a function that the command line runs, and what its errors become for the user.

Exit codes: 0 done, 1 the user's mistake or the machine's (disk, permissions), 2 a wrong command line, 130 interrupted.
"""

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from lloco.errors import LlocoError

Parameters = ParamSpec("Parameters")
DEBUG = "LLOCO_DEBUG"


def verb(kept: str) -> Callable[[Callable[Parameters, None]], Callable[Parameters, None]]:
    """Turn errors into one message and an exit code; `kept` says what an interrupted run leaves behind."""

    def decorate(function: Callable[Parameters, None]) -> Callable[Parameters, None]:
        @functools.wraps(function)
        def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
            try:
                function(*args, **kwargs)
            except (typer.Exit, typer.BadParameter):
                raise
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
                what = f"{type(error).__name__}: {error}".strip()
                hint = f"this is a fault of lloco; set {DEBUG}=1 to see where, and please report it"
                raise _stop(f"error: {what.splitlines()[0]}\n{hint}", 1) from None

        return run

    return decorate


def _stop(message: str, code: int) -> typer.Exit:
    """Print the message, and where it came from if the user asked for that."""
    if os.environ.get(DEBUG):
        traceback.print_exc()
    print(message, file=sys.stderr, flush=True)
    return typer.Exit(code)


def _os_message(error: OSError) -> str:
    place = f" ({error.filename})" if error.filename is not None else ""
    return f"{error.strerror or error}{place}: free space or allow access there, then run the same again"


def _close_stdout() -> None:
    """The reader has gone: what is still buffered must not raise again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
