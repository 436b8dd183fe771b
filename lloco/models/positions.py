"""How many positions a model reads: those that its config declares, and where it can go on beyond them.

A declared number is what a model was trained on. Rotary positions are computed, not looked up, so that such a model can
read longer rows all the same; the public code of the AutoCompressor does. Learned positions end where their table does.
"""

import logging
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

PUBLISHED_MAX_SEGMENTS = 80
"""Segments of a document that the public code reads at most: 122,880 tokens, 4,000 vectors."""
_LOG = logging.getLogger(__name__)
_NOTED: "WeakSet[Any]" = WeakSet()
_ENDLESS = ("default", "linear", "llama3", "yarn")
"""Rotations that do not depend on the length of what is read."""


def declared_positions(config: Any) -> int | None:
    """Return the positions that a text model's config names, or None where it names none."""
    number = getattr(config, "max_position_embeddings", None)
    return None if number is None else int(number)


def rotations(config: Any) -> list[str]:
    """Return the kinds of rotary positions that a text model has, none where it has others."""
    parameters = getattr(config, "rope_parameters", None) or {}
    nested = [parameter for parameter in parameters.values() if isinstance(parameter, Mapping)]
    return [str(rope.get("rope_type", "default")) for rope in nested or ([parameters] if parameters else [])]


def are_endless(config: Any) -> bool:
    """Return whether positions beyond the declared ones are encoded as those within are."""
    kinds = rotations(config)
    return bool(kinds) and all(kind in _ENDLESS for kind in kinds)


def num_published_vectors(config: Any) -> int:
    """Return the vectors that the public code reads whatever is declared; 0 where it is no AutoCompressor's config."""
    is_autocompressor = hasattr(config, "accumulate_summary") and getattr(config, "compressor_design", None) is None
    length = getattr(config, "summary_length", None)
    if not is_autocompressor or type(length) is not int or not are_endless(config):
        return 0
    return PUBLISHED_MAX_SEGMENTS * length


def note_beyond(model: object, name: str, declared: int, num_positions: int) -> None:
    """Warn that a model is read beyond what it declares, once for each object that stands for a model."""
    if model not in _NOTED:
        _NOTED.add(model)
        _LOG.warning(
            f"{name} declares {declared:,} positions and is read beyond them, to {num_positions:,}: what it was not "
            f"trained on may come out worse; --max-positions {declared} keeps to what it declares"
        )
