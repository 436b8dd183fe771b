"""Branched rows: a context read once gives each continuation the losses and gradients of a row of its own."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lloco.models.decoder import Decoder
from lloco.prompts.branched_rows import Branch, BranchedRow, collate_branches
from tests.tiny import tiny_decoder, tiny_llama


def _branch(ids: list[int], num_targets: int) -> Branch:
    weights = torch.zeros(len(ids))
    weights[-num_targets:] = 1
    return Branch(torch.tensor(ids), weights)


def _loss(decoder: Decoder, rows: list[BranchedRow]) -> Tensor:
    inputs = collate_branches(rows, decoder)
    body = decoder.model.get_decoder()  # type: ignore[no-untyped-call]
    hidden = body(
        inputs_embeds=inputs.inputs_embeds,
        attention_mask=inputs.attention_mask,
        position_ids=inputs.position_ids,
        use_cache=False,
    ).last_hidden_state
    logits = decoder.model.lm_head(hidden[inputs.before_targets])
    return cross_entropy(logits, inputs.target_ids, reduction="none") @ inputs.target_weights


@pytest.fixture
def decoder() -> Decoder:
    return tiny_decoder(tiny_llama(initializer_range=0.1))


@pytest.fixture
def branches() -> tuple[Branch, ...]:
    return (_branch([11, 12, 13, 14], 2), _branch([21, 22, 23], 1), _branch([31, 32, 33, 34, 35], 3))


def test_losses_and_gradients_equal_those_of_separate_rows(decoder: Decoder, branches: tuple[Branch, ...]) -> None:
    vectors = torch.randn(6, decoder.hidden_size, requires_grad=True)
    ids = torch.tensor([5, 6, 7])
    context = (ids, vectors)
    shared = _loss(decoder, [BranchedRow(context, branches)])
    shared_grads = torch.autograd.grad(shared, [vectors, *decoder.model.parameters()], allow_unused=True)
    apart = torch.stack([_loss(decoder, [BranchedRow(context, (branch,))]) for branch in branches]).sum()
    apart_grads = torch.autograd.grad(apart, [vectors, *decoder.model.parameters()], allow_unused=True)
    torch.testing.assert_close(shared, apart, atol=1e-4, rtol=1e-5)
    for left, right in zip(shared_grads, apart_grads, strict=True):
        assert (left is None) == (right is None)
        if left is not None and right is not None:
            torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-4)


def test_padding_and_neighbours_change_nothing(decoder: Decoder, branches: tuple[Branch, ...]) -> None:
    rows = [
        BranchedRow((torch.randn(9, decoder.hidden_size),), branches[:1]),
        BranchedRow((torch.tensor([3, 4]), torch.randn(2, decoder.hidden_size)), branches[1:]),
        BranchedRow((), branches[:2]),
    ]
    together = _loss(decoder, rows)
    apart = torch.stack([_loss(decoder, [row]) for row in rows]).sum()
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-5)


def test_each_target_knows_its_branch(decoder: Decoder, branches: tuple[Branch, ...]) -> None:
    rows = [BranchedRow((torch.tensor([3]),), branches[:2]), BranchedRow((torch.tensor([3]),), branches[2:])]
    inputs = collate_branches(rows, decoder)
    assert inputs.target_branches.tolist() == [0, 0, 1, 2, 2, 2]
    assert inputs.target_ids.tolist() == [13, 14, 23, 33, 34, 35]
    assert int(inputs.before_targets.sum()) == 6
