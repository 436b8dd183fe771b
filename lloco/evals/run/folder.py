"""The folder of an evaluation: one run's, and one process's at a time.

`run.json` holds the settings of the run that began there. The lock is on the empty file `.lock`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lloco.errors import DataError
from lloco.evals.run.settings import Settings, differences
from lloco.files.durable import LOCK_FILE, locked, make_folder_durably, write_durably
from lloco.files.strict_json import read_value

RESULTS_FILE = "results.json"
PREDICTIONS_FOLDER = "predictions"
RUN_FILE = "run.json"
QUESTIONS_FILE = "questions.jsonl"
"""Questions that were generated for the run."""


@contextmanager
def claimed_folder(folder: Path, settings: Settings) -> Iterator[None]:
    """Keep the folder for this run while the block runs.

    Raises:
        DataError: another process works there, or the folder holds a run with other settings.
    """
    make_folder_durably(folder)
    taken = f"another process is writing its results to {folder}: wait for it, or give another --out"
    with locked(folder / LOCK_FILE, taken):
        if other := other_run(folder, settings):
            raise DataError(
                f"--out must hold the same run or be empty, {other}: give another --out, or remove the folder"
            )
        if not _has_begun(folder):
            write_durably(folder / RUN_FILE, (json.dumps(settings, indent=2) + "\n").encode())
        yield


def fitting_folder(folder: Path, settings: Settings) -> Path:
    """Return the folder of this name, or of this name and a number, that holds this run; else the first without any."""
    folders = [folder, *(folder.with_name(f"{folder.name}-{number}") for number in range(2, 1000))]
    own = [folder for folder in folders if _has_begun(folder) and not other_run(folder, settings)]
    return own[0] if own else next(folder for folder in folders if not _has_begun(folder))


def other_run(folder: Path, settings: Settings) -> str:
    """Say of the run in the folder what differs from these settings; "" where it is the same, or there is none."""
    if not _has_begun(folder):
        return ""
    path = folder / RUN_FILE
    begun = read_value(path) if path.exists() else {}
    was = differences(begun if isinstance(begun, dict) else {}, json.loads(json.dumps(settings)))
    return was and f"{folder} holds a run with other options, which had {was}"


def _has_begun(folder: Path) -> bool:
    return (folder / RESULTS_FILE).exists() or any((folder / PREDICTIONS_FOLDER).glob("*"))
