"""Losses of training a compressor around a pretrained decoder, and what is measured meanwhile, for the one loop.

Each sample's documents are read as vectors; where they are read as text as well, the text's row is learned too, and
what it says is the vectors' row's teacher, on the targets that the teacher has right (distillation, arXiv 2609.05152).
"""

import random
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lloco.compressors.delta import TrainableCompressor
from lloco.compressors.lora_weights import lora_off
from lloco.prompts.branched_rows import BranchedInput, BranchedRow, collate_branches
from lloco.training.adapt.rows import text_row, vector_row
from lloco.training.adapt.samples import Sample, Samples
from lloco.training.adapt.validation import Measured
from lloco.training.distillation import divergences, state_distances, targets_of, taught

CPU_POSITIONS, GPU_POSITIONS = 384, 16_384
"""Few rows at once pad less (13 % against 37 % at 1,024, measured), and a processor multiplies them as fast as many."""


@dataclass(frozen=True, slots=True)
class AdaptOptions:
    """How a step is made of samples."""

    segment_lens: tuple[int, ...] = (2,)
    """Document tokens per vector, one of them drawn for each step."""
    segment_weights: tuple[float, ...] = ()
    """How often each of them is drawn; all alike when empty."""
    batch_positions: int = 1024
    """Positions of the decoder that a step reads."""
    micro_batch_positions: int | None = None
    """Positions, padded, computed at once; by default `CPU_POSITIONS` on a CPU and `GPU_POSITIONS` elsewhere."""
    distillation_ratio: float = 0.5
    """Weight of what the same model says that reads the text, where it is right; the rest is the targets'."""
    distillation_top_k: int = 20
    """Tokens, the likeliest at each position, whose probabilities are matched."""
    state_weight: float = 0.0
    """Weight, for each token behind the documents, of how far its states are from those of the reader of the text."""


class AdaptBatch(NamedTuple):
    """One micro-batch."""

    samples: list[Sample]
    segment_len: int


class _Read(NamedTuple):
    """Rows that were read."""

    logits: Tensor
    """(num_targets, vocab_size), float32."""
    inputs: BranchedInput
    states: tuple[Tensor, ...]
    """(batch, seq_len, hidden_size) before the first layer and after each; none unless they have a weight."""

    @property
    def branch_states(self) -> Tensor:
        """(num_layers, num_positions, hidden_size) of the branches' positions, row by row, after each layer."""
        return torch.stack([states[self.inputs.in_branches] for states in self.states[1:]])


class AdaptStage:
    """Micro-batches and losses, for `loop.train`."""

    def __init__(
        self,
        compressor: TrainableCompressor,
        samples: Samples,
        options: AdaptOptions,
        *,
        seed: int,
        bf16: bool = False,
        validation: Measured | None = None,
        evaluate_every: int = 250,
    ) -> None:
        self.compressor = compressor
        self.samples = samples
        self.options = options
        self.seed = seed
        self.bf16 = bf16
        self.validation = validation
        self.evaluate_every = evaluate_every

    def micro_batches(self, step: int) -> list[AdaptBatch]:
        """Draw samples of about `batch_positions` positions, the same ones whenever the step is done."""
        options = self.options
        chooser = random.Random(self.seed * 1_000_003 + step)
        weights = options.segment_weights or (1.0,) * len(options.segment_lens)
        segment_len = chooser.choices(options.segment_lens, weights)[0]
        drawn: list[Sample] = []
        num_positions = 0.0
        while num_positions < options.batch_positions:
            drawn.append(self.samples.draw(chooser))
            num_positions += drawn[-1].num_positions(segment_len)
        return [AdaptBatch(group, segment_len) for group in self._similar(drawn, segment_len)]

    def _similar(self, drawn: Sequence[Sample], segment_len: int) -> list[list[Sample]]:
        """Group samples of similar length, so that little is padded."""
        is_on_cpu = self.compressor.decoder.device.type == "cpu"
        limit = self.options.micro_batch_positions or (CPU_POSITIONS if is_on_cpu else GPU_POSITIONS)
        groups: list[list[Sample]] = []
        longest = 0.0
        for sample in sorted(drawn, key=lambda sample: -sample.longest_row_len(segment_len)):
            num_rows = 1 + sum(1 + other.has_text_row for other in groups[-1]) if groups else 1
            if not groups or num_rows * longest > limit:
                groups.append([])
                longest = sample.longest_row_len(segment_len)
            groups[-1].append(sample)
        return groups

    def num_targets(self, batch: AdaptBatch) -> float:
        """Return the weight of the batch's targets, those of rows that are read as text included."""
        return sum(
            (1 + sample.is_text_read) * float(branch.weights.sum())
            for sample in batch.samples
            for branch in sample.branches
        )

    def loss_sum(self, batch: AdaptBatch) -> Tensor:
        """Return the weighted sum of the targets' losses."""
        plain = [sample for sample in batch.samples if sample.is_plain]
        others = [sample for sample in batch.samples if not sample.is_plain]
        parts = [self._plain_loss([text_row(sample) for sample in plain])] if plain else []
        if others:
            parts.append(self._reading_loss(others, batch.segment_len))
        return torch.stack(parts).sum()

    def _plain_loss(self, rows: Sequence[BranchedRow]) -> Tensor:
        """Return how far plain text is read otherwise than without LoRA, so that nothing is unlearned."""
        logits, inputs = self.logits(rows)
        with torch.no_grad():
            before = self.logits_before(rows)
        return divergences(logits, before) @ inputs.target_weights.to(logits.device)

    def _reading_loss(self, samples: Sequence[Sample], segment_len: int) -> Tensor:
        """Return the loss of documents as vectors and, where the sample says so, as text."""
        vectors = self._vectors(samples, segment_len)
        rows = [vector_row(sample, own) for sample, own in zip(samples, vectors, strict=True)]
        student = self._read(rows)
        losses = _cross_entropies(student.logits, student.inputs)
        others = student.logits.new_zeros(())
        states = student.branch_states if self.options.state_weight else None
        for is_learned in (True, False):
            chosen = [
                index
                for index, sample in enumerate(samples)
                if sample.has_text_row and sample.is_text_read == is_learned
            ]
            if not chosen:
                continue
            with nullcontext() if is_learned else torch.no_grad():
                teacher = self._read([text_row(samples[index]) for index in chosen])
            if is_learned:
                own = _cross_entropies(teacher.logits, teacher.inputs)
                others = others + own @ teacher.inputs.target_weights.to(own.device)
            losses = taught(
                losses,
                student.logits,
                targets_of([_num_targets(sample) for sample in samples], chosen),
                teacher.logits,
                teacher.inputs.target_ids,
                ratio=self.options.distillation_ratio,
                top_k=self.options.distillation_top_k,
            )
            if states is not None:
                lens = [sum(len(branch.ids) for branch in sample.branches) for sample in samples]
                positions = targets_of(lens, chosen).to(losses.device)
                apart = state_distances(states[:, positions], teacher.branch_states)
                others = others + self.options.state_weight * apart.sum()
        return losses @ student.inputs.target_weights.to(losses.device) + others

    def logits(self, rows: Sequence[BranchedRow]) -> tuple[Tensor, BranchedInput]:
        """Return float32 logits (num_targets, vocab_size) of the rows' targets, and the rows as they were read."""
        read = self._read(rows)
        return read.logits, read.inputs

    def _read(self, rows: Sequence[BranchedRow]) -> _Read:
        decoder = self.compressor.decoder
        inputs = collate_branches(rows, decoder)
        reader = decoder.model.get_decoder()  # type: ignore[no-untyped-call]
        output = reader(
            inputs_embeds=inputs.inputs_embeds,
            attention_mask=inputs.attention_mask,
            position_ids=inputs.position_ids,
            use_cache=False,
            output_hidden_states=self.options.state_weight > 0,
        )
        logits = self.compressor.model.lm_head(output.last_hidden_state[inputs.before_targets]).float()
        return _Read(logits, inputs, output.hidden_states or ())

    def logits_before(self, rows: Sequence[BranchedRow]) -> Tensor:
        """Return the same without LoRA, as the pretrained model reads the rows."""
        with lora_off(self.compressor.decoder.model):
            return self.logits(rows)[0]

    def _vectors(self, samples: Sequence[Sample], segment_len: int) -> list[list[Tensor]]:
        """Return the vectors of every sample's documents."""
        documents = [ids for sample in samples for ids in sample.documents]
        made = iter(self.compressor.read_in_order(documents, segment_len))
        return [[next(made) for _ in sample.documents] for sample in samples]

    def is_measured(self, step: int) -> bool:
        """Return whether held-out questions are due: every `evaluate_every` steps."""
        return self.validation is not None and (step + 1) % self.evaluate_every == 0

    @torch.no_grad()
    def evaluate(self, step: int) -> dict[str, float]:
        """Measure held-out questions and repeated text, from the text and from vectors at every ratio."""
        assert self.validation is not None
        self.compressor.eval()
        with torch.autocast(self.compressor.decoder.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            figures = self.validation.figures(self, self.options.segment_lens)
        self.compressor.train()
        return figures


def _num_targets(sample: Sample) -> int:
    return sum(int((branch.weights > 0).sum()) for branch in sample.branches)


def _cross_entropies(logits: Tensor, inputs: BranchedInput) -> Tensor:
    return nn.functional.cross_entropy(logits, inputs.target_ids.to(logits.device), reduction="none")
