"""The flags of `lloco predict` and `lloco evaluate` that say what is asked: a task's data, or questions to generate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.cli import options
from lloco.cli.output import Output

if TYPE_CHECKING:
    from lloco.models.decoder import Decoder
    from lloco.prompts.template import Template
    from lloco.tasks.ruler import RulerOptions
    from lloco.tasks.sample import Sample

GENERATED = "ruler"
LONGEST = 131_072
"""RULER's longest texts."""
DEFAULT_LENGTH, DEFAULT_NUM_QUESTIONS = 4096, 20


@dataclass(frozen=True, slots=True)
class TaskFlags:
    """The flags as they were typed."""

    task: options.Task
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help="Task data: a file, a folder or a hub id [default: task ruler "
                     "generates its own]."),
    ] = None  # fmt: skip
    subtasks: Annotated[
        str | None,
        typer.Option("--subtasks", metavar="A,B,...", help="Of task ruler, with --limit questions of each [default: "
                     f"all, {DEFAULT_NUM_QUESTIONS} of each]."),
    ] = None  # fmt: skip
    length: Annotated[
        int | None,
        typer.Option("--length", parser=options.at_least(1, LONGEST), metavar="N", help="Tokens of task ruler's "
                     f"texts, with question and answer [default: {DEFAULT_LENGTH}]."),
    ] = None  # fmt: skip

    def asked(self, limit: int | None, seed: int) -> "Asked":
        """Read the questions, or say which ones are to be generated; loads nothing slow.

        Raises:
            DataError: the data cannot be read, or is not the task's.
            typer.BadParameter: flags that do not go together.
        """
        generates = self.task == GENERATED and self.data is None
        for flag, value in (("--subtasks", self.subtasks), ("--length", self.length)):
            if value is not None and not generates:
                what = "not of --data" if self.task == GENERATED else f"not of --task {self.task}"
                raise typer.BadParameter(
                    f"is of the questions that --task ruler generates, {what}", param_hint=f"'{flag}'"
                )
        if generates:
            return Asked(self, None, self._ruler(limit, seed))
        if self.data is None:
            raise typer.BadParameter(
                f"must name a file, a folder or a hub id: --task {self.task} has data", param_hint="'--data'"
            )
        from lloco.tasks.task import load_samples

        return Asked(self, load_samples(self.task, self.data, limit=limit), None)

    def _ruler(self, limit: int | None, seed: int) -> "RulerOptions":
        from lloco.tasks.ruler import SUBTASKS, RulerOptions

        names = tuple(SUBTASKS)
        if self.subtasks is not None:
            names = tuple(name.strip() for name in self.subtasks.split(","))
        for index, name in enumerate(names):
            if name not in SUBTASKS:
                some = f"choose some of {', '.join(SUBTASKS)}"
                raise typer.BadParameter(f"there is no subtask {name!r}, {some}", param_hint="'--subtasks'")
            if name in names[:index]:
                raise typer.BadParameter(f"subtask {name} is named twice, name each once", param_hint="'--subtasks'")
        return RulerOptions(names, self.length or DEFAULT_LENGTH, limit or DEFAULT_NUM_QUESTIONS, seed)


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions of a run; generated ones depend on the tokenizer of the model that answers them."""

    flags: TaskFlags
    known: "list[Sample] | None"
    ruler: "RulerOptions | None"

    def samples_for(self, template: "Template | None", output: Output) -> "Callable[[Decoder], list[Sample]]":
        """Return what gives the questions for a decoder; texts leave room for the wording."""

        def samples_of(decoder: "Decoder") -> "list[Sample]":
            if self.ruler is None:
                assert self.known is not None
                return self.known
            from lloco.tasks.prompt_len import prompt_len
            from lloco.tasks.ruler import build_ruler

            num_all = self.ruler.num_questions * len(self.ruler.subtasks)
            output.say(f"generating {num_all:,} questions about texts of {self.ruler.length:,} tokens")
            tokenizer = decoder.require_tokenizer()
            return build_ruler(self.ruler, lambda sample: prompt_len(tokenizer, sample, template))

        return samples_of

    def keep(self, samples: "Sequence[Sample]", path: Path) -> str:
        """Write generated questions to the file, which `lloco score` reads; returns what to call the data."""
        if self.ruler is None:
            assert self.flags.data is not None
            return self.flags.data
        from lloco.tasks.ruler import write_ruler

        write_ruler(samples, path)
        return str(path)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What results record about the data."""
        if self.ruler is None:
            return {"data": self.flags.data}
        ruler = self.ruler
        return {"data": "generated", "subtasks": list(ruler.subtasks), "length": ruler.length}
