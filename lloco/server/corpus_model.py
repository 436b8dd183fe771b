"""The decoder that answers for a corpus: its name, its size, and what it is good for. Loads no weights."""

from contextlib import suppress
from pathlib import Path

from safetensors import safe_open

from lloco.adapters.origin import read_origin
from lloco.compressors.delta import is_delta, read_delta_settings
from lloco.errors import LlocoError
from lloco.models.checkpoint import weight_files
from lloco.models.converted import converted_folder, read_gguf_origin
from lloco.models.named import RECORDS, SMOLLM2, SMOLLM2_WHEEL, bundled_folder, default_model, full_name
from lloco.server.engines import Engines
from lloco.server.wire.responses import AnsweringModel
from lloco.store.corpus import Corpus

_SMOLLM2_USE = (
    "Small: short answers about ordinary documents. Vectors alone often mislead it; hybrid is close to the full text."
)
_RECORDS_USE = (
    f"{RECORDS} knows only invented records like those it was trained on: answers about your own files will usually be "
    "wrong."
)


def describe_model(corpus: Corpus, engines: Engines) -> AnsweringModel:
    """Return what answers a question about this corpus that names no mode."""
    name = _decoder_name(corpus, engines)
    decoder = None
    with suppress(LlocoError):  # an adapter whose file cannot be read fails its questions, not this list
        decoder = engines.loaded_decoder(corpus)
    return AnsweringModel(
        name=Path(name).name if Path(name).is_absolute() else name,
        num_parameters=_num_parameters(name) if decoder is None else int(decoder.model.num_parameters()),
        good_for=_use(name),
        is_loaded=decoder is not None,
        mode=engines.mode,
    )


def _decoder_name(corpus: Corpus, engines: Engines) -> str:
    """Return the name under which the decoder would be loaded."""
    if (named := engines.text_model) is not None:
        return full_name(named)
    with suppress(LlocoError):
        adapter = corpus.adapter_folder()
        origin = None if adapter is None else read_origin(adapter)
        if origin is not None and origin.base_model_digest != corpus.compressor_digest:
            return full_name(origin.base_model)
    return full_name(corpus.compressor_name or engines.compressor_name or default_model())


def _use(name: str) -> str | None:
    if name == SMOLLM2:
        return _SMOLLM2_USE
    return None if bundled_folder(name) is None else _RECORDS_USE


def _num_parameters(name: str) -> int | None:
    """Count the parameters of a model in a local folder, from the head of its files; None where there is none."""
    if name == SMOLLM2:
        origin = read_gguf_origin(converted_folder(SMOLLM2_WHEEL.sha256))
        return None if origin is None else origin.num_parameters
    folder = bundled_folder(name) or Path(name)
    if not folder.is_dir():
        return None
    with suppress(LlocoError, OSError):
        if is_delta(folder):
            base = read_delta_settings(folder).base
            return None if base == name else _num_parameters(full_name(base))
        files = weight_files(folder)
        if all(file.suffix == ".safetensors" for file in files):
            return sum(map(_num_values, files))
    return None


def _num_values(file: Path) -> int:
    total = 0
    with safe_open(file, framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 -- not a mapping
            size = 1
            for length in tensors.get_slice(name).get_shape():
                size *= length
            total += size
    return total
