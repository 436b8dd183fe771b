"""Text compression without a model of its own: the decoder that answers says which text is worth its place.

`PrunedText` follows Selective Context (Li et al. 2023, arXiv 2310.06201): words whose tokens could have been guessed
are dropped before any question is known. `QuestionLikelihood` is the first stage of LongLLMLingua (Jiang et al. 2023,
arXiv 2310.06839): passages after which the question is likely are kept. Does not know how answers are written.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerBase

from lloco.adapters.base_model import BASE_ADAPTER
from lloco.documents.document import Document
from lloco.engine.named_adapters import inference
from lloco.evals.context import Context
from lloco.fast_llama.forward import forward_for
from lloco.models.control_tokens import encode_text
from lloco.models.decoder import Decoder
from lloco.models.tokenize import token_ids
from lloco.prompts.batch import IGNORED_LABEL, ModelInput, collate
from lloco.prompts.prompt import Prompt
from lloco.retrieval.retriever import Hit
from lloco.store.passage import PassageText

WINDOW = 1024
"""Tokens of a document that are read together; the next ones are read without them."""
_TOGETHER = 16
"""Passages that are read at once."""


class PrunedText:
    """A document of which the words that tell most are read, in their order."""

    def __init__(self, document: Document, decoder: Decoder, budget_of: Callable[[int], int]) -> None:
        """Keep as many tokens as `budget_of` says for a document of so many."""
        tokenizer = decoder.require_tokenizer()
        self.token_ids = token_ids(tokenizer, document.text)
        self.num_kept = min(budget_of(len(self.token_ids)), len(self.token_ids))
        self._scores = mean_by_group(surprisals(decoder, self.token_ids), words_of(tokenizer, document.text))

    def context(self, mode: str, question: str, room: int) -> Context:
        """Return as many tokens as fit; the same for every question."""
        return Context(token_ids=self.kept_ids(room), is_cut=self.num_kept > room)

    def kept_ids(self, room: int) -> Tensor:
        """Return the tokens of the words that tell most, `num_kept` or `room` at most; the last may be cut."""
        return self.token_ids[highest(self._scores, min(self.num_kept, room))]


class QuestionLikelihood:
    """Finds passages by how likely the decoder finds the question after them."""

    def __init__(self, decoder: Decoder, passages: Sequence[PassageText]) -> None:
        tokenizer = decoder.require_tokenizer()
        self._decoder, self._passages = decoder, passages
        self._prompts = [Prompt((token_ids(tokenizer, f"{passage.text.strip()}\n"),)) for passage in passages]

    def search(self, question: str, top_k: int) -> list[Hit]:
        """Best passages first; a score is the mean log P of the question's tokens."""
        asked = token_ids(self._decoder.require_tokenizer(), question)
        groups = [self._prompts[start : start + _TOGETHER] for start in range(0, len(self._prompts), _TOGETHER)]
        scores = torch.cat([self._scores(group, asked) for group in groups])
        best = scores.argsort(descending=True, stable=True)[:top_k].tolist()
        found = ((self._passages[index], float(scores[index])) for index in best)
        return [Hit(passage.document_id, passage.start, passage.end, passage.text, score) for passage, score in found]

    def _scores(self, prompts: Sequence[Prompt], asked: Tensor) -> Tensor:
        with torch.no_grad():
            inputs = collate(prompts, self._decoder, padding_side="right", targets=[asked] * len(prompts))
        assert inputs.labels is not None
        is_asked = inputs.labels[:, 1:] != IGNORED_LABEL
        logits = self._logits(inputs, is_asked)
        each = cross_entropy(logits.float(), inputs.labels[:, 1:][is_asked], reduction="none")
        return -each.view(len(prompts), len(asked)).mean(dim=1).cpu()

    def _logits(self, inputs: ModelInput, is_asked: Tensor) -> Tensor:
        """Return the logits (number of asked positions, vocab_size), computed by what answers."""
        decoder, names = self._decoder, [BASE_ADAPTER] * len(is_asked)
        if (forward := forward_for(decoder.model, names)) is not None:
            with decoder.lock, torch.no_grad():
                states = forward.encode(inputs.inputs_embeds, inputs.attention_mask, is_causal=True)
                head: Any = decoder.model.get_output_embeddings()  # type: ignore[no-untyped-call]
                asked: Tensor = head(states[:, :-1][is_asked])
                return asked
        with decoder.lock, inference(decoder.model, names) as adapter_names:
            output = decoder.model(
                inputs_embeds=inputs.inputs_embeds,
                attention_mask=inputs.attention_mask,
                position_ids=inputs.position_ids,
                use_cache=False,
                **adapter_names,
            )
        logits: Tensor = output.logits[:, :-1][is_asked]
        return logits


def surprisals(decoder: Decoder, ids: Tensor) -> Tensor:
    """Return -log P of each token (len(ids),) after those before it in its window.

    The first token of a window has nothing before it and is as surprising as the average one.
    """
    return torch.cat([_window_surprisals(decoder, part) for part in torch.split(ids, min(WINDOW, decoder.max_len))])


def words_of(tokenizer: PreTrainedTokenizerBase, text: str) -> Tensor:
    """Return for each token the number of the word that it is of, where white space ends words.

    Tokens of a tokenizer that does not say where they stand are words by themselves.
    """
    if not tokenizer.is_fast:
        return torch.arange(len(token_ids(tokenizer, text)))
    places = encode_text(tokenizer, text).spans
    begins = [text[start : start + 1].isspace() or text[max(start - 1, 0) : start].isspace() for start, _ in places]
    return torch.tensor(begins, dtype=torch.int64).cumsum(dim=0)


def mean_by_group(values: Tensor, groups: Tensor) -> Tensor:
    """Give each value the mean of its group."""
    counts = groups.bincount()
    sums = torch.zeros(len(counts)).index_add(0, groups, values)
    return (sums / counts.clamp(min=1))[groups]


def highest(scores: Tensor, num_kept: int) -> Tensor:
    """Return the places of the highest scores, in ascending order; of equal ones the first."""
    return scores.argsort(descending=True, stable=True)[:num_kept].sort().values


def _window_surprisals(decoder: Decoder, window: Tensor) -> Tensor:
    row = window[None].to(decoder.device)
    with decoder.lock, inference(decoder.model, [BASE_ADAPTER]) as adapter_names:
        logits = decoder.model(input_ids=row, use_cache=False, **adapter_names).logits[0, :-1].float()
    told = cross_entropy(logits, row[0, 1:], reduction="none").cpu()
    first = told.mean() if len(told) else torch.zeros(())
    return torch.cat([first[None], told])
