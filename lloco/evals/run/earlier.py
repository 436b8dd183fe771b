"""Another run of the same questions, read from its folder, to be shown beside the present one.

So one plot shows several compression ratios, compressors or adapters. Its answers are not read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lloco.errors import DataError
from lloco.evals.result_row import ResultRow
from lloco.evals.run.folder import RESULTS_FILE, RUN_FILE
from lloco.evals.run.settings import questions_digest, references_digest
from lloco.files.strict_json import read_value
from lloco.tasks.sample import Sample


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """A run's rows."""

    name: str
    """Of its folder."""
    rows: tuple[ResultRow, ...]
    reader: str
    """Says what read the documents, as `reader_of` does."""


def read_earlier_run(folder: Path, task: str, samples: Sequence[Sample]) -> EarlierRun:
    """Read the results in a folder of `lloco evaluate`.

    Raises:
        DataError: there are none, or they are of other questions, or scored by other references.
    """
    if not (folder / RESULTS_FILE).exists():
        raise DataError(f"there is no run in {folder}: name a folder that `lloco evaluate` has written to the end")
    results, run = _object(folder / RESULTS_FILE), _object(folder / RUN_FILE)
    if (run.get("task"), run.get("samples")) != (task, questions_digest(samples)):
        raise DataError(
            f"{folder} holds a run of other questions, {run.get('num_questions')} of {run.get('task')}, and cannot "
            "stand beside this one: give the --data and --limit that it had"
        )
    try:
        if results["options"]["references"] != references_digest(samples):
            raise DataError(
                f"{folder} was scored by other references and cannot stand beside this run: evaluate it again with "
                "this --data"
            )
        rows = tuple(ResultRow(**row) for row in results["rows"])
        # No plot shows a name that is not UTF-8.
        name = folder.resolve().name.encode(errors="backslashreplace").decode()
        return EarlierRun(name, rows, reader_of(results["options"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{folder / RESULTS_FILE} has results of another version ({error}): evaluate again") from error


def reader_of(options: Mapping[str, Any]) -> str:
    """Say which model and compressor a run had, and its refinement: rows of equal ones are points of one line."""
    return f"{options.get('model_digest')} {options.get('compressor_digest')} {options.get('refine_steps') or 0}"


def _object(path: Path) -> dict[str, Any]:
    value = read_value(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} must hold the results of a run, it holds no JSON object: name a folder of evaluate")
    return value
