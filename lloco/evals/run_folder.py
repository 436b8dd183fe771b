"""The folder of an evaluation: one run's, and one process's at a time.

`run.json` holds the settings of the run that began there. The lock is on the empty file `.lock`; the system frees it
when its process ends, however that ends. On Windows nothing is locked.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lloco.durable import make_folder_durably, write_durably
from lloco.errors import DataError, OtherRunError
from lloco.evals.run_settings import Settings, differences
from lloco.strict_json import read_value

if sys.platform != "win32":
    import fcntl

RESULTS_FILE = "results.json"
PREDICTIONS_FOLDER = "predictions"
RUN_FILE = "run.json"
LOCK_FILE = ".lock"


@contextmanager
def claimed_folder(folder: Path, settings: Settings) -> Iterator[None]:
    """Keep the folder for this run while the block runs.

    Raises:
        DataError: another process works there.
        OtherRunError: the folder holds a run with other settings.
    """
    make_folder_durably(folder)
    with (folder / LOCK_FILE).open("ab") as file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(
                    f"a folder of its own was wanted for the results, another process is writing to {folder}: wait for "
                    "it, or give another --out"
                ) from None
        _begin(folder, json.loads(json.dumps(settings)))
        yield


def _begin(folder: Path, settings: Settings) -> None:
    """Write down what run this is, or see that it is the one that left something there."""
    path = folder / RUN_FILE
    if not (folder / RESULTS_FILE).exists() and not any((folder / PREDICTIONS_FOLDER).glob("*")):
        write_durably(path, (json.dumps(settings, indent=2) + "\n").encode())
        return
    begun = read_value(path) if path.exists() else {}
    if was := differences(begun if isinstance(begun, dict) else {}, settings):
        raise OtherRunError(
            f"the same run or an empty folder was wanted, {folder} holds a run with other options, which had {was}: "
            "give another --out, or remove the folder"
        )
