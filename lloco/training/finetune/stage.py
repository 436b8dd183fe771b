"""Batches and loss of finetuning, for the one loop: cross-entropy of answer and EOS, given soft prompt and question.

The order of examples is a seeded permutation per epoch and a pure function of the step. Questions about one document
share a row, in which the document is read once. The output layer runs at target positions only, inside the model's own
forward, so that whatever a model does to its logits (soft-capping, scaling) stays its own. The loss is arXiv
2404.07979's.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from lloco.errors import LlocoError
from lloco.models.decoder import Decoder
from lloco.prompts.batch import IGNORED_LABEL, collate
from lloco.prompts.branched_rows import Branch, BranchedRow, can_branch, collate_branches, question_branch
from lloco.prompts.prompt import Prompt
from lloco.prompts.template import Template
from lloco.training.finetune.examples import MeasuredExample, SoftPrompts, example_prompt


class AnswerStage:
    """Micro-batches of examples and their losses; reads the decoder's model with whatever adapter it carries."""

    def __init__(
        self,
        decoder: Decoder,
        template: Template,
        soft_prompts: SoftPrompts,
        examples: Sequence[MeasuredExample],
        *,
        batch_size: int,
        micro_batch_size: int,
        num_samples: int,
        seed: int,
        questions_a_row: int = 1,
        bf16: bool = False,
        validation: Sequence[MeasuredExample] = (),
        evaluate_every: int = 100,
    ) -> None:
        self.decoder = decoder
        self.template = template
        self.soft_prompts = soft_prompts
        self.examples = examples
        self._document_ids = tuple(measured.example.document_id for measured in examples)
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self.num_samples = num_samples
        """Examples drawn in the whole run; the last step may be smaller than the others."""
        self.seed = seed
        self.questions_a_row = questions_a_row if can_branch(decoder) else 1
        self.bf16 = bf16
        self.validation = validation
        self.evaluate_every = evaluate_every

    def micro_batches(self, step: int) -> list[list[MeasuredExample]]:
        """Return the step's examples, long ones together so that little is padded."""
        documents = self._document_ids
        drawn = []
        for draw in range(step * self.batch_size, min((step + 1) * self.batch_size, self.num_samples)):
            epoch, index = divmod(draw, len(documents))
            drawn.append(self.examples[_epoch_order(self.seed, epoch, documents, self.questions_a_row)[index]])
        return self._split(drawn)

    def _split(self, examples: Sequence[MeasuredExample]) -> list[list[MeasuredExample]]:
        """Split into micro-batches that keep the examples of a row together."""
        rows = sorted(self._rows(examples, self.micro_batch_size), key=lambda row: -row[0].seq_len)
        batches: list[list[MeasuredExample]] = []
        for row in rows:
            if not batches or len(batches[-1]) + len(row) > self.micro_batch_size:
                batches.append([])
            batches[-1] += row
        return batches

    def rows_of(self, batch: Sequence[MeasuredExample]) -> list[list[MeasuredExample]]:
        """Return the examples of a micro-batch by the rows that they share."""
        return list(self._rows(batch, len(batch)))

    def _rows(self, examples: Sequence[MeasuredExample], largest: int) -> Iterator[list[MeasuredExample]]:
        """Yield neighbouring examples of one document, as many as share a row."""
        row: list[MeasuredExample] = []
        for measured in examples:
            is_same = row and row[0].example.document_id == measured.example.document_id
            if row and (not is_same or len(row) == min(self.questions_a_row, largest)):
                yield row
                row = []
            row.append(measured)
        if row:
            yield row

    def num_targets(self, batch: Sequence[MeasuredExample]) -> float:
        """Count the tokens of answers and EOS."""
        return float(sum(len(measured.target_ids) for measured in batch))

    def loss_sum(self, batch: Sequence[MeasuredExample]) -> Tensor:
        """Return the sum of the targets' cross-entropies, in float32."""
        logits, target_ids = self.target_logits(batch)
        return nn.functional.cross_entropy(logits.float(), target_ids, reduction="sum")

    def target_logits(self, batch: Sequence[MeasuredExample]) -> tuple[Tensor, Tensor]:
        """Return logits (num_targets, vocab_size) and ids (num_targets,) of all targets, example by example."""
        rows = self.rows_of(batch)
        return self._read_rows(rows) if len(rows) < len(batch) else self._read_apart(batch)

    def _read_rows(self, rows: Sequence[Sequence[MeasuredExample]]) -> tuple[Tensor, Tensor]:
        """Read rows in which several questions follow one document."""
        branched = []
        for row in rows:
            embeds = self.soft_prompts.embeds(row[0].example.document_id)
            worded = [self._worded(measured) for measured in row]
            before, _ = worded[0]
            branched.append(BranchedRow((before, embeds), tuple(branch for _, branch in worded)))
        return self.branch_logits(branched)

    def branch_logits(self, rows: Sequence[BranchedRow]) -> tuple[Tensor, Tensor]:
        """Return logits (num_targets, vocab_size) and ids (num_targets,) of the rows' targets, branch by branch.

        A model that reads no branches gets a row for each.
        """
        if not can_branch(self.decoder):
            return self._read_branches_apart(rows)
        inputs = collate_branches(rows, self.decoder)
        with _output_layer_at(self.decoder, inputs.before_targets):
            output = self.decoder.model(
                inputs_embeds=inputs.inputs_embeds,
                attention_mask=inputs.attention_mask,
                position_ids=inputs.position_ids,
                use_cache=False,
            )
        return output.logits[0], inputs.target_ids.to(self.decoder.device)

    def _read_branches_apart(self, rows: Sequence[BranchedRow]) -> tuple[Tensor, Tensor]:
        prompts, targets = [], []
        for row in rows:
            for branch in row.branches:
                first = int((branch.weights > 0).nonzero()[0])
                prompts.append(Prompt((*row.context, branch.ids[:first])))
                targets.append(branch.ids[first:])
        return self._read_prompts(prompts, targets)

    def _worded(self, measured: MeasuredExample) -> tuple[Tensor, Branch]:
        """Return the tokens before the context, which all questions share, and the question with its answer."""
        example, tokenizer = measured.example, self.decoder.require_tokenizer()
        return question_branch(self.template, tokenizer, example.question, measured.target_ids, example.options)

    def _read_apart(self, batch: Sequence[MeasuredExample]) -> tuple[Tensor, Tensor]:
        """Read a row for each question."""
        prompts = [
            example_prompt(
                measured.example, self.soft_prompts.embeds(measured.example.document_id), self.template, self.decoder
            )
            for measured in batch
        ]
        return self._read_prompts(prompts, [measured.target_ids for measured in batch])

    def _read_prompts(self, prompts: Sequence[Prompt], targets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        decoder = self.decoder
        inputs = collate(prompts, decoder, padding_side="right", targets=targets)
        assert inputs.labels is not None
        is_target = inputs.labels != IGNORED_LABEL
        with _output_layer_at(decoder, is_target.roll(-1, dims=1)):
            # Rows are padded on the right, so the positions that models count by themselves are the prompt's.
            output = decoder.model(
                inputs_embeds=inputs.inputs_embeds, attention_mask=inputs.attention_mask, use_cache=False
            )
        return output.logits[0], inputs.labels[is_target]

    def is_measured(self, step: int) -> bool:
        """Return whether held-out answers are due: every `evaluate_every` steps and after the last one."""
        is_last = (step + 1) * self.batch_size >= self.num_samples
        return bool(self.validation) and ((step + 1) % self.evaluate_every == 0 or is_last)

    @torch.no_grad()
    def evaluate(self, step: int) -> dict[str, float]:
        """Measure loss and exact match of held-out answers.

        Under greedy decoding an answer is right exactly when every one of its tokens is the most likely next one.
        """
        self.decoder.model.train(False)
        loss, num_right = 0.0, 0
        for batch in self._split(self.validation):
            with torch.autocast(self.decoder.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                logits, target_ids = self.target_logits(batch)
            loss += float(nn.functional.cross_entropy(logits.float(), target_ids, reduction="sum"))
            is_right = logits.argmax(dim=-1) == target_ids
            lengths = [len(measured.target_ids) for measured in batch]
            num_right += sum(bool(own.all()) for own in torch.split(is_right, lengths))
        self.decoder.model.train()
        return {
            "validation_loss": loss / self.num_targets(self.validation),
            "validation_exact_match": 100 * num_right / len(self.validation),
        }


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, documents: tuple[str, ...], questions_a_row: int) -> list[int]:
    """Return the order of an epoch, examples that share a row together; two are kept as a batch may span two."""
    chooser = random.Random(seed * 1_000_003 + epoch)
    order = list(range(len(documents)))
    chooser.shuffle(order)
    if questions_a_row == 1:
        return order
    of_document: dict[str, list[int]] = {}
    for index in order:
        of_document.setdefault(documents[index], []).append(index)
    rows = [
        own[start : start + questions_a_row]
        for own in of_document.values()
        for start in range(0, len(own), questions_a_row)
    ]
    chooser.shuffle(rows)
    return [index for row in rows for index in row]


@contextmanager
def _output_layer_at(decoder: Decoder, chosen: Tensor) -> Iterator[None]:
    """Let the model's output layer see the chosen states (batch, seq_len) alone, as one row (1, num_chosen, ...)."""
    output = decoder.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if output is None:
        raise LlocoError(f"{decoder.name} has no output layer to learn answers with: use a causal language model")

    def choose(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return (arguments[0][chosen][None], *arguments[1:])

    handle = output.register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()
