"""What vLLM knows an adapter by, and which adapters it applies rightly."""

from pathlib import Path

from lloco.adapters.check import check_adapter
from lloco.adapters.folder import read_adapter
from lloco.errors import CheckpointError
from lloco.models.decoder import Decoder

NAME_PREFIX = "lloco-"


def vllm_adapter_name(digest: str) -> str:
    """Return the name of the adapter with this digest; vLLM knows cached prefixes by it, so it never means another."""
    return f"{NAME_PREFIX}{digest}"


def check_vllm_adapter(folder: Path, decoder: Decoder) -> int:
    """Return the adapter's rank, unless vLLM would apply it wrongly without a word.

    Raises:
        CheckpointError: the folder is incomplete, damaged, not plain LoRA, or has patterns of ranks or scales.
        MismatchError: the adapter was made for another model.
    """
    check_adapter(folder, decoder)
    return lora_rank(folder)


def lora_rank(folder: Path) -> int:
    """Return the one rank of all the adapter's modules.

    Raises:
        CheckpointError: the folder is incomplete, damaged, not plain LoRA, or has patterns of ranks or scales.
    """
    config, _ = read_adapter(folder)
    if config.rank_pattern or config.alpha_pattern:
        raise CheckpointError(
            f"{folder} has patterns of ranks or scales, which vLLM ignores: use the transformers engine"
        )
    return int(config.r)
