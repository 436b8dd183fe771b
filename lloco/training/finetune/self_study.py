"""Self-study: the adapter learns to say from vectors what the same model says that reads the text.

Each row asks about one document, perhaps among others, perhaps also about one that is not there. The passages that the
answers stand in are read as text in a row of their own, which is learned too and teaches the other where it is right.
A share of the rows asks unrelated questions, whose answers must stay those of the model without the adapter. Rows are a
pure function of seed and step.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files

import torch
from torch import Tensor, nn

from lloco.compressors.lora_weights import lora_off
from lloco.errors import LlocoError
from lloco.models.tokenize import token_ids
from lloco.prompts.branched_rows import Branch, BranchedRow, question_branch
from lloco.prompts.prompt import answer_ids
from lloco.training.adapt.samples import NOT_ANSWERABLE
from lloco.training.distillation import divergences, targets_of, taught
from lloco.training.finetune.example import Example
from lloco.training.finetune.examples import MeasuredExample
from lloco.training.finetune.stage import AnswerStage


@dataclass(frozen=True, slots=True)
class SelfStudyOptions:
    """How rows are made of questions, and what they learn."""

    distillation_ratio: float = 0.5
    """Weight of what the same model says that reads the text, where it is right; the rest is the answers'."""
    distillation_top_k: int = 20
    """Tokens, the likeliest at each position, whose probabilities are matched."""
    distractor_ratio: float = 0.25
    """Share of the rows that hold one to three other documents as well."""
    not_answerable_ratio: float = 0.1
    """Share of the rows that are also asked about a document that is not in them."""
    unrelated_ratio: float = 0.1
    """Share of unrelated questions, which the adapter must not change."""

    def __post_init__(self) -> None:
        for name in ("distillation_ratio", "distractor_ratio", "not_answerable_ratio", "unrelated_ratio"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise LlocoError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if self.distillation_top_k < 1:
            raise LlocoError(f"distillation_top_k must be at least 1, got {self.distillation_top_k}")


@dataclass(frozen=True, slots=True, eq=False)
class StudyRow:
    """One document with its questions, or unrelated questions."""

    document_ids: tuple[str, ...]
    """Documents that are read as vectors, in order; none with some of the unrelated questions."""
    examples: tuple[MeasuredExample, ...]
    is_unrelated: bool = False

    @property
    def num_targets(self) -> int:
        """Tokens of answers and EOS."""
        return sum(len(measured.target_ids) for measured in self.examples)

    @property
    def passages(self) -> tuple[str, ...]:
        """The texts that answers stand in, each once."""
        return tuple(dict.fromkeys(measured.example.passage for measured in self.examples if measured.example.passage))


class SelfStudyStage:
    """Micro-batches of rows and their losses, for `loop.train`."""

    def __init__(self, answers: AnswerStage, options: SelfStudyOptions) -> None:
        """Study the examples of this stage, in its order and at its batch size."""
        self._answers = answers
        self._options = options
        self._document_ids = tuple(dict.fromkeys(measured.example.document_id for measured in answers.examples))

    def micro_batches(self, step: int) -> list[list[StudyRow]]:
        """Return the step's rows, in as many parts as its examples come in."""
        chooser = random.Random(self._answers.seed * 1_000_003 + step)
        return [
            [self._drawn(row, chooser) for row in self._answers.rows_of(batch)] + self._unrelated(len(batch), chooser)
            for batch in self._answers.micro_batches(step)
        ]

    def num_targets(self, batch: Sequence[StudyRow]) -> float:
        """Count the tokens of answers and EOS, those of rows that are read as text included."""
        return float(sum((1 + self._is_text_read(row)) * row.num_targets for row in batch))

    def loss_sum(self, batch: Sequence[StudyRow]) -> Tensor:
        """Return the sum of the targets' losses."""
        related = [row for row in batch if not row.is_unrelated]
        unrelated = [row for row in batch if row.is_unrelated]
        losses = [self._study_loss(related)] if related else []
        losses += [self._unrelated_loss(unrelated)] if unrelated else []
        return torch.stack(losses).sum()

    def is_measured(self, step: int) -> bool:
        """Return whether held-out answers are due."""
        return self._answers.is_measured(step)

    def evaluate(self, step: int) -> dict[str, float]:
        """Measure held-out answers from vectors."""
        return self._answers.evaluate(step)

    def _study_loss(self, rows: Sequence[StudyRow]) -> Tensor:
        """Return the loss of rows of vectors, and of text where they are read as text too."""
        logits, targets = self._answers.branch_logits([self._vector_row(row) for row in rows])
        logits = logits.float()
        losses = nn.functional.cross_entropy(logits, targets, reduction="none")
        read = [index for index, row in enumerate(rows) if self._is_text_read(row)]
        if not read:
            return losses.sum()
        text_logits, text_targets = self._answers.branch_logits([self._text_row(rows[index]) for index in read])
        text_logits = text_logits.float()
        losses = taught(
            losses,
            logits,
            targets_of([row.num_targets for row in rows], read),
            text_logits,
            text_targets,
            ratio=self._options.distillation_ratio,
            top_k=self._options.distillation_top_k,
        )
        return losses.sum() + nn.functional.cross_entropy(text_logits, text_targets, reduction="sum")

    def _unrelated_loss(self, rows: Sequence[StudyRow]) -> Tensor:
        """Return how far unrelated answers are from those of the model without the adapter, which sees no document."""
        logits, _ = self._answers.branch_logits([self._vector_row(row) for row in rows])
        with torch.no_grad(), lora_off(self._answers.decoder.model):
            before, _ = self._answers.branch_logits([self._vector_row(replace(row, document_ids=())) for row in rows])
        return divergences(logits.float(), before.float()).sum()

    def _drawn(self, examples: Sequence[MeasuredExample], chooser: random.Random) -> StudyRow:
        """Return a row about the examples' document, with what is drawn beside it."""
        own = examples[0].example.document_id
        options, others = self._options, [id for id in self._document_ids if id != own]
        documents = [own]
        if chooser.random() < options.distractor_ratio and others:
            num_others = min(chooser.randint(1, 3), len(others))
            documents += chooser.sample(others, num_others)
            chooser.shuffle(documents)
        asked = list(examples)
        if chooser.random() < options.not_answerable_ratio:
            stranger = chooser.choice(self._answers.examples)
            if stranger.example.document_id not in documents and not stranger.example.options:
                asked.append(self._not_answerable(stranger))
        row = StudyRow(tuple(documents), tuple(asked))
        return row if self._fits(self._vector_row(row)) else StudyRow((own,), tuple(examples))

    def _not_answerable(self, stranger: MeasuredExample) -> MeasuredExample:
        example = replace(stranger.example, answer=NOT_ANSWERABLE, passage="")
        return replace(stranger, example=example, target_ids=self._target_ids(NOT_ANSWERABLE))

    def _unrelated(self, num_examples: int, chooser: random.Random) -> list[StudyRow]:
        """Return unrelated questions in their share, half of them with a document loaded."""
        rows = []
        for _ in range(num_examples):
            if chooser.random() >= self._options.unrelated_ratio:
                continue
            question, answer = chooser.choice(self._general)
            example = Example("", question, answer)
            loaded = (chooser.choice(self._document_ids),) if chooser.random() < 0.5 else ()
            measured = MeasuredExample(example, self._target_ids(answer), 0)
            rows.append(StudyRow(loaded, (measured,), is_unrelated=True))
        return rows

    @cached_property
    def _general(self) -> list[tuple[str, str]]:
        """Questions of everyday knowledge with answers, which no document is needed for."""
        lines = (files("lloco") / "bundled" / "general_questions.tsv").read_text(encoding="utf-8").splitlines()
        return [(question, answer) for question, answer in (line.split("\t") for line in lines)]

    def _target_ids(self, answer: str) -> Tensor:
        return answer_ids(self._answers.template, self._answers.decoder.require_tokenizer(), answer)

    def _vector_row(self, row: StudyRow) -> BranchedRow:
        return self._row(row, [self._answers.soft_prompts.embeds(id) for id in row.document_ids])

    def _text_row(self, row: StudyRow) -> BranchedRow:
        tokenizer = self._answers.decoder.require_tokenizer()
        return self._row(row, [token_ids(tokenizer, text) for text in row.passages])

    def _row(self, row: StudyRow, context: Sequence[Tensor]) -> BranchedRow:
        worded = [self._worded(measured, is_alone=not context) for measured in row.examples]
        before = worded[0][0]
        pieces = tuple(piece for piece in (before, *context) if len(piece))
        return BranchedRow(pieces, tuple(branch for _, branch in worded))

    def _worded(self, measured: MeasuredExample, *, is_alone: bool) -> tuple[Tensor, Branch]:
        """Return the tokens before the context and the question with its answer; without a context there are none."""
        example, tokenizer = measured.example, self._answers.decoder.require_tokenizer()
        return question_branch(
            self._answers.template,
            tokenizer,
            example.question,
            measured.target_ids,
            example.options,
            has_context=not is_alone,
        )

    def _is_text_read(self, row: StudyRow) -> bool:
        """Return whether the row is read as text too: its passages are known and fit."""
        if row.is_unrelated or not row.passages:
            return False
        return self._fits(self._text_row(row))

    def _fits(self, row: BranchedRow) -> bool:
        longest = row.context_len + max(len(branch.ids) for branch in row.branches)
        num_vectors = sum(len(piece) for piece in row.context if piece.is_floating_point())
        return num_vectors <= self._answers.decoder.vectors_beside(longest - num_vectors)
