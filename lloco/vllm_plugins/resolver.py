"""The general plugin: vLLM finds an adapter of the store by its immutable name, lloco-<digest>, on first use.

vLLM loads it in every process of the server; it opens the store when the first such name is asked for.
"""

import asyncio
import logging
import re
from pathlib import Path
from typing import Any

from lloco.adapters.digest import adapter_digest
from lloco.engine.vllm.adapter import NAME_PREFIX, lora_rank
from lloco.errors import LlocoError
from lloco.store.store import Store, default_store_path

RESOLVER = "lloco"
_NAME = re.compile(rf"{NAME_PREFIX}([0-9a-f]{{64}})")
_log = logging.getLogger(__name__)


def register() -> None:
    """Tell vLLM where adapters are; the entry point, called once in each process or oftener."""
    from vllm.lora.resolver import LoRAResolverRegistry

    if RESOLVER not in LoRAResolverRegistry.get_supported_resolvers():
        LoRAResolverRegistry.register_resolver(RESOLVER, StoreResolver())


class StoreResolver:
    """Finds adapters by name in the store at $LLOCO_HOME."""

    async def resolve_lora(self, base_model_name: str, lora_name: str) -> Any:
        """Return vLLM's request for the adapter; None where the name is none of ours, or nothing there has it."""
        folder = await asyncio.to_thread(find_adapter, default_store_path(), lora_name)
        if folder is None:
            return None
        from vllm.lora.request import LoRARequest

        # vLLM gives it a number of its own.
        return LoRARequest(lora_name, 1, str(folder))


def find_adapter(store: Path, name: str) -> Path | None:
    """Return the folder of the corpus's adapter of that name; None where no corpus of the store has it."""
    match = _NAME.fullmatch(name)
    if match is None or not store.is_dir():
        return None
    with Store(store) as opened:
        for corpus in opened.corpora():
            if corpus.adapter_digest != match[1]:
                continue
            try:
                folder = opened.corpus(corpus.name, create=False).adapter_folder()
                if folder is not None and adapter_digest(folder) == match[1]:
                    lora_rank(folder)
                    return folder
            except (LlocoError, OSError) as error:
                _log.error("the adapter of corpus %s cannot be used: %s", corpus.name, error)
    return None


def is_adapter_name(name: str) -> bool:
    """Whether a model of this name can only be one of our adapters."""
    return _NAME.fullmatch(name) is not None
