"""Rows of a public source: streamed from the Hugging Face Hub, or from a folder or file in the same layout.

A folder is a copy of the hub's repository, or just its data files. Plain texts come from files, or parts of the set,
in an order that the seed draws; questions come in the set's own order. Knows nothing of what the fields mean.
"""

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from public_sources import PublicSource

from lloco.errors import DataError
from lloco.files.strict_json import read_archived_values, read_values
from lloco.tasks.row import Row, as_row

_SUFFIXES = (".parquet", ".json", ".jsonl", ".json.gz", ".jsonl.gz")
_SPLITS = {"train": {"train"}, "validation": {"validation", "valid", "val", "dev"}, "test": {"test"}}
_SHUFFLED_TOGETHER = 100


def hub_rows(source: PublicSource, split: str, seed: int) -> Iterator[Row]:
    """Stream the rows of a split from the hub. Raises DataError where the hub or the set cannot be reached."""
    import datasets  # several seconds to import, and of use for the hub only
    from huggingface_hub import hf_hub_download

    failures = (datasets.exceptions.DatasetsError, httpx.HTTPError, OSError, ValueError, RuntimeError)
    try:
        if source.archive is not None:
            archive = Path(hf_hub_download(source.hub_id, source.archive, repo_type="dataset"))
            yield from _archived(source, archive, split)
            return
        rows = datasets.load_dataset(
            source.hub_id, source.config, split=split, revision=source.revision, streaming=True
        )
        if not source.has_questions:
            rows = rows.shuffle(seed=seed, buffer_size=_SHUFFLED_TOGETHER)
        for number, fields in enumerate(rows, start=1):
            yield Row(fields, f"{source.hub_id}, {split} row {number}")
    except DataError:
        raise
    except failures as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(
            f"the {split} split of {source.hub_id} was wanted, {type(error).__name__} came: {reason}: check the "
            f"connection, or download the set and give --local {source.name}=FOLDER"
        ) from error


def local_rows(source: PublicSource, path: Path, split: str, seed: int) -> Iterator[Row]:
    """Read the rows of a split from a folder or a file. Raises DataError where there is none, or it cannot be read."""
    if source.archive is not None and (archive := _archive(source, path)) is not None:
        yield from _archived(source, archive, split)
        return
    files = _files(source, path, split)
    if not source.has_questions:
        random.Random(seed).shuffle(files)
    for file in files:
        if file.suffix == ".parquet":
            yield from _parquet_rows(file)
        else:
            yield from (as_row(value, where) for where, value in read_values(file))


def _archive(source: PublicSource, path: Path) -> Path | None:
    if path.suffix == ".zip":
        return path
    archive = path / (source.archive or "")
    return archive if archive.is_file() else None


def _archived(source: PublicSource, archive: Path, split: str) -> Iterator[Row]:
    for where, value in read_archived_values(archive, source.member.format(split=split)):
        yield as_row(value, where)


def _files(source: PublicSource, path: Path, split: str) -> list[Path]:
    """Data files of the split: those that name it, or whose folder does; else those that name none."""
    if path.is_file():
        return [path]
    folder = path / source.config if source.config and (path / source.config).is_dir() else path
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name.lower().endswith(_SUFFIXES))
    named = {file: _split_of(file.relative_to(folder)) for file in files}
    chosen = [file for file in files if named[file] == split] or [file for file in files if named[file] is None]
    if not chosen:
        raise DataError(
            f"{source.name}: {split} files ({', '.join(_SUFFIXES)}) of {source.hub_id} were wanted in {path}, there "
            "are none: check the path"
        )
    return chosen


def _split_of(file: Path) -> str | None:
    words = {word for part in file.parts for word in re.split(r"[._-]", part.lower())}
    return next((split for split, names in _SPLITS.items() if words & names), None)


def _parquet_rows(file: Path) -> Iterator[Row]:
    import pyarrow.parquet as parquet

    number = 0
    try:
        for batch in parquet.ParquetFile(file).iter_batches(256):
            fields: dict[str, Any]
            for fields in batch.to_pylist():
                number += 1
                yield Row(fields, f"{file}, row {number}")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {file} as parquet ({error}): check the file, or fetch it again") from error
