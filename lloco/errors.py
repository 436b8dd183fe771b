"""What a user can cause, as exceptions: the command line turns each into one message and exit code 1.

A message has four parts: what must be, what it is instead, where, and what to do.
"""


class LlocoError(ValueError):
    """Base of every error that input, files or options can cause."""


class DocumentError(LlocoError):
    """A document or a set of documents cannot be used."""


class CheckpointError(LlocoError):
    """A model, compressor or adapter folder is missing, incomplete, damaged or of another kind."""


class MismatchError(LlocoError):
    """Two things were made for different models: a soft prompt, an adapter, a compressor, a decoder."""


class StoreError(LlocoError):
    """The store cannot be read or written."""


class ExistsError(StoreError):
    """Something of that name or id is there already, and may not be replaced."""


class DiskFullError(StoreError):
    """The disk has no room for what is to be stored; what was stored before is kept."""


class VectorsError(StoreError):
    """Vectors that no store takes: not finite, or zero."""


class DataError(LlocoError):
    """Task data, question-answer pairs or predictions do not have the form that was asked for."""
