"""Adapters in a decoder's model by the names that requests use, and a forward in which every row has its own (PEFT).

What every engine in this process needs of adapters. Does not know about prompts, sampling or batches.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from lloco.adapters.attach import load_adapter
from lloco.adapters.base_model import BASE_ADAPTER, adapter_disabled
from lloco.adapters.digest import adapter_digest
from lloco.errors import LlocoError
from lloco.models.decoder import Decoder


class NamedAdapters:
    """A decoder and the adapters that its model carries."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        present = decoder.model.peft_config if isinstance(decoder.model, PeftModel) else ()
        self._peft_names: dict[str, str] = {name: name for name in present}
        self._digests: dict[str, str] = {}

    def add(self, name: str, folder: Path) -> None:
        """Make the adapter of that folder available under a name; the same adapter again is not loaded twice.

        Raises:
            LlocoError: the name stands for another adapter.
            CheckpointError: the folder is incomplete, damaged, or not plain LoRA.
            MismatchError: the adapter was made for another model.
        """
        digest = adapter_digest(folder)
        if self._digests.get(name) == digest:
            return  # without the lock, which is held while a batch takes a step
        with self.decoder.lock:
            if name in self._peft_names:
                check_same_adapter(name, folder, self._digests.get(name), digest)
                return
            loaded = next((other for other in self._digests if self._digests[other] == digest), None)
            if loaded is None:
                # PEFT puts names into module paths, where dots and some prefixes are not allowed.
                model = self.decoder.model
                peft_name = f"adapter-{len(model.peft_config) if isinstance(model, PeftModel) else 0}"
                self.decoder = load_adapter(self.decoder, folder, peft_name)
            else:
                peft_name = self._peft_names[loaded]
            self._peft_names[name], self._digests[name] = peft_name, digest

    def peft_names(self, num_prompts: int, names: Sequence[str | None] | None) -> list[str]:
        """Return PEFT's name of each prompt's adapter; None stands for the base model, no names for that everywhere.

        Raises:
            LlocoError: a name is unknown, or there is not one per prompt.
        """
        names = known_names(num_prompts, names, self._peft_names)
        return [BASE_ADAPTER if name is None else self._peft_names[name] for name in names]


def check_same_adapter(name: str, folder: Path, known_digest: str | None, digest: str) -> None:
    """Raise `LlocoError` where a name that is taken is given to other weights."""
    if known_digest != digest:
        raise LlocoError(f"adapter name {name!r} stands for another adapter than {folder}: use a name of its own")


def known_names(num_prompts: int, names: Sequence[str | None] | None, known: Collection[str]) -> Sequence[str | None]:
    """Return each prompt's adapter name; None stands for the base model, no names for that everywhere.

    Raises:
        LlocoError: a name is unknown, or there is not one per prompt.
    """
    names = [None] * num_prompts if names is None else names
    if len(names) != num_prompts:
        raise LlocoError(f"there must be one adapter name (or None) per prompt, got {len(names)} for {num_prompts}")
    if unknown := sorted({name for name in names if name is not None} - set(known)):
        there = ", ".join(sorted(known)) or "none"
        raise LlocoError(f"no adapter is named {unknown[0]!r} (there are: {there}): add it to the engine first")
    return names


@contextmanager
def inference(model: torch.nn.Module, peft_names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the arguments that give each row its adapter; inside, the model is in eval mode and keeps no gradients."""
    is_mixed = isinstance(model, PeftModel)
    # A walk over the modules takes a twentieth of a small model's step, setting their modes anew more: one must do.
    modules = list(model.modules())
    in_training = [module for module in modules if module.training]
    # Another engine may have put its adapter into this model in place; without names it would be on for all rows.
    is_foreign = not is_mixed and any(isinstance(module, BaseTunerLayer) for module in modules)
    with torch.no_grad(), adapter_disabled(model) if is_foreign else nullcontext():
        for module in in_training:
            module.training = False
        try:
            yield {"adapter_names": list(peft_names)} if is_mixed else {}
        finally:
            for module in in_training:
                module.training = True
