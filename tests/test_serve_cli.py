"""`lloco serve` as a process: what it says, whom it lets in, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from lloco.cli.main import main
from lloco.compression.run import compress_into
from lloco.compressors.load import load_compressor
from lloco.server.engines import EngineOptions
from lloco.server.listen import open_socket
from lloco.store.store import Store
from tests.corpora import lease_and_voyage, save_compressor
from tests.serving import wait_until

QUESTION = "Who was master of the brig Petrel?"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    with Store(folder / "store") as opened:
        compress_into(
            opened.corpus("ships"), lease_and_voyage(), load_compressor(save_compressor(folder / "m", seed=20))
        )
    return folder / "store"


def test_it_serves_until_it_is_told_to_end_and_finishes_what_runs(store: Path) -> None:
    command = [sys.executable, "-m", "lloco.cli.main", "serve", "--port", "0", "--store", str(store), "--device", "cpu"]
    env = {**os.environ, "PYTHONWARNINGS": "default"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        said, address = "", None
        while address is None and (line := process.stderr.readline()):
            said += line
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address is not None and "corpora: ships" in said
        assert httpx.get(f"{address[0]}/health").json() == {"status": "ok"}
        with openai.OpenAI(base_url=f"{address[0]}/v1", api_key="none", max_retries=0) as client:
            messages = [{"role": "user", "content": QUESTION}]
            stream = client.chat.completions.create(
                model="ships",
                messages=messages,
                max_tokens=300,
                stream=True,  # type: ignore[arg-type]
            )
            chunks = [next(stream)]
            process.send_signal(signal.SIGTERM)
            chunks += stream
        assert chunks[-1].choices[0].finish_reason == "length"
        out, rest = process.communicate(timeout=60)
    assert (process.returncode, out, rest) == (0, "", "ended; what ran was finished\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--host", "0.0.0.0"], "--api-key-file"),
        (["--corpus", "absent"], "no corpus 'absent'"),
        (["--api-key-file", "no-such-file.json"], "API keys"),
        (["--engine", "vllm"], "the vLLM engine needs vLLM"),
        (["--host", "no.such.host.invalid", "--no-auth"], "could not listen"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(
    store: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--port", "0", "--store", str(store), *flags]) == 1
    assert message in capsys.readouterr().err


def test_a_port_that_is_taken_is_an_error_that_names_it(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_socket("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port), "--store", str(store)]) == 1
    assert f"port {port}" in capsys.readouterr().err


def test_a_port_that_no_machine_has_is_wrong_usage(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "99999", "--store", str(store)]) == 2
    assert "from 0 to 65535, got 99999" in " ".join(capsys.readouterr().err.split())


def test_keys_may_let_other_machines_in(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"secret": "*"}))
    addresses = []
    monkeypatch.setattr("lloco.server.listen.serve", lambda app, bound, grace: addresses.append(bound.getsockname()[0]))
    assert main(["serve", "--host", "0.0.0.0", "--port", "0", "--store", str(store), "--api-key-file", str(keys)]) == 0
    capsys.readouterr()
    assert main(["serve", "--host", "0.0.0.0", "--port", "0", "--store", str(store), "--no-auth", "--json"]) == 0
    assert addresses == ["0.0.0.0"] * 2
    told = json.loads(capsys.readouterr().out)
    assert told["corpora"] == ["ships"] and re.fullmatch(r"http://0\.0\.0\.0:\d+/v1", told["url"])


def test_the_mode_and_the_model_of_questions_that_name_none_reach_the_server(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []
    made = EngineOptions

    def noting(*args: Any, **kwargs: Any) -> EngineOptions:
        seen.append(made(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr("lloco.server.engines.EngineOptions", noting)
    monkeypatch.setattr("lloco.server.listen.serve", lambda app, bound, grace: None)
    argv = ["serve", "--port", "0", "--store", str(store)]
    assert main([*argv, "--mode", "retrieval", "--model", "owner/any"]) == main(argv) == 0
    assert [(item.mode, item.model) for item in seen] == [("retrieval", "owner/any"), ("compressed", None)]
    assert main([*argv, "--mode", "none"]) == 2
    assert "choose one of compressed, hybrid, full, retrieval" in " ".join(capsys.readouterr().err.split())


STUCK = """
import threading, time
from fastapi import FastAPI
from lloco.server.listen import address_of, open_socket, serve
app = FastAPI()
@app.get("/stuck")
def stuck():
    print("stuck", flush=True)
    time.sleep(60)
with open_socket("127.0.0.1", 0) as bound:
    print(address_of(bound), flush=True)
    serve(app, bound, grace_seconds=2)
"""


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_it_ends_within_its_grace_whatever_runs() -> None:
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        wait_until(lambda: is_open(int(address.rpartition(":")[2])))
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as raw:
            raw.sendall(b"GET /stuck HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert process.stdout.readline() == b"stuck\n"
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
        assert time.monotonic() - started < 20
    assert process.returncode == 1 and b"ended after 2 s with work still running" in said
