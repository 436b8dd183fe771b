"""Work on a file of a stranger in a process of its own, which the system ends at its limits of time, memory and output.

The process gets nothing of this one's but where Python finds its modules. Functions are named, not passed, and answer
with a few values and a text. It does not know formats.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from lloco.documents.extracted import UnreadableError

if sys.platform != "win32":
    import resource

KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP")
"""What the process sees of this one's environment, which may hold keys."""
_GRACE_SECONDS = 2.0
"""How long after its limit the process is ended from here, where the system has not done it."""


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What one process may take; memory is bounded where the system bounds it (not on macOS and Windows)."""

    seconds: float = 30.0
    memory_bytes: int = 2 << 30
    output_bytes: int = 512 << 20


class BoundedProcess:
    """One call of a function (path, *arguments) -> (values, text), which another thread may end."""

    def __init__(self, function: str, path: Path, *arguments: int | str, limits: ProcessLimits) -> None:
        """Args: the function as "module:name"; the file that it reads, alone in a folder that is the process's own."""
        self._function, self._path, self._arguments, self._limits = function, path, arguments, limits
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._is_killed = False

    def kill(self) -> None:
        """End it now, or as soon as it begins."""
        with self._lock:
            self._is_killed = True
            if self._process is not None:
                self._process.kill()

    def run(self) -> tuple[dict[str, Any], str]:
        """Return what the function returned.

        Raises:
            UnreadableError: the function raised it, or came to a limit, which is named; or it was killed.
        """
        with tempfile.TemporaryFile() as output:
            code = self._run(output.fileno())
            output.seek(0)
            head, _, text = output.read(self._limits.output_bytes + (1 << 20)).partition(b"\n")
        values = json.loads(head) if code == 0 else {"refused": self._reason(code)}
        if "refused" in values:
            raise UnreadableError(values["refused"])
        return values, text.decode("utf-8", "surrogatepass")

    def _run(self, output: int) -> int:
        limits = self._limits
        call = [self._function, str(self._path), json.dumps(self._arguments)]
        given = [*call, str(limits.seconds), str(limits.memory_bytes), str(limits.output_bytes)]
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        with self._lock:
            if self._is_killed:
                return -signal.SIGTERM
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lloco.documents.bounded_process", *given],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                cwd=self._path.parent,
                env={**kept, "PYTHONPATH": os.pathsep.join(str(Path(entry or ".").absolute()) for entry in sys.path)},
            )
        try:
            return self._process.wait(limits.seconds + _GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return -signal.SIGALRM
        finally:
            self._process.kill()
            self._process.wait()

    def _reason(self, code: int) -> str:
        """Say why it ended without an answer."""
        limits = self._limits
        if self._is_killed:
            return "reading was ended: whoever asked for it went away"
        if sys.platform != "win32" and code in (-signal.SIGALRM, -signal.SIGXCPU):
            return f"takes too long to read: the limit is {limits.seconds:g} seconds; split it"
        if sys.platform != "win32" and code == -signal.SIGXFSZ:
            return f"too large: its text is longer than the limit of {limits.output_bytes:,} bytes"
        return f"reading it failed: damaged, or it takes more than the limit of {limits.memory_bytes:,} bytes of memory"


def _limit_this_process(limits: ProcessLimits) -> None:
    """Have the system end this process where it takes more than it may."""
    if sys.platform == "win32":
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.output_bytes, limits.output_bytes))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
    signal.setitimer(signal.ITIMER_REAL, limits.seconds)


def _answer(call: Callable[[], tuple[dict[str, Any], str]], memory_bytes: int) -> tuple[dict[str, Any], bytes]:
    try:
        values, text = call()
        return values, text.encode("utf-8", "surrogatepass")
    except UnreadableError as error:
        return {"refused": str(error)}, b""
    except MemoryError:
        return {"refused": f"takes more memory to read than the limit of {memory_bytes:,} bytes; split it"}, b""


def main() -> None:
    """Call the function that is named on the command line and write what it returns to standard output."""
    name, path, arguments, seconds, memory_bytes, output_bytes = sys.argv[1:]
    limits = ProcessLimits(float(seconds), int(memory_bytes), int(output_bytes))
    _limit_this_process(limits)
    module, _, function = name.partition(":")
    work = getattr(import_module(module), function)
    values, text = _answer(lambda: work(Path(path), *json.loads(arguments)), limits.memory_bytes)
    with open(1, "wb", closefd=False) as output:
        output.write(json.dumps(values).encode() + b"\n")
        output.write(text)


if __name__ == "__main__":
    main()
