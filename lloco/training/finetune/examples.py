"""Question-answer examples for finetuning: checked and measured before the first step, soft prompts read when needed.

Nothing is ever cut to fit: an example that cannot be learned whole is an error that names it. Does not know about
losses or the optimiser.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lloco.errors import DataError, LlocoError, MismatchError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt, answer_ids, build_prompt
from lloco.prompts.soft_prompt_cache import MAX_BYTES, SoftPromptCache
from lloco.prompts.template import Template
from lloco.training.finetune.example import Example


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredExample:
    """An example that is known to fit the decoder."""

    example: Example
    target_ids: Tensor
    """Worded answer and EOS, int64."""
    seq_len: int
    """Positions that prompt and target take."""


@dataclass(frozen=True, slots=True, eq=False)
class ExampleSet:
    """Checked examples in the order they were given, and what identifies them."""

    examples: tuple[MeasuredExample, ...]
    data_digest: str
    """sha256 over documents' ids, questions, answers and options, in order."""
    soft_prompts_digest: str
    """sha256 over the vectors of the documents, in order of first use."""
    num_documents: int


class SoftPrompts:
    """Soft prompts by document id, read when asked for; the last ones stay in memory up to a number of bytes."""

    def __init__(self, read: Callable[[str], Tensor], device: torch.device, max_bytes: int = MAX_BYTES) -> None:
        self._read = read
        self._device = device
        self._cache: SoftPromptCache[str, Tensor] = SoftPromptCache(max_bytes)

    def embeds(self, document_id: str) -> Tensor:
        """Return (num_virtual_tokens, hidden_size); whoever computes them does so outside autocast and gradients."""
        if (kept := self._cache.get(document_id)) is not None:
            return kept
        with torch.no_grad(), torch.autocast(self._device.type, enabled=False):
            embeds = self._read(document_id).detach()
        self._cache.keep(document_id, embeds)
        return embeds


def example_prompt(example: Example, embeds: Tensor, template: Template, decoder: Decoder) -> Prompt:
    """Lay out an example's soft prompt and question, worded as they will be asked later."""
    return build_prompt(
        template, decoder.require_tokenizer(), example.question, soft_prompts=[embeds], options=example.options
    )


def measure_examples(
    examples: Sequence[Example], soft_prompts: SoftPrompts, template: Template, decoder: Decoder, kind: str = "example"
) -> ExampleSet:
    """Read every document's soft prompt once and check every example against it; `kind` names them in errors.

    Raises:
        DataError: an answer is empty, a document has no soft prompt, the template does not suit an example, or an
            example is longer than the decoder reads.
        MismatchError: a soft prompt is of another width than the decoder, or holds NaN or infinity.
        CheckpointError: the decoder has no tokenizer.
    """
    decoder.require_tokenizer()
    places: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        if not example.answer.strip():
            raise DataError(f"{_name(examples, number, kind)} has an empty answer: write one, or remove the example")
        places.setdefault(example.document_id, []).append(number)
    measured: dict[int, MeasuredExample] = {}
    vectors = hashlib.sha256()
    for document_id, own in places.items():
        embeds = _checked_embeds(document_id, soft_prompts, decoder, _name(examples, own[0], kind))
        data = embeds.cpu().contiguous()
        vectors.update(f"{document_id!r} {tuple(data.shape)} {data.dtype} ".encode())
        vectors.update(data.view(torch.uint8).numpy().data)
        for index in own:
            measured[index] = _measure(examples[index], embeds, template, decoder, _name(examples, index, kind))
    lines = "\n".join(example.digest_line() for example in examples)
    return ExampleSet(
        tuple(measured[index] for index in range(len(examples))),
        hashlib.sha256(lines.encode()).hexdigest(),
        vectors.hexdigest(),
        len(places),
    )


def _name(examples: Sequence[Example], index: int, kind: str) -> str:
    example = examples[index]
    question = example.question if len(example.question) <= 60 else f"{example.question[:57]}..."
    return f"{kind} {index + 1} of {len(examples)} (document {example.document_id!r}, question {question!r})"


def _checked_embeds(document_id: str, soft_prompts: SoftPrompts, decoder: Decoder, where: str) -> Tensor:
    try:
        embeds = soft_prompts.embeds(document_id)
    except (KeyError, LlocoError) as error:
        reason = "there is none of that id" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{where} needs its document's soft prompt: {reason}; compress the document into the corpus first, or "
            "remove its examples"
        ) from error
    if embeds.ndim != 2 or not len(embeds) or embeds.shape[1] != decoder.hidden_size:
        raise MismatchError(
            f"{where} has a soft prompt of shape {tuple(embeds.shape)}, {decoder.name} reads vectors "
            f"{decoder.hidden_size} wide: compress the document with this decoder's compressor"
        )
    if not bool(torch.isfinite(embeds).all()):
        raise MismatchError(f"{where} has a soft prompt with NaN or infinity: compress the document again")
    return embeds


def _measure(example: Example, embeds: Tensor, template: Template, decoder: Decoder, where: str) -> MeasuredExample:
    try:
        prompt = example_prompt(example, embeds, template, decoder)
    except LlocoError as error:
        raise DataError(f"{where} cannot be worded: {error}") from error
    target_ids = answer_ids(template, decoder.require_tokenizer(), example.answer)
    seq_len = prompt.length + len(target_ids)
    if prompt.num_virtual_tokens > decoder.vectors_beside(seq_len - prompt.num_virtual_tokens):
        raise DataError(
            f"{where} takes {seq_len} positions ({len(embeds)} virtual tokens, {prompt.length - len(embeds)} of the "
            f"prompt, {len(target_ids)} of the answer), {decoder.name} reads {decoder.max_len}: compress the document "
            "at a higher ratio, split it, or remove the example"
        )
    decoder.note_len(seq_len)
    return MeasuredExample(example, target_ids, seq_len)
