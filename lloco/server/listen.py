"""Running an application: the socket it listens on, and uvicorn until it is told to stop.

The first interrupt stops taking requests and finishes those that run, until the time for that is over; the second ends
at once.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from lloco.errors import LlocoError
from lloco.server.connections import BoundedConnection

GRACE_SECONDS = 100
"""From the request to terminate until the process ends, whatever runs; cancelling takes the last seconds of it."""
_CANCEL_SECONDS = 5
BACKLOG = 128
"""Connections that are accepted at once, before others are closed for them: each is an open file."""


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address; port 0 takes a free one.

    Raises:
        LlocoError: it cannot be listened on.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # asyncio sends small pieces without delay only where the protocol is named, not 0.
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise LlocoError(
            f"could not listen on {host} port {port}: {error.strerror or error}; choose another with --host and --port"
        ) from error
    return bound


def address_of(bound: socket.socket) -> str:
    """Return the address that a bound socket is reached under."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(app: FastAPI, grace_seconds: int = GRACE_SECONDS) -> uvicorn.Server:
    """Return a server of the application; `run(sockets=[...])` serves until `should_exit` is set."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=BoundedConnection,
            ws="none",
            backlog=BACKLOG,
            log_level="error",  # a warning would tell of every broken request
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(grace_seconds - _CANCEL_SECONDS, grace_seconds // 2),
        )
    )


@contextmanager
def serving_in_thread(app: FastAPI, bound: socket.socket) -> Iterator[uvicorn.Server]:
    """Serve beside the block, from when it begins; what runs is finished when it ends, or when `should_exit` is set."""
    server = make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="lloco-server")
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise LlocoError(f"the server on {address_of(bound)} ended while it started")
            time.sleep(0.01)
        yield server
    finally:
        server.should_exit = True
        thread.join()


def serve(app: FastAPI, bound: socket.socket, grace_seconds: int = GRACE_SECONDS) -> None:
    """Serve until an interrupt or a request to terminate; returns when what ran is finished.

    Where that is not so in time, a document in a long computation say, the process ends: what was acknowledged is kept.
    """
    server = make_server(app, grace_seconds)
    noted, end = server.handle_exit, threading.Timer(grace_seconds, _end_process, [grace_seconds])
    end.daemon = True

    def note(number: int, frame: FrameType | None) -> None:
        if not server.should_exit:
            end.start()
        noted(number, frame)

    server.handle_exit = note  # type: ignore[method-assign, assignment]
    with _signals_handled():
        server.run(sockets=[bound])


def _end_process(grace_seconds: int) -> None:
    os.write(2, f"ended after {grace_seconds} s with work still running\n".encode())
    os._exit(1)


@contextmanager
def _signals_handled() -> Iterator[None]:
    """Keep the signals that ended uvicorn, which raises them again afterwards, from ending this process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
