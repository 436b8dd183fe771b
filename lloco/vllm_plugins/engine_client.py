"""The vLLM that this code runs inside, spoken to through its engine client on the server's own event loop."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from lloco.engine.request_queue import EngineUnavailableError
from lloco.engine.vllm.connection import VllmAdapter, VllmRequest
from lloco.engine.vllm.start import vllm_params
from lloco.errors import LlocoError, MismatchError


class EngineClientVllm:
    """A `VllmConnection` without a wire."""

    name = "this vLLM"

    def __init__(self, engine_client: Any, models: Any) -> None:
        """Speak to the engine from the running loop.

        Args:
            engine_client: vLLM's own `EngineClient`.
            models: its `OpenAIServingModels`, which knows the adapters that are loaded.
        """
        self.loop = asyncio.get_running_loop()
        self._engine_client = engine_client
        self._models = models

    async def max_len(self) -> int:
        """Return the positions that the model was given."""
        return int(self._engine_client.model_config.max_model_len)

    async def load_adapter(self, adapter: VllmAdapter) -> None:
        """Have the resolver find the adapter by its name."""
        await self._lora_request(adapter)

    async def generate(self, asked: VllmRequest) -> AsyncGenerator[Sequence[int], None]:
        """Yield token ids as they come."""
        lora_request = None if asked.adapter is None else await self._lora_request(asked.adapter)
        answer = self._engine_client.generate(
            self._prompt(asked),
            vllm_params(asked.sampling, asked.eos_token_ids),
            f"lloco-{uuid.uuid4().hex}",
            lora_request=lora_request,
        )
        try:
            async for output in answer:
                yield list(output.outputs[0].token_ids)
        except ValueError as error:
            raise LlocoError(f"{self.name} refused the prompt ({error}): send a shorter prompt") from error
        finally:
            # It ends the request in the engine where the answer is left early.
            await answer.aclose()

    def on_return(self, check: Callable[[], Awaitable[None]]) -> None:
        """Do nothing: it cannot be away while this code runs."""

    def close(self) -> None:
        """Leave everything to vLLM."""

    def _prompt(self, asked: VllmRequest) -> dict[str, Any]:
        """Return vLLM's prompt; the API's own checks of embeddings are not behind this door, so they are made here."""
        salt = {"cache_salt": asked.salt} if asked.salt else {}
        if not asked.prompt.is_floating_point():
            return {"prompt_token_ids": asked.prompt.tolist(), **salt}
        config = self._engine_client.model_config
        if asked.prompt.shape[1] != config.get_hidden_size():
            raise MismatchError(
                f"embeddings are {asked.prompt.shape[1]} wide, {self.name} reads {config.get_hidden_size()} wide"
            )
        return {"prompt_embeds": asked.prompt.to(config.dtype), **salt}

    async def _lora_request(self, adapter: VllmAdapter) -> Any:
        found = await self._models.resolve_lora(adapter.name)
        if not hasattr(found, "lora_int_id"):
            reason = getattr(getattr(found, "error", None), "message", found)
            raise EngineUnavailableError(
                f"{self.name} cannot load adapter {adapter.name} ({reason}): start it with --enable-lora, room for it "
                "(--max-lora-rank), and lloco_adapters in VLLM_PLUGINS"
            )
        return found
