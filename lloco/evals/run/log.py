"""Predictions on the disk while they are made: a log that a killed run goes on from, then the `{id: text}` file.

`OUT.partial.jsonl` has a line that says what run it belongs to, then a line per prediction, flushed to the disk batch
by batch. When all are there it becomes `OUT.details.jsonl`, and OUT is written. Another run's log is refused.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lloco.errors import DataError
from lloco.evals.run.settings import Settings, differences
from lloco.files.durable import fsync_folder, locked, make_folder_durably, write_durably


@dataclass(frozen=True, slots=True)
class Prediction:
    """An answer, with what was read to give it."""

    id: str
    text: str
    num_context_tokens: int
    """Document tokens that were read as text."""
    num_virtual_tokens: int
    num_document_tokens: int
    """Tokens that the document has."""
    num_soft_prompt_tokens: int = 0
    """Virtual tokens of the whole soft prompt, of which a cut context has the first."""
    is_cut: bool = False
    """Whether the context was shortened because the decoder has too few positions."""
    is_answer_cut: bool = False
    """Whether the answer ended because it was as long as it may be."""
    seconds: float = 0.0
    """Its share of the time in which its batch was generated."""


class WorkLog:
    """The log of one run of predictions; `settings` are everything that decides what the predictions are."""

    def __init__(self, out: Path, settings: Settings) -> None:
        self.out = out
        self.partial = out.with_name(f"{out.name}.partial.jsonl")
        self.details = out.with_name(f"{out.name}.details.jsonl")
        self._settings = json.loads(json.dumps(settings))

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep the log for this process while the block runs.

        Raises:
            DataError: another process writes it.
        """
        make_folder_durably(self.out.parent)
        taken = f"another process is writing its predictions to {self.out}: wait for it, or name another file"
        with locked(self.partial, taken):
            try:
                yield
            finally:
                if self.partial.exists() and not self.partial.stat().st_size:
                    self.partial.unlink()

    def begin(self) -> list[Prediction]:
        """Return what an earlier, equal run has already predicted; a torn last line is cut off the log.

        Raises:
            DataError: the log that is there is damaged, or another run's.
        """
        data = self.partial.read_bytes()
        if not data:
            return self._finished()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            os.truncate(self.partial, len(whole))
        if not whole:
            return []
        begun, predictions = _parse(whole, self.partial)
        if was := differences(begun, self._settings):
            raise DataError(
                f"unfinished predictions in {self.partial} belong to another run, which had {was}: finish that run as "
                "it was begun, remove the file, or write to another place"
            )
        return predictions

    def append(self, predictions: Iterable[Prediction]) -> None:
        """Add a batch; it is on the disk when this returns."""
        with self.partial.open("ab") as file:
            is_new = file.tell() == 0
            if is_new:
                file.write(_line({"run": self._settings}))
            file.write(b"".join(_line(asdict(prediction)) for prediction in predictions))
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            fsync_folder(self.out.parent)

    def finish(self, predictions: Sequence[Prediction]) -> None:
        """Write the predictions file, then keep the log under its final name."""
        texts = {prediction.id: prediction.text for prediction in predictions}
        write_durably(self.out, (json.dumps(texts, indent=1, ensure_ascii=False) + "\n").encode())
        if self.partial.stat().st_size:
            self.partial.replace(self.details)
            fsync_folder(self.out.parent)

    def _finished(self) -> list[Prediction]:
        """Predictions of an equal run that came to its end; another run's files are going to be replaced."""
        if not (self.details.exists() and self.out.exists()):
            return []
        begun, predictions = _parse(self.details.read_bytes(), self.details)
        return predictions if begun == self._settings else []


def _line(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False) + "\n").encode()


def _parse(data: bytes, path: Path) -> tuple[dict[str, Any], list[Prediction]]:
    names = {field.name for field in fields(Prediction)}
    values = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise _damaged(path, number) from error
        if number > 1 and isinstance(value, dict) and "num_soft_prompt_tokens" not in value:
            value["num_soft_prompt_tokens"] = value.get("num_virtual_tokens")  # logs of before do not tell
        if number > 1 and isinstance(value, dict):
            value.setdefault("is_answer_cut", False)  # nor this
        if not isinstance(value, dict) or set(value) != ({"run"} if number == 1 else names):
            raise _damaged(path, number)
        values.append(value)
    return values[0]["run"], [Prediction(**value) for value in values[1:]]


def _damaged(path: Path, number: int) -> DataError:
    return DataError(f"{path}, line {number}: the prediction log is damaged: remove the file")
