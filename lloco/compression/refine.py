"""Refinement of one document's vectors by gradient, all models frozen, after it was compressed.

A step has the decoder read [vectors][REPEAT_INSTRUCTION] and moves the vectors so that it repeats the document better:
cross-entropy of the document's own tokens, nothing labelled. A long document is read in stretches of whole segments,
each from its own rows alone, so that memory is bounded; every step goes over all of it, its stretches cut elsewhere
each time. Knows nothing of stores or questions. After arXiv 2502.13063, which trains such vectors from nothing.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from lloco.compressors.compressor import Compressor
from lloco.compressors.decoder_based import reading_alone
from lloco.errors import DocumentError
from lloco.models.control_tokens import text_ids
from lloco.models.tokenize import Progress
from lloco.prompts.batch import collate
from lloco.prompts.prompt import Prompt
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.prompts.template import REPEAT_INSTRUCTION

LEARNING_RATE = 0.05
"""Of the first step, in root mean squares of the document's vectors; it falls to 0 in a straight line."""
BETAS = (0.9, 0.99)
EPSILON = 1e-8
MAX_NORM_CHANGE = 1.1
"""A row's norm stays within this factor of the compressor's, which the decoder learned to read."""
MAX_STRETCH_TOKENS = 512
"""Document tokens that are repeated at once, unless a single segment has more."""


def refine(
    compressor: Compressor,
    soft_prompt: SoftPrompt,
    ids: Tensor,
    num_steps: int,
    *,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> SoftPrompt:
    """Return the soft prompt after `num_steps` steps of Adam on its vectors; the same seed gives the same vectors.

    Args:
        compressor: the one that made it; only its decoder is run, and is as it was afterwards.
        soft_prompt: as the compressor made it.
        ids: token ids of the whole document; what a truncated soft prompt does not stand for is not read.
        num_steps: with 0 the soft prompt is returned as it is.
        seed: decides where a long document is cut.
        on_progress: called with the number of document tokens just repeated.

    Raises:
        CheckpointError: the checkpoint has no tokenizer.
        DocumentError: the decoder cannot tell in finite numbers how to move the vectors.
    """
    if not num_steps:
        return soft_prompt
    first = soft_prompt.embeds.to(compressor.decoder.device, torch.float32)
    vectors = first.clone()
    learning_rate = LEARNING_RATE * float(first.square().mean().sqrt())
    optimizer = torch.optim.Adam([vectors], learning_rate, BETAS, EPSILON)
    chooser = random.Random(seed)
    for step in range(num_steps):
        vectors.grad = torch.zeros_like(first)
        for rows, tokens in _stretches(compressor, soft_prompt, len(ids), chooser):
            vectors.grad[rows] = _gradient(compressor, vectors[rows], ids[tokens])
            if on_progress is not None:
                on_progress(len(ids[tokens]))
        if not vectors.grad.isfinite().all():
            raise DocumentError(
                f"the gradient is not finite in {compressor.decoder.dtype} (document "
                f"{soft_prompt.provenance.document_id!r}, step {step + 1}): refine in float32 or bfloat16, or leave "
                "out --refine"
            )
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / num_steps)
        optimizer.step()
        _clamp_norms(vectors, first)
    embeds = vectors.detach().to(soft_prompt.embeds.device, soft_prompt.embeds.dtype)
    return SoftPrompt(embeds, replace(soft_prompt.provenance, refine_steps=num_steps))


def _clamp_norms(vectors: Tensor, first: Tensor) -> None:
    """Scale rows in place whose norm has gone further from the first one than it may."""
    norms, allowed = (rows.norm(dim=1, keepdim=True).clamp_min(EPSILON) for rows in (vectors, first))
    vectors *= norms.clamp(allowed / MAX_NORM_CHANGE, allowed * MAX_NORM_CHANGE) / norms


def _stretches(
    compressor: Compressor, soft_prompt: SoftPrompt, num_tokens: int, chooser: random.Random
) -> Iterator[tuple[slice, slice]]:
    """Yield rows of the vectors and the tokens they stand for: all of them, in stretches that fit the positions.

    A segment that does not fit with its rows and the instruction is repeated as far as it does.
    """
    segment_len, size = soft_prompt.provenance.segment_len, soft_prompt.provenance.summary_length
    room = compressor.decoder.max_len - len(_instruction(compressor))
    num_most = max(1, min(room // (segment_len + size), MAX_STRETCH_TOKENS // segment_len))
    num_segments = -(-soft_prompt.num_virtual_tokens // size)
    start, end = 0, num_segments if num_segments <= num_most else chooser.randint(1, num_most)
    while start < num_segments:
        end = min(end, num_segments)
        rows = slice(start * size, min(end * size, soft_prompt.num_virtual_tokens))
        last = min(end * segment_len, num_tokens, start * segment_len + room - (rows.stop - rows.start))
        yield rows, slice(start * segment_len, last)
        start, end = end, end + num_most


def _gradient(compressor: Compressor, vectors: Tensor, ids: Tensor) -> Tensor:
    """Return the gradient of the summed loss of repeating these tokens from these vectors."""
    with torch.enable_grad(), reading_alone(compressor.decoder), _frozen(compressor.decoder.model):
        vectors = vectors.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(repeat_loss(compressor, vectors, ids), [vectors])
    return gradient


def repeat_loss(compressor: Compressor, vectors: Tensor, ids: Tensor) -> Tensor:
    """Return the summed cross-entropy of a document's tokens (num_tokens,) after its vectors and the instruction."""
    logits = repeat_logits(compressor, vectors, ids)
    return nn.functional.cross_entropy(logits, ids.to(logits.device, torch.int64), reduction="sum")


def repeat_logits(compressor: Compressor, vectors: Tensor, ids: Tensor) -> Tensor:
    """Return float32 logits (num_tokens, vocab_size) of each token, the vectors, instruction and tokens before read."""
    prompt = Prompt((vectors, _instruction(compressor), ids.to(torch.int64)))
    inputs = collate([prompt], compressor.decoder, padding_side="right")
    logits: Tensor = compressor.decoder.model(inputs_embeds=inputs.inputs_embeds, use_cache=False).logits
    return logits[0, -len(ids) - 1 : -1].float()


def _instruction(compressor: Compressor) -> Tensor:
    tokenizer = compressor.decoder.require_tokenizer()
    return torch.tensor(text_ids(tokenizer, REPEAT_INSTRUCTION), dtype=torch.int64)


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Have no gradient reach the weights inside the block, so that nothing is kept for one."""
    trainable: Sequence[nn.Parameter] = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
