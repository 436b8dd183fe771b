"""What `lloco finetune --self-study` does before it trains: questions made or read, and, for a refresh, chosen."""

import hashlib
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lloco.adapters.origin import ORIGIN_FILE
from lloco.cli.output import Output
from lloco.cli.verbs.questions import GeneratorFlags, made_questions, planned
from lloco.errors import DataError

if TYPE_CHECKING:
    from accelerate import PartialState

    from lloco.store.corpus import Corpus
    from lloco.training.finetune.questions import FinetuneData
    from lloco.training.finetune.self_study import SelfStudyOptions

STUDIED = "studied"
"""Key of an adapter's lloco.json: digests of the texts that it was trained on, by document id."""
WAIT_SECONDS = 5.0


def _share(flag: str, explanation: str) -> object:
    return typer.Option(flag, metavar="X", min=0, max=1, help=explanation)


@dataclass(frozen=True, slots=True)
class StudyFlags:
    """The flags of self-study."""

    self_study: Annotated[
        bool,
        typer.Option("--self-study", help="Make questions from the documents, as `lloco questions` does, and learn "
                     "what the same model says that reads the text; --data's are learned too."),
    ] = False  # fmt: skip
    questions: Annotated[
        Path | None,
        typer.Option("--questions", metavar="FILE", help="What `lloco questions` wrote, or is to be written now "
                     "[default: questions-CORPUS.jsonl]."),
    ] = None  # fmt: skip
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="Go on from the corpus's adapter with what is new or edited since, and as much "
                     "of the rest."),
    ] = False  # fmt: skip
    distillation_ratio: Annotated[
        float, _share("--distillation-ratio", "Weight of the reader of the text, beside the answers'.")
    ] = 0.5
    distractor_ratio: Annotated[float, _share("--distractor-ratio", "Share of rows with other documents as well.")] = (
        0.25
    )
    not_answerable_ratio: Annotated[
        float, _share("--not-answerable-ratio", "Share of rows with a question that no document of theirs answers.")
    ] = 0.1
    unrelated_ratio: Annotated[
        float, _share("--unrelated-ratio", "Share of unrelated questions, whose answers must not change.")
    ] = 0.1

    def check(self) -> None:
        """Raise where the flags do not fit one another."""
        if self.self_study:
            return
        for name, flag in (("questions", "--questions"), ("refresh", "--refresh")):
            if getattr(self, name):
                raise typer.BadParameter("it is part of self-study: give --self-study too", param_hint=f"'{flag}'")

    def study_options(self) -> "SelfStudyOptions | None":
        """Return them as the library takes them."""
        from lloco.training.finetune.self_study import SelfStudyOptions

        if not self.self_study:
            return None
        return SelfStudyOptions(
            distillation_ratio=self.distillation_ratio,
            distractor_ratio=self.distractor_ratio,
            not_answerable_ratio=self.not_answerable_ratio,
            unrelated_ratio=self.unrelated_ratio,
        )


def studied_questions(
    corpus: "Corpus",
    flags: StudyFlags,
    generator: GeneratorFlags,
    state: "PartialState",
    output: Output,
    *,
    device: str | None,
) -> "FinetuneData":
    """Make the questions of the corpus that are missing and read all; the first process makes them."""
    from lloco.self_study.question_file import missing_documents
    from lloco.training.finetune.questions import read_study_lines

    generator.check()
    path = flags.questions or Path(f"questions-{corpus.name}.jsonl")
    digests = {document.id: document.digest for document in corpus.documents()}
    if not state.is_main_process:
        while missing_documents(path, digests):
            time.sleep(WAIT_SECONDS)
    elif missing_documents(path, digests):
        output.say(
            f"self-study of corpus {corpus.name}: questions written by {generator.generator_model or generator.name}"
        )
        made_questions(corpus, planned(corpus, generator, output), generator, path, output, device=device, dtype=None)
        if left := missing_documents(path, digests):
            raise DataError(
                f"documents of corpus {corpus.name} were edited meanwhile, first {min(left)!r}: give the command again"
            )
    else:
        output.say(f"self-study of corpus {corpus.name}: questions of {path}")
    state.wait_for_everyone()
    data = read_study_lines(path)
    # Lines of documents that have left the corpus, or were edited, are no longer true.
    known = {document.id for document in data.documents if digests.get(document.id) == document.digest}
    examples = tuple(example for example in data.examples if example.document_id in known)
    if not examples:
        raise DataError(f"{path} must hold questions about the documents of corpus {corpus.name}, got none of them")
    return replace(data, examples=examples, documents=())


def studied_digests(corpus: "Corpus") -> dict[str, str]:
    """Return the digests of the texts that the corpus holds, as they are kept with an adapter."""
    return {document.id: document.digest for document in corpus.documents()}


def earlier_digests(adapter: Path | None) -> dict[str, str] | None:
    """Return those of the texts that an adapter was trained on; None where it does not say."""
    file = None if adapter is None else adapter / ORIGIN_FILE
    if file is None or not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8")).get(STUDIED)
    return found if isinstance(found, dict) else None


def refresh_of(
    corpus: "Corpus", data: "FinetuneData", adapter: Path | None, seed: int, output: Output
) -> tuple[Path, "FinetuneData", Path]:
    """Return the adapter that a refresh goes on from, what it learns, and a folder of its own.

    Raises:
        DataError: there is no adapter, it was not trained by self-study, or nothing has changed since.
    """
    start = adapter or corpus.adapter_folder()
    earlier, now = earlier_digests(start), studied_digests(corpus)
    if start is None or earlier is None:
        raise DataError(
            f"--refresh goes on from an adapter that `lloco finetune --self-study` made, corpus {corpus.name} has "
            "none: leave --refresh out"
        )
    if earlier == now:
        raise DataError(f"corpus {corpus.name} holds what its adapter was trained on: there is nothing to refresh")
    chosen = refreshed(data, earlier, now, seed)
    if not chosen.examples:
        raise DataError(
            f"corpus {corpus.name} has lost documents since its adapter was trained and got none: nothing to refresh"
        )
    output.say(f"refresh from {start}: {len(chosen.examples):,} of {len(data.examples):,} questions")
    return start, chosen, refresh_folder(corpus.name, earlier, now)


def refreshed(data: "FinetuneData", earlier: Mapping[str, str], now: Mapping[str, str], seed: int) -> "FinetuneData":
    """Return the questions of documents that are new or edited, and as many of the others, drawn from the seed.

    All together are at most half of the questions that there are, unless the new ones alone are more.
    """
    is_new = [earlier.get(example.document_id) != now.get(example.document_id) for example in data.examples]
    new = [example for example, changed in zip(data.examples, is_new, strict=True) if changed]
    others = [example for example, changed in zip(data.examples, is_new, strict=True) if not changed]
    num_replayed = max(0, min(len(new), len(others), len(data.examples) // 2 - len(new)))
    replayed = random.Random(seed).sample(others, num_replayed)
    return replace(data, examples=(*new, *replayed))


def refresh_folder(corpus: str, earlier: Mapping[str, str], now: Mapping[str, str]) -> Path:
    """Return a folder of its own for a refresh from these texts to those."""
    told = json.dumps([sorted(earlier.items()), sorted(now.items())])
    return Path(f"finetune-{corpus}-refresh-{hashlib.sha256(told.encode()).hexdigest()[:8]}")
