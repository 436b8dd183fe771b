"""Running an application: the socket it listens on, and uvicorn until it is told to stop.

The first interrupt stops taking requests and finishes those that run; the second ends at once.
"""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from lloco.errors import LlocoError


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


def make_server(app: FastAPI) -> uvicorn.Server:
    """Return a server of the application; `run(sockets=[...])` serves until `should_exit` is set."""
    return uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))


@contextmanager
def serving_in_thread(app: FastAPI, bound: socket.socket) -> Iterator[uvicorn.Server]:
    """Serve beside the block, from when it begins; what runs is finished when it ends, or when `should_exit` is set."""
    server = make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="lloco-server")
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise LlocoError(f"a server on {address_of(bound)} was wanted, it ended while it started")
            time.sleep(0.01)
        yield server
    finally:
        server.should_exit = True
        thread.join()


def serve(app: FastAPI, bound: socket.socket) -> None:
    """Serve until an interrupt or a request to terminate; returns when what ran is finished."""
    with _signals_handled():
        make_server(app).run(sockets=[bound])


@contextmanager
def _signals_handled() -> Iterator[None]:
    """Keep the signals that ended uvicorn, which raises them again afterwards, from ending this process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.signal(one, lambda *_: None) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
