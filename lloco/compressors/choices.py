"""The names that compressors' options take; the command line reads them before it loads what they stand for."""

from typing import Literal, TypeAlias

LongDocuments: TypeAlias = Literal["windows", "truncate", "refuse"]
Design: TypeAlias = Literal["autocompressor", "pooling", "interleaved", "bidirectional"]
"""The designs that are trained together with their decoder."""
