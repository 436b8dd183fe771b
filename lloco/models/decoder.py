"""The decoder: any Hugging Face causal language model that takes `inputs_embeds`, with its tokenizer and identity.

Does not know about documents, prompts or adapters. One dtype policy: what the user names, else float32 on a CPU and
bfloat16 on a GPU.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lloco.errors import CheckpointError
from lloco.models.checkpoint import checkpoint_folder, weights_digest
from lloco.models.converted import check_weights_digest, read_gguf_origin
from lloco.models.positions import are_endless, declared_positions, note_beyond, num_published_vectors, rotations
from lloco.models.quiet import quiet_transformers

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """A causal language model ready to read embeddings."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    name: str
    digest: str
    made_from: str = ""
    """The quantised file that the weights were converted from; empty where there is none."""
    lock: AbstractContextManager[bool] = field(default_factory=threading.RLock, repr=False)
    """Held by whoever runs the model: adapters and attention are switched in place. Kept by `replace`."""
    max_positions: int | None = None
    """Positions that a row may take, where that is not what the config declares."""

    @property
    def hidden_size(self) -> int:
        """Width of one embedding, and so of one virtual token."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def declared_len(self) -> int:
        """Number of positions that the model was made for.

        Raises:
            CheckpointError: the config does not say.
        """
        declared = declared_positions(self.model.config.get_text_config())
        if declared is None:
            raise CheckpointError(f"the config of {self.name} has no max_position_embeddings: add it to config.json")
        return declared

    @property
    def max_len(self) -> int:
        """Number of positions that a row of text may take: those declared, unless the user says otherwise."""
        return self.declared_len if self.max_positions is None else self.max_positions

    @property
    def is_endless(self) -> bool:
        """Whether rows may be longer than what is declared: positions are rotary ones that know no end."""
        return are_endless(self.model.config.get_text_config())

    @property
    def num_vectors_beyond(self) -> int:
        """Virtual tokens that may be read whatever positions are declared, as the AutoCompressor's public code does."""
        return num_published_vectors(self.model.config.get_text_config()) if self.max_positions is None else 0

    def vectors_beside(self, num_others: int) -> int:
        """Return the virtual tokens that may be read beside so many positions; below 0 where these are too many."""
        room = self.max_len - num_others
        return max(room, self.num_vectors_beyond) if room >= 0 else room

    def note_len(self, num_positions: int) -> None:
        """Warn, once, where a row of this length that is to be read is longer than what is declared."""
        declared = declared_positions(self.model.config.get_text_config())
        if declared is not None and num_positions > declared:
            note_beyond(self.lock, self.name, declared, num_positions)

    @property
    def scales_by_longest(self) -> bool:
        """Whether positions of a short row are encoded otherwise beside a long one, as transformers does longrope."""
        return "longrope" in rotations(self.model.config.get_text_config())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.model.dtype

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Token ids that end an answer; empty when the checkpoint names none."""
        eos = getattr(self.model.generation_config, "eos_token_id", None)
        if eos is None:
            eos = self.model.config.eos_token_id
        return () if eos is None else (eos,) if isinstance(eos, int) else tuple(eos)

    def embed(self, ids: Tensor) -> Tensor:
        """Return the embeddings (..., hidden_size) of token ids (...), scaled as the model scales them."""
        embedded: Tensor = self.model.get_input_embeddings()(ids.to(self.device))
        return embedded

    def require_tokenizer(self) -> PreTrainedTokenizerBase:
        """Return the tokenizer.

        Raises:
            CheckpointError: the checkpoint folder has none; only work on token ids is possible.
        """
        if self.tokenizer is None:
            raise CheckpointError(f"text needs a tokenizer and {self.name} has none: add tokenizer.json to the folder")
        return self.tokenizer


def resolve_device(device: str | None) -> torch.device:
    """Return the named device, or the best one at hand.

    Raises:
        CheckpointError: the name is unknown or the device is not here.
    """
    if device is None or device == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"device {device!r} cannot be used ({reason}): try --device cpu") from error
    return chosen


def dtype_name(dtype: str | torch.dtype) -> str:
    """Return a dtype's name as files and flags have it, without torch's prefix."""
    return str(dtype).removeprefix("torch.")


def resolve_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """Return the dtype, given itself or by name, or the policy's: float32 on a CPU, bfloat16 elsewhere.

    Raises:
        CheckpointError: it is not one of `DTYPES`.
    """
    if dtype is None or dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    name = dtype_name(dtype)
    if name not in DTYPES:
        raise CheckpointError(f"dtype {name!r} is unknown: use one of {', '.join(DTYPES)}")
    return DTYPES[name]


def is_bfloat16_faster(device: torch.device) -> bool:
    """Return whether training gains time by computing in bfloat16: on a CPU a matrix product of each kind is timed.

    Of the processors that know bfloat16 some multiply it at twice the speed of float32 and some at half of it.
    """
    if device.type != "cpu":
        return True
    seconds = dict.fromkeys((torch.float32, torch.bfloat16), math.inf)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several wait for one another where other programs run
    try:
        for _ in range(5):
            for dtype in seconds:
                left, right = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 512, dtype=dtype)
                started = time.thread_time()
                left @ right
                seconds[dtype] = min(seconds[dtype], time.thread_time() - started)
    finally:
        torch.set_num_threads(num_threads)
    return seconds[torch.bfloat16] < seconds[torch.float32]


def load_decoder(
    path_or_hub_id: str | Path,
    *,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    max_positions: int | None = None,
) -> Decoder:
    """Load a causal language model and, when the folder has one, its tokenizer; code in the folder is never run.

    Raises:
        CheckpointError: no such checkpoint, unknown architecture, missing or damaged weights, or more positions than
            the model can read.
    """
    folder = checkpoint_folder(path_or_hub_id)
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"a checkpoint needs config.json and {folder} has none: name the model's own folder")
    target = resolve_device(device)
    digest, made_from = checked_digest(folder)
    model = _load_model(folder, resolve_dtype(dtype, target), target)
    decoder = Decoder(model, load_tokenizer(folder), str(path_or_hub_id), digest, made_from)
    return with_max_positions(decoder, max_positions)


def with_max_positions(decoder: Decoder, max_positions: int | None) -> Decoder:
    """Return the decoder with another number of positions that a row may take than what it declares, if one is given.

    Raises:
        CheckpointError: more than it declares, and its positions end there.
    """
    if max_positions is not None and max_positions > decoder.declared_len and not decoder.is_endless:
        kinds = " and ".join(rotations(decoder.model.config.get_text_config())) or "learned"
        raise CheckpointError(
            f"max_positions must be between 1 and {decoder.declared_len} for {decoder.name}, whose {kinds} positions "
            f"end there, got {max_positions}: choose fewer, or another model"
        )
    return replace(decoder, max_positions=max_positions)


def checked_digest(folder: Path) -> tuple[str, str]:
    """Return the digest of a folder's weights and, where they were converted from a quantised file, which one.

    Raises:
        CheckpointError: missing or damaged weights, or converted ones that have changed since.
    """
    digest, origin = weights_digest(folder), read_gguf_origin(folder)
    check_weights_digest(folder, digest)
    is_as_converted = origin is not None and origin.weights_digest == digest
    return digest, origin.describe() if origin is not None and is_as_converted else ""


def _load_model(folder: Path, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    model_class: Any = AutoModelForCausalLM
    with loading_from(folder, "a causal language model"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        loaded, loading = model_class.from_pretrained(
            folder, config=config, dtype=dtype, output_loading_info=True, weights_only=True, trust_remote_code=False
        )
    if missing := sorted(loading["missing_keys"]):
        raise CheckpointError(f"{folder} lacks {len(missing)} weights of its model, first {missing[0]}: fetch it again")
    model: PreTrainedModel = loaded.to(device).eval()
    return model


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase | None:
    """Load the folder's tokenizer, or return None when there is none.

    Raises:
        CheckpointError: there are tokenizer files, and they cannot be read.
    """
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return None
    try:
        with quiet_transformers():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
        raise CheckpointError(f"the tokenizer in {folder} cannot be read ({error}): fetch it again") from error
    return tokenizer


@contextmanager
def loading_from(folder: Path, kind: str) -> Iterator[None]:
    """Load a model quietly; whatever goes wrong is a `CheckpointError` that names the kind of model."""
    try:
        with quiet_transformers():
            yield
    except Exception as error:  # transformers raises a dozen kinds for a bad folder; each becomes one message
        reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{folder} cannot be loaded as {kind}: {reason}; check config.json, or fetch the checkpoint again"
        ) from error
