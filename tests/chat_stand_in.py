"""An OpenAI-compatible server of a few lines, whose replies and failures a test chooses."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any, dict[str, str]]
"""Status, body (text is sent as it is, anything else as JSON) and headers."""


def said(text: str | None) -> Reply:
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}}]}, {}


@dataclass
class ChatStandIn:
    reply: Callable[[dict[str, Any], int], Reply]
    """Called with the request's body and how many came before it."""
    url: str = ""
    keys: list[str | None] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def chat_stand_in(reply: Callable[[dict[str, Any], int], Reply]) -> Iterator[ChatStandIn]:
    stand_in = ChatStandIn(reply)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                number = len(stand_in.bodies)
                stand_in.bodies.append(body)
                stand_in.keys.append(self.headers.get("authorization"))
            status, value, headers = stand_in.reply(body, number)
            data = (value if isinstance(value, str) else json.dumps(value)).encode()
            self.send_response(status)
            for name, one in {**headers, "content-length": str(len(data))}.items():
                self.send_header(name, one)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gave up is no fault of the server's."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    stand_in.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield stand_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
