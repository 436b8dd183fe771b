"""The endpoint plugin: corpora are models of a stock vLLM server, and documents are read by id, inside it.

It stands in front of vLLM's own routes. What names a corpus is answered by the routes of `lloco serve`, with this
vLLM as their engine; embeddings from clients go no further; keys, where there are any, decide who sees what.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from lloco.engine.vllm.http_connection import GATEWAY_KEY
from lloco.errors import LlocoError
from lloco.server.access import Access, check_exposure, is_loopback, load_access
from lloco.server.app import create_app
from lloco.server.engines import EngineOptions
from lloco.server.service import Service
from lloco.store.store import Store, default_store_path
from lloco.vllm_plugins.engine_client import EngineClientVllm
from lloco.vllm_plugins.front import Front, Gate

KEY_FILE = "LLOCO_API_KEY_FILE"
"""Variable of the environment: the file that `lloco serve` takes as --api-key-file."""
NO_AUTH = "LLOCO_NO_AUTH"
"""Set to 1 it lets other machines in without a key, as --no-auth does."""
MAX_ASKED = 1024
"""Questions that vLLM is given at once, and as many again may wait."""
_log = logging.getLogger(__name__)


class DocumentsPlugin:
    """What vLLM makes once and hands its application to."""

    name = "lloco_documents"
    required_tasks = ("generate",)

    def __init__(self) -> None:
        self._gate = Gate()

    def attach_router(self, app: FastAPI) -> None:
        """Stand in front of all routes; until `init_state` is done nobody is let through."""
        app.add_middleware(Front, gate=self._gate)

    async def init_state(self, engine_client: Any, state: Any, args: Any) -> None:
        """Open the store and let callers in.

        Raises:
            LlocoError: vLLM was started in a way that would answer wrongly, end, or let everybody in.
        """
        check_settings(engine_client)
        access = access_of(os.environ, args.host or "0.0.0.0")
        path = default_store_path()
        if not path.is_dir():
            raise LlocoError(f"{path} is not a store: set LLOCO_HOME to the folder of one")
        server = EngineClientVllm(engine_client, state.openai_serving_models)
        store = Store(path)
        # How many are answered at once is vLLM's business (--max-num-seqs).
        options = EngineOptions(max_batch_size=MAX_ASKED, max_waiting=MAX_ASKED, vllm=server)
        service = Service(store, access, engines=options)
        await asyncio.to_thread(_join, service, store)
        self._gate.open(create_app(service), access, os.environ.get(GATEWAY_KEY), state.openai_serving_models)


def check_settings(engine_client: Any) -> None:
    """Refuse what would fail, or end the server, at the first question. Raises `LlocoError`."""
    if not engine_client.model_config.enable_prompt_embeds:
        raise LlocoError("documents are read as embeddings, this vLLM takes none: start it with --enable-prompt-embeds")
    lora = engine_client.vllm_config.lora_config
    if lora is not None and (not lora.target_modules or {"embed_tokens", "lm_head"} & set(lora.target_modules)):
        raise LlocoError(
            "this vLLM would end at the first prompt of embeddings with an adapter: start it with "
            "--lora-target-modules q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"
        )


def access_of(environment: Mapping[str, str], host: str) -> Access:
    """Return who may use the server. Raises `LlocoError` where other machines would need no key."""
    if file := environment.get(KEY_FILE):
        return load_access(Path(file), is_loopback=is_loopback(host))
    if environment.get(NO_AUTH) != "1":
        try:
            check_exposure(host, has_keys=False, is_open=False)
        except LlocoError as error:
            raise LlocoError(
                f"other machines reach {host} and there are no keys: name a file of them in {KEY_FILE}, start vLLM "
                f"with --host 127.0.0.1, or set {NO_AUTH}=1 to let everybody in"
            ) from error
    return Access(is_loopback=is_loopback(host))


def _join(service: Service, store: Store) -> None:
    """Try what each corpus needs, and name those that this vLLM cannot answer for; the others can be asked."""
    for name in store.corpus_names():
        try:
            service.engines.join([store.corpus(name, create=False)])
        except LlocoError as error:
            _log.error("corpus %s cannot be asked here: %s", name, error)
