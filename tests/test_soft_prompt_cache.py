"""Soft prompts that are kept in memory, and those that make room."""

import torch

from lloco.prompts.soft_prompt_cache import SoftPromptCache


def test_what_was_not_used_for_longest_makes_room() -> None:
    cache: SoftPromptCache[str, torch.Tensor] = SoftPromptCache(max_bytes=16)
    for name in ("a", "b"):
        cache.keep(name, torch.zeros(2))
    assert cache.get("a") is not None
    cache.keep("c", torch.zeros(1))
    assert ["a" in cache, "b" in cache, "c" in cache] == [True, False, True]
    assert cache.get("b") is None


def test_what_is_larger_than_all_room_is_kept_until_the_next() -> None:
    cache: SoftPromptCache[str, torch.Tensor] = SoftPromptCache(max_bytes=16)
    cache.keep("small", torch.zeros(4))
    cache.keep("large", torch.zeros(5))
    assert "large" in cache and "small" not in cache
    cache.keep("small", torch.zeros(1))
    assert "small" in cache and "large" not in cache
