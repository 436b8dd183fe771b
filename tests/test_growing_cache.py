"""Appending to keys and values gives what concatenating gives, and moves nothing while there is room."""

import weakref
from typing import Any

import torch
from transformers import DynamicCache

from lloco.engine.growing_cache import GrowingCache


def states(num_positions: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, num_positions, 4)


def test_appended_states_are_those_that_a_dynamic_cache_holds() -> None:
    torch.manual_seed(0)
    growing, dynamic = GrowingCache(), DynamicCache()
    for num_positions in (7, 1, 1, 90, 1, 500, 1):
        for layer in range(2):
            new = states(num_positions), states(num_positions)
            for ours, theirs in zip(growing.update(*new, layer), dynamic.update(*new, layer), strict=True):
                assert torch.equal(ours, theirs)
        assert growing.get_seq_length() == dynamic.get_seq_length()


def test_a_token_is_written_behind_the_others_without_moving_them() -> None:
    cache = GrowingCache()
    cache.update(states(1000), states(1000), 0)
    before, _ = cache.update(states(1), states(1), 0)
    kept = before.clone()
    for _ in range(64):
        after, _ = cache.update(states(1), states(1), 0)
        assert after.data_ptr() == before.data_ptr()
    assert torch.equal(before, kept)
    assert torch.equal(after[:, :, :1001], kept)


def test_keys_and_values_that_were_replaced_are_what_is_appended_to() -> None:
    cache = GrowingCache()
    cache.update(states(10), states(10), 0)
    layer = cache.layers[0]
    keys, values = states(4, batch=1), states(4, batch=1)
    layer.keys, layer.values = keys, values
    more = states(1, batch=1)
    found_keys, found_values = cache.update(more, more, 0)
    assert torch.equal(found_keys, torch.cat([keys, more], dim=2))
    assert torch.equal(found_values, torch.cat([values, more], dim=2))


def test_replaced_keys_and_values_free_the_memory_of_those_before() -> None:
    cache = GrowingCache()
    cache.update(states(1000), states(1000), 0)
    cache.update(states(1), states(1), 0)
    layer: Any = cache.layers[0]
    before = weakref.ref(layer.keys)
    layer.replace(states(4), states(4))
    assert before() is None
    more = states(1)
    assert cache.update(more, more, 0)[0].shape[2] == 5
