"""The model that an adapter was made for, as the folder's lloco.json says; folders that PEFT alone wrote have none.

Reads no weights. Who holds an adapter to what this says is `attach`'s and `corpus_decoder`'s business.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from lloco.errors import CheckpointError

ORIGIN_FILE = "lloco.json"


@dataclass(frozen=True, slots=True)
class AdapterOrigin:
    """The decoder that an adapter was trained on."""

    base_model: str
    base_model_digest: str
    hidden_size: int | None
    """Its width; None where the file does not say."""


def read_origin(folder: Path) -> AdapterOrigin | None:
    """Read the folder's lloco.json; None where there is none, or it names no weights.

    Raises:
        CheckpointError: the file cannot be read.
    """
    file = folder / ORIGIN_FILE
    if not file.is_file():
        return None
    try:
        origin = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{ORIGIN_FILE} of adapter {folder}, which names its model, cannot be read ({error}): fetch the adapter "
            "again, or finetune again"
        ) from error
    if not isinstance(origin, dict) or not {"base_model", "base_model_digest"} <= set(origin):
        return None
    width = origin.get("hidden_size")
    return AdapterOrigin(
        str(origin["base_model"]), str(origin["base_model_digest"]), width if isinstance(width, int) else None
    )
