"""Losses of the pretraining stages and what is measured meanwhile, for the one loop.

The decoder reads each row after its contexts, as text or as their soft prompts, whose gradient flows back into the
compressor. The cross-entropy of the targets may be mixed with what the same model says that reads the text
(distillation). What the batches hold is `batches`'.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lloco.compressors.decoder_based import in_autocast_dtype, vocab_size
from lloco.compressors.delta import TrainableCompressor
from lloco.prompts.batch import collate
from lloco.prompts.prompt import Prompt
from lloco.training.pretrain.batches import ReadingBatch, ReadingBatches, ReadingOptions
from lloco.training.pretrain.text import ReadingDocument, Row, as_tensor, questions_row


class ReadingStage:
    """Micro-batches and losses of a pretraining stage, for `loop.train`."""

    def __init__(
        self,
        compressor: TrainableCompressor,
        documents: Sequence[ReadingDocument],
        options: ReadingOptions,
        *,
        num_steps: int,
        seed: int,
        validation: Sequence[ReadingDocument] = (),
        evaluate_every: int = 200,
        num_processes: int = 1,
    ) -> None:
        self.compressor = compressor
        self.options = options
        self.validation = validation
        self.evaluate_every = evaluate_every
        tokenizer = compressor.decoder.require_tokenizer()
        num_embeddings = vocab_size(compressor.decoder)
        self.batches = ReadingBatches(
            documents,
            options,
            tokenizer,
            num_embeddings=num_embeddings,
            num_steps=num_steps,
            seed=seed,
            num_processes=num_processes,
        )

    def micro_batches(self, step: int) -> list[ReadingBatch]:
        """Draw documents of about `batch_tokens` tokens in all, the same ones whenever the step is done."""
        return self.batches.micro_batches(step)

    def num_targets(self, batch: ReadingBatch) -> float:
        """Count the tokens whose loss is computed."""
        return sum(float(weights.sum()) for weights in self._weights(batch))

    def _weights(self, batch: ReadingBatch) -> list[Tensor]:
        """Return the weight of every place after the first of each row: virtual tokens are never targets."""
        weights = []
        for places, row in batch.rows:
            context = [
                torch.zeros(self.compressor.num_virtual_tokens(len(batch.contexts[index]), batch.segment_len))
                if batch.is_compressed
                else batch.context_weights[index]
                for index in places
            ]
            weights.append(torch.cat([*context, row.weights])[1:])
        return weights

    def loss_sum(self, batch: ReadingBatch) -> Tensor:
        """Return the sum of the targets' losses."""
        logits, labels = self._target_logits(batch)
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
        share = self.options.distillation_ratio
        if not batch.is_compressed or not share:
            return loss
        with torch.no_grad():
            nothing = [torch.zeros(len(ids)) for ids in batch.contexts]
            as_text, _ = self._target_logits(batch._replace(is_compressed=False, context_weights=nothing))
        return (1 - share) * loss + share * divergence(as_text, logits, self.options.distillation_top_k)

    def _target_logits(self, batch: ReadingBatch) -> tuple[Tensor, Tensor]:
        """Return float32 logits (num_targets, vocab_size) of the tokens before each target, and the targets."""
        contexts = self._contexts(batch)
        hidden = self._hidden(batch, contexts)[:, :-1]
        ids = [torch.cat([*(_ids_of(contexts[index]) for index in places), row.ids])[1:] for places, row in batch.rows]
        is_target = pad_sequence(self._weights(batch), batch_first=True) > 0
        labels = pad_sequence(ids, batch_first=True)[is_target].to(hidden.device)
        return self.compressor.model.lm_head(hidden[is_target.to(hidden.device)]).float(), labels

    def _hidden(self, batch: ReadingBatch, contexts: Sequence[Tensor]) -> Tensor:
        """Run the decoder over contexts and rows; returns states (num_rows, seq_len, hidden_size), padded right."""
        model = self.compressor.model
        rows = [(*(contexts[index] for index in places), row.ids) for places, row in batch.rows]
        prompts = [Prompt(tuple(piece for piece in row if len(piece))) for row in rows]
        inputs = collate(prompts, self.compressor.decoder, padding_side="right")
        # Padding stands on the right, where a causal model never looks, so that the fast path without a mask is exact.
        decoder = model.get_decoder()  # type: ignore[no-untyped-call]
        embeds = in_autocast_dtype(inputs.inputs_embeds)
        hidden: Tensor = decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state
        return hidden

    def _contexts(self, batch: ReadingBatch) -> list[Tensor]:
        """Return each context as the decoder reads it: token ids, or its soft prompt (with gradient)."""
        if not batch.is_compressed:
            return batch.contexts
        return self.compressor.read_in_order(batch.contexts, batch.segment_len)

    def is_measured(self, step: int) -> bool:
        """Return whether held-out answers are due: every `evaluate_every` steps."""
        return bool(self.validation) and (step + 1) % self.evaluate_every == 0

    @torch.no_grad()
    def evaluate(self, step: int) -> dict[str, float]:
        """Measure exact match of held-out answers, full text and compressed.

        Under greedy decoding an answer is right exactly when every one of its tokens is the most likely next one.
        """
        self.compressor.eval()
        figures = {"full_exact_match": self._exact_match(None)}
        if self.options.stage == "compressor":
            for segment_len in sorted(self.options.segment_lens):
                ratio = segment_len / self.compressor.summary_length
                figures[f"compressed_exact_match_{ratio:g}x"] = self._exact_match(segment_len)
        self.compressor.train()
        return figures

    def _exact_match(self, segment_len: int | None, batch_size: int = 16) -> float:
        """Measure answers from soft prompts of that segment length, or from the text where it is None."""
        right: list[bool] = []
        for start in range(0, len(self.validation), batch_size):
            documents = self.validation[start : start + batch_size]
            asked = [(index, pair) for index, document in enumerate(documents) for pair in document.pairs[:2]]
            rows: list[tuple[tuple[int, ...], Row]] = [((index,), questions_row([pair])) for index, pair in asked]
            contexts = [as_tensor(document.ids) for document in documents]
            right += self._are_right(ReadingBatch(contexts, segment_len is not None, segment_len or 0, rows, []))
        return 100 * sum(right) / max(1, len(right))

    def _are_right(self, batch: ReadingBatch) -> list[bool]:
        contexts = self._contexts(batch)
        right = []
        for (places, row), states in zip(batch.rows, self._hidden(batch, contexts), strict=True):
            start = sum(len(contexts[index]) for index in places)
            is_target = row.weights > 0
            states = states[start - 1 : start - 1 + len(row.ids)][is_target.to(states.device)]
            right.append(torch.equal(self.compressor.model.lm_head(states).argmax(dim=-1).cpu(), row.ids[is_target]))
        return right


def divergence(teacher: Tensor, student: Tensor, top_k: int, reduction: Literal["sum", "none"] = "sum") -> Tensor:
    """Return the KL divergence of the student from the teacher, over the teacher's `top_k` likeliest tokens.

    Both are logits (num_targets, vocab_size); the teacher's probabilities are of those tokens alone. The result is one
    number, or (num_targets,) without reduction.
    """
    values, tokens = teacher.topk(min(top_k, teacher.shape[-1]), dim=-1)
    wanted = values.log_softmax(dim=-1)
    of_targets = (wanted.exp() * (wanted - student.log_softmax(dim=-1).gather(1, tokens))).sum(dim=-1)
    return of_targets.sum() if reduction == "sum" else of_targets


def _ids_of(context: Tensor) -> Tensor:
    """Return placeholder ids for virtual tokens, which are never targets."""
    return torch.zeros(len(context), dtype=torch.int64) if context.is_floating_point() else context
