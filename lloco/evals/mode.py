"""Modes of reading: what of a document stands before a question. Light to import, since `--help` lists them."""

from typing import Literal, TypeAlias, get_args

Mode: TypeAlias = Literal["compressed", "hybrid", "full", "truncated", "none", "retrieval", "compressed_head"]
MODES: tuple[Mode, ...] = get_args(Mode)
DEFAULT_MODES = tuple(mode for mode in MODES if mode != "compressed_head")
"""`compressed_head` differs from `compressed` only where a soft prompt does not fit: its first vectors are read."""
VECTORS_ALONE = ("compressed", "compressed_head")
"""Modes that read vectors and no text."""
VECTOR_MODES = ("compressed", "hybrid", "compressed_head")
"""Modes that read a soft prompt."""
BUDGET_MODES = ("hybrid", "truncated", "retrieval")
"""Modes that read as many tokens as the soft prompt has, unless they are given a budget."""
ADAPTER_SUFFIX = "+adapter"
"""`MODE+adapter` reads in that mode with the adapter."""


def needs_soft_prompt(mode: str, context_budget: int | None) -> bool:
    """Whether the mode reads a document's soft prompt, or as many tokens as that has."""
    name = mode.removesuffix(ADAPTER_SUFFIX)
    return name in VECTOR_MODES or (name in BUDGET_MODES and context_budget is None)
