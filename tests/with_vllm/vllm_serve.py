"""A real `vllm serve` for tests: started, killed, started anew on the same port."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from lloco.server.listen import address_of, open_socket

FLAGS = (
    *("--dtype", "float32", "--enforce-eager", "--block-size", "32", "--host", "127.0.0.1"),
    *("--served-model-name", "base", "--disable-uvicorn-access-log"),
)
EMBEDS = ("--enable-prompt-embeds",)
# One slot more than there are adapters: on a CPU, rows without an adapter would get the last slot's.
LORA = (
    *("--enable-lora", "--max-loras", "4", "--max-cpu-loras", "4", "--max-lora-rank", "8", "--lora-target-modules"),
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
)
START_SECONDS = 600


class VllmServe:
    """One server, which may be killed and started again."""

    def __init__(self, model: Path, log: Path, flags: tuple[str, ...], **environment: str) -> None:
        with open_socket("127.0.0.1", 0) as bound:
            self.url = address_of(bound)
        port = self.url.rpartition(":")[2]
        self._command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(model), "--port", port, *FLAGS]
        self._command += flags
        self._environment = {
            **os.environ,
            **{"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "PYTHONWARNINGS": "default"},
            **environment,
        }
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_up():
            said = self.log.read_text(errors="replace")[-4000:]
            assert self._process.poll() is None, f"vllm serve ended: {said}"
            assert time.monotonic() < deadline, f"vllm serve did not start: {said}"
            time.sleep(0.5)

    def kill(self) -> None:
        """End it and its workers at once, as a crash would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def ends_at_start(self) -> str:
        """Start it and return what it said, which must be that it cannot."""
        with self.log.open("ab") as log:
            done = subprocess.run(
                self._command, env=self._environment, stdout=log, stderr=log, timeout=START_SECONDS, check=False
            )
        assert done.returncode != 0
        return self.log.read_text(errors="replace")

    def http(self, key: str | None = None, **headers: str) -> httpx.Client:
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        return httpx.Client(base_url=self.url, headers=headers, timeout=120)

    def _is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def vllm_serving(model: Path, log: Path, flags: tuple[str, ...], **environment: str) -> Iterator[VllmServe]:
    made = VllmServe(model, log, flags, **environment)
    try:
        made.start()
        yield made
    finally:
        made.kill()
