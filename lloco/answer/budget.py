"""How the positions of a decoder are shared out: what question, history and answer leave for documents.

Where that is too little, the error says what took the room. Knows nothing of documents or tokenizers.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from lloco.errors import LlocoError

DEFAULT_BUDGET = 512
"""Positions for the best passages of a document where there is no soft prompt to go by."""
Taker: TypeAlias = Literal["question", "history", "answer", "limit"]
"""What takes too much: the question, what was said before it, the answer's length, or the caller's own limit."""
_ADVICE: dict[Taker, str] = {
    "question": "ask a shorter question",
    "history": "let fewer earlier turns be read again (--turns), or forget them with /new",
    "answer": "allow a shorter answer with --max-tokens",
    "limit": "raise --max-virtual-tokens",
}


class NoRoomError(LlocoError):
    """Question, answer and the least that can be read of a document do not fit the decoder together."""

    def __init__(self, reason: str, taker: Taker) -> None:
        super().__init__(f"{reason}: {_ADVICE[taker]}")
        self.reason, self.taker = reason, taker


@dataclass(frozen=True, slots=True)
class Room:
    """The positions of a decoder and what takes them."""

    decoder: str
    num_positions: int
    question_len: int
    """Positions of the question and the wording around it."""
    history_len: int
    answer_len: int
    """Positions that are kept free for the answer."""
    max_virtual_tokens: int | None = None
    num_vectors_beyond: int = 0
    """Vectors that the decoder reads whatever its positions."""

    @property
    def for_text(self) -> int:
        """Positions that are left for text; below 1 where there are none."""
        return self.num_positions - self.question_len - self.history_len - self.answer_len

    @property
    def for_vectors(self) -> int:
        """Positions that vectors may take."""
        room = max(self.for_text, self.num_vectors_beyond) if self.for_text >= 0 else self.for_text
        return room if self.max_virtual_tokens is None else min(room, self.max_virtual_tokens)

    def error(self, need: str) -> NoRoomError:
        """Say that this does not fit, and what takes the room."""
        if self.max_virtual_tokens is not None and self.for_vectors == self.max_virtual_tokens:
            return NoRoomError(f"{need}, {self.max_virtual_tokens:,} may be read", "limit")
        takers: dict[Taker, int] = {
            "question": self.question_len,
            "history": self.history_len,
            "answer": self.answer_len,
        }
        taken = f"the question takes {self.question_len:,}, the answer may take {self.answer_len:,}"
        if self.history_len:
            taken += f", what was said before takes {self.history_len:,}"
        reason = (
            f"{need}, {max(self.for_text, 0):,} are left of the {self.num_positions:,} positions of {self.decoder} "
            f"({taken})"
        )
        return NoRoomError(reason, max(takers, key=lambda taker: takers[taker]))
