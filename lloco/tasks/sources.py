"""Where task data comes from: a file, a folder, or a data set published on the Hugging Face Hub; all become rows.

Knows file names, splits and archives; not what the fields of a row mean.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lloco.errors import DataError
from lloco.files.strict_json import read_archived_values, read_values
from lloco.tasks.row import Row, as_row

_SUFFIXES = (".json", ".jsonl", ".dev", ".train", ".test")
_SPLIT_WORDS = {"train": {"train"}, "validation": {"validation", "valid", "val", "dev"}, "test": {"test"}}
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+(?::[\w.-]+)?$")


@dataclass(frozen=True, slots=True)
class Published:
    """How a data set is laid out on the Hub: its id, the configurations to read, the split to evaluate on.

    Sets that were published with a loading script, which `datasets` 4 and later no longer runs, are read from the
    archive that lies beside the script: `archive` and `member` are patterns over `{config}` and `{split}`.
    """

    id: str
    configs: tuple[str, ...] = ()
    split: str = "validation"
    archive: str | None = None
    member: str = ""


def read_rows(data: str | Path, published: Published | None, split: str) -> Iterator[Row]:
    """Rows of a file, of a folder's files of this split, or of a hub id (`owner/name`, or `owner/name:config`)."""
    path = Path(data)
    if path.is_file():
        return _file_rows([path])
    if path.is_dir():
        return _folder_rows(path, published, split)
    if isinstance(data, str) and _is_hub_id(data):
        name, _, config = data.partition(":")
        layout = published if published is not None and name == published.id else Published(name)
        return _hub_rows(layout, (config,) if config else layout.configs, split)
    raise DataError(
        f"task data: there is no file or folder {data}: check the path, or give a hub id such as owner/name"
    )


def _is_hub_id(data: str) -> bool:
    is_path = data.endswith((*_SUFFIXES, ".gz")) or Path(data).parent.is_dir()
    return _HUB_ID.match(data) is not None and not is_path


def _file_rows(files: Iterable[Path]) -> Iterator[Row]:
    for file in files:
        for where, value in read_values(file):
            yield as_row(value, where)


def _folder_rows(folder: Path, published: Published | None, split: str) -> Iterator[Row]:
    """A folder of plain files, or a copy of a published set: its parquet files, or its archives."""
    layout = published if published is not None else Published(folder.name)
    if layout.archive is not None and any((folder / name).is_file() for name in _archives(layout)):
        return _archive_rows(folder.joinpath, layout, layout.configs, split)
    folders = [folder / config for config in layout.configs if (folder / config).is_dir()] or [folder]
    parquet = [file for folder in folders for file in sorted(folder.rglob("*.parquet")) if _splits(file) & {split}]
    if parquet:
        files = [str(file) for file in parquet]
        return _loaded_rows(str(folder), split, "parquet", data_files={split: files})
    return _file_rows([file for folder in folders for file in _files_of_split(folder, layout.configs, split)])


def _archives(layout: Published) -> list[str]:
    return [(layout.archive or "").format(config=config) for config in layout.configs]


def _files_of_split(folder: Path, configs: tuple[str, ...], split: str) -> list[Path]:
    """Data files of a folder: those named after the split, else those that name none."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and _stem(file) is not None)
    files = [file for file in files if "htmlstripped" in file.name] or files
    files = [file for file in files if _stem(file) in configs] or files
    of_split = [file for file in files if _splits(file) & {split}] or [file for file in files if not _splits(file)]
    if not of_split:
        found = ", ".join(file.name for file in files) or "none"
        raise DataError(
            f"task data: {folder} has no files of the {split} split (.json or .jsonl, gzipped or not), found {found}: "
            "give the file itself"
        )
    return of_split


def _stem(file: Path) -> str | None:
    """The name without data suffixes, or None when it is not a data file."""
    name = file.name.lower().removesuffix(".gz")
    suffix = next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), None)
    return None if suffix is None or name.startswith(".") else name.removesuffix(suffix)


def _splits(file: Path) -> set[str]:
    words = set(re.split(r"[._-]", file.name.lower()))
    return {split for split, names in _SPLIT_WORDS.items() if words & names}


def _hub_rows(layout: Published, configs: tuple[str, ...], split: str) -> Iterator[Row]:
    if layout.archive is not None:
        yield from _archive_rows(partial(_download, layout.id), layout, configs, split)
        return
    for config in configs or (None,):
        name = " ".join(part for part in (layout.id, config, split) if part)
        yield from _loaded_rows(name, split, layout.id, config)


def _archive_rows(
    find: Callable[[str], Path], layout: Published, configs: tuple[str, ...], split: str
) -> Iterator[Row]:
    for config in configs:
        archive = find((layout.archive or "").format(config=config))
        for where, value in read_archived_values(archive, layout.member.format(config=config, split=split)):
            yield as_row(value, where)


def _download(hub_id: str, archive: str) -> Path:
    from huggingface_hub import hf_hub_download  # of use for published sets only

    try:
        return Path(hf_hub_download(hub_id, archive, repo_type="dataset"))
    except (OSError, ValueError) as error:
        raise _unreachable(f"{archive} of {hub_id}", error) from error


def _loaded_rows(
    name: str, split: str, path: str, config: str | None = None, *, data_files: dict[str, Any] | None = None
) -> Iterator[Row]:
    from datasets import load_dataset  # several seconds to import, and of use for published sets only
    from datasets.exceptions import DatasetsError

    try:
        rows = load_dataset(path, config, data_files=data_files, split=split)
    except (DatasetsError, OSError, ValueError, RuntimeError) as error:
        raise _unreachable(f"the {split} split of {name}", error) from error
    for number, fields in enumerate(rows, start=1):
        yield as_row(fields, f"{name}, row {number}")


def _unreachable(needed: str, error: Exception) -> DataError:
    reason = str(error).strip().partition("\n")[0]
    return DataError(
        f"task data: {needed} cannot be had, {type(error).__name__}: {reason}: check the id and the connection, or "
        "download the files and give their folder"
    )
