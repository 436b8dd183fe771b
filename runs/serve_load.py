"""Memory and speed of `lloco serve` under load: 64 clients at once, thousands of requests of every kind.

python runs/serve_load.py [REQUESTS]; the figures of docs/bench.md. A server with the bundled model and two corpora of
its bundled documents runs in a process of its own, whose resident memory is read between the rounds. One round: 200
requests, of which one in ten is streamed, routed, in full text, of an unknown model, malformed, or left in
mid-answer; one in fifty replaces a document. Linux only.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from lloco.compression.run import compress_into
from lloco.compressors.load import load_compressor
from lloco.demo import DOCUMENTS
from lloco.store.store import Store
from lloco.tasks.task import load_samples

CLIENTS, ROUND = 64, 200
CHAT = "/v1/chat/completions"
Asked = list[tuple[str, str]]
"""Corpora and questions."""


def main(num_requests: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asked = fill(Path(folder))
        command = [sys.executable, "-m", "lloco.cli.main", "serve", "--port", "0", "--json", "--store", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            url = str(json.loads(server.stdout.readline())["url"]).removesuffix("/v1")
            try:
                with httpx.Client(base_url=url, timeout=600, limits=httpx.Limits(max_connections=CLIENTS)) as http:
                    report(http, server.pid, asked, num_requests)
            finally:
                server.terminate()


def fill(store: Path) -> Asked:
    """Compress the documents of two domains; returns questions about them."""
    compressor, asked = load_compressor("records"), []
    with Store(store) as opened:
        for name in ("museum", "railway"):
            samples = load_samples("jsonl", DOCUMENTS / f"{name}_test.jsonl.gz")
            compress_into(
                opened.corpus(name), list({one.document.id: one.document for one in samples}.values()), compressor
            )
            asked += [(name, one.question) for one in samples]
    return asked


def report(http: httpx.Client, pid: int, asked: Asked, num_requests: int) -> None:
    """Send round after round; print the statuses, and the memory after each."""
    statuses: Counter[int] = Counter()
    begun = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        for done in range(0, num_requests, ROUND):
            statuses.update(clients.map(lambda number: request(http, number, asked), range(done, done + ROUND)))
            seconds = time.perf_counter() - begun
            rate = f"{(done + ROUND) / seconds:.1f} requests/s"
            print(f"{done + ROUND:6} requests  {resident_mb(pid):5} MB  {rate}  {dict(statuses)}", flush=True)


def request(http: httpx.Client, number: int, asked: Asked) -> int:
    corpus, question = asked[number * 7 % len(asked)]
    body = {"model": corpus, "messages": [{"role": "user", "content": question}], "max_tokens": 16}
    kind = number % 10
    if kind == 0:
        body |= {"stream": True}
    elif kind == 1:
        body |= {"model": "lloco/auto"}
    elif kind == 2:
        body |= {"lloco": {"mode": "full"}}
    elif kind == 3:
        body |= {"model": "no-such-corpus"}
    elif kind == 4:
        return http.post(CHAT, content=b'{"model": ', headers={"content-type": "application/json"}).status_code
    elif kind == 5:
        with http.stream("POST", CHAT, json=body | {"stream": True, "max_tokens": 200}) as response:
            next(response.iter_bytes())
            return response.status_code
    elif kind == 6 and number % 50 == 6:
        text = {"text": f"The brig Petrel {number} left Dundee with a cargo of slate."}
        return http.put("/v1/documents/museum/petrel", json=text).status_code
    return http.post(CHAT, json=body).status_code


def resident_mb(pid: int) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1]) // 1024


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
