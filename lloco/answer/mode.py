"""Modes of reading for an answer. Light to import, since `--help` lists them."""

from typing import Literal, TypeAlias, get_args

Mode: TypeAlias = Literal["compressed", "hybrid", "full", "retrieval"]
"""What of the documents is read: their soft prompts; these and the best passages of their text; their text; the best
passages alone."""
MODES: tuple[Mode, ...] = get_args(Mode)
TEXT_MODES = ("full", "retrieval")
"""Modes that read no vectors: any decoder can."""
BUDGET_MODES = ("hybrid", "retrieval")
"""Modes that read passages within a budget of positions."""
