"""The verbs as functions: `lloco.compress`, `lloco.questions`, `lloco.finetune` and `lloco.evaluate`.

Keyword arguments are the verb's flags, with underscores for hyphens. Progress and hints stay silent unless
`is_quiet=False`; warnings go to standard error as a verb's do.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import typer

from lloco.cli.eval_session import ReadingFlags
from lloco.cli.finetune_flags import Learned, Recipe
from lloco.cli.output import Output
from lloco.cli.study_session import StudyFlags
from lloco.cli.task_flags import TaskFlags
from lloco.cli.verbs.compress import CompressFlags, compress_paths
from lloco.cli.verbs.evaluate import evaluate_task, modes_of
from lloco.cli.verbs.finetune import FinetuneRun
from lloco.cli.verbs.questions import GeneratorFlags, counted, made_questions, planned
from lloco.errors import LlocoError
from lloco.evals.mode import DEFAULT_MODES

if TYPE_CHECKING:
    from lloco.compression.run import CompressReport
    from lloco.evals.results import Results

_Flags = TypeVar("_Flags")


def compress(
    paths: str | Path | Sequence[str | Path],
    corpus: str,
    *,
    store: str | Path | None = None,
    prune: bool = False,
    is_quiet: bool = True,
    **flags: Any,
) -> "CompressReport":
    """Compress files and folders into a corpus, as `lloco compress` does; what is there unchanged is skipped.

    Args:
        paths: files or folders.
        corpus: name of the corpus; a new name makes one.
        store: folder of the store; by default $LLOCO_HOME, or the user's data folder.
        prune: remove documents of the corpus that are no longer among the files.
        is_quiet: show no progress.
        flags: `ratio`, `storage_dtype`, `refine`, `compressor` and the other flags of the verb.

    Raises:
        LlocoError: nothing could be read or compressed, or a flag cannot be meant.
        TypeError: a keyword is no flag of the verb.
    """
    chosen = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    with _plain_errors():
        made = _made(CompressFlags, flags)
        _, report, _ = compress_paths(chosen, corpus, made, Output(is_quiet=is_quiet), store=_path(store), prune=prune)
    return report


def questions(
    corpus: str,
    out: str | Path | None = None,
    *,
    store: str | Path | None = None,
    device: str | None = None,
    dtype: str | None = None,
    is_quiet: bool = True,
    **flags: Any,
) -> dict[str, Any]:
    """Make question-answer pairs from a corpus's documents, as `lloco questions` does; returns what was made and kept.

    Args:
        corpus: name of the corpus.
        out: file of the questions, its path is `["out"]` of the result; by default questions-CORPUS.jsonl.
        store: as for `compress`.
        device: where a model that writes them runs.
        dtype: type that it computes in.
        is_quiet: as for `compress`.
        flags: `num`, `generator`, `generator_model` and the other flags of the verb.

    Raises:
        LlocoError: there is no such corpus, or the generator failed.
        TypeError: a keyword is no flag of the verb.
    """
    from lloco.store.store import Store

    output, path = Output(is_quiet=is_quiet), Path(out or f"questions-{corpus}.jsonl")
    with _plain_errors():
        generator = _made(GeneratorFlags, flags)
        generator.check()
        with Store(_path(store)) as opened:
            found = opened.corpus(corpus, create=False)
            plan = planned(found, generator, output)
            study, counts = made_questions(found, plan, generator, path, output, device=device, dtype=dtype)
    return {"corpus": corpus, "out": str(path), **counted(study, counts)}


def finetune(
    corpus: str,
    data: str | Path | None = None,
    *,
    validation: str | Path | None = None,
    template: str | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    is_quiet: bool = True,
    **flags: Any,
) -> Path:
    """Train the adapter that reads a corpus, as `lloco finetune` does; returns its folder.

    Args:
        corpus: name of the corpus, whose own the adapter becomes.
        data: lines {question, answer, document}; None with `self_study=True`.
        validation: held-out questions in the same form.
        template: wording; by default the one that suits the questions.
        out: folder of the run; by default finetune-CORPUS.
        store: as for `compress`.
        is_quiet: as for `compress`.
        flags: `self_study`, `num_steps`, `learning_rate`, `model` and the other flags of the verb.

    Raises:
        LlocoError: no such corpus, bad questions, or a run that cannot go on.
        TypeError: a keyword is no flag of the verb.
    """
    from lloco.store.store import Store

    with _plain_errors():
        learned, recipe, study, generator = _made_each((Learned, Recipe, StudyFlags, GeneratorFlags), flags)
        if data is None and not study.self_study:
            raise LlocoError("give questions with data=FILE, or let self_study=True make them")
        study.check()
        if learned.adapter is not None:
            recipe.check_start(learned.adapter)
        with Store(_path(store)) as opened:
            run = FinetuneRun(opened, corpus, learned, recipe, study, generator, Output(is_quiet=is_quiet))
            values = run.finetune(_text(data), _text(validation), template, _path(out))
    return Path(values["adapter"])


def evaluate(
    task: str,
    data: str | Path | None = None,
    *,
    subtasks: Sequence[str] | None = None,
    length: int | None = None,
    modes: Sequence[str] = DEFAULT_MODES,
    out: str | Path | None = None,
    beside: Sequence[str | Path] = (),
    is_quiet: bool = True,
    **flags: Any,
) -> "Results":
    """Answer and score a task in several modes of reading, as `lloco evaluate` does.

    Args:
        task: "jsonl", "fairytaleqa" or another task.
        data: its file, folder or hub id; task "ruler" generates its own.
        subtasks: of task "ruler"; all by default.
        length: tokens of its texts.
        modes: what is read; MODE+adapter reads with the adapter.
        out: folder of results and answers; by default evaluate-TASK.
        beside: folders of earlier runs to draw beside this one.
        is_quiet: as for `compress`.
        flags: `corpus`, `model`, `limit`, `max_tokens` and the other flags of the verb.

    Raises:
        LlocoError: the task's data cannot be read, or a mode has nothing to read.
        TypeError: a keyword is no flag of the verb.
    """
    if "budget" in flags:
        flags["context_budget"] = flags.pop("budget")
    with _plain_errors():
        reading = _made(ReadingFlags, flags)
        asking = TaskFlags(task, _text(data), None if subtasks is None else ",".join(subtasks), length)
        results, _ = evaluate_task(
            asking,
            modes_of(",".join(modes)),
            reading,
            Output(is_quiet=is_quiet),
            out=_path(out),
            beside=[Path(run) for run in beside],
            command=f"lloco.evaluate({task!r}, {_text(data)!r})",
        )
    return results


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise what the command line calls a usage error as `LlocoError`."""
    try:
        yield
    except typer.BadParameter as error:
        hint = f"{error.param_hint}: " if error.param_hint else ""
        raise LlocoError(f"{hint}{error.message}") from error


def _made(kind: type[_Flags], flags: dict[str, Any]) -> _Flags:
    made: _Flags
    [made] = _made_each((kind,), flags)
    return made


def _made_each(kinds: Sequence[type[Any]], flags: dict[str, Any]) -> list[Any]:
    """Give each group of flags those that are its own; raises `TypeError` for a keyword that is nobody's."""
    own = [get_type_hints(kind) for kind in kinds]
    known = set().union(*own)
    if unknown := sorted(set(flags) - known):
        raise TypeError(f"there is no keyword {unknown[0]!r}: choose from {', '.join(sorted(known))}")
    return [
        kind(**{name: _as(types[name], value) for name, value in flags.items() if name in types})
        for kind, types in zip(kinds, own, strict=True)
    ]


def _as(wanted: Any, value: Any) -> Any:
    """Make a path of text where a flag is a path."""
    is_path = wanted is Path or Path in get_args(wanted)
    return Path(value) if is_path and isinstance(value, str) else value


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def _text(value: str | Path | None) -> str | None:
    return None if value is None else str(value)
