"""Which virtual tokens stand for which characters of a document.

Characters lie in tokens, tokens in segments of `segment_len`, and every segment became `summary_length` rows of the
soft prompt. Long documents are compressed in windows of whole segments, so this holds across windows too.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lloco.models.control_tokens import text_ids
from lloco.models.tokenize import token_pieces
from lloco.prompts.soft_prompt import SoftPrompt


def token_starts(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the first character of every token of the text, in order."""
    if tokenizer.is_fast:
        return [start for piece in token_pieces(tokenizer, text) for start in piece.starts]
    # Without offsets, the text that the first n tokens spell is as long as the place of the next one, or nearly so.
    starts, place = [], 0
    for token_id in text_ids(tokenizer, text):
        starts.append(min(place, max(len(text) - 1, 0)))
        place += len(str(tokenizer.decode([token_id], clean_up_tokenization_spaces=False)))
    return starts


def segments_of_span(starts: list[int], start: int, end: int, segment_len: int) -> range:
    """Return the numbers of the segments that the characters `start` to `end` (exclusive) lie in."""
    first = max(bisect_right(starts, start) - 1, 0)
    last = max(bisect_left(starts, end) - 1, first)
    return range(first // segment_len, last // segment_len + 1)


def rows_of_segments(soft_prompt: SoftPrompt, segments: Iterable[int]) -> Tensor:
    """Return the rows (num_virtual_tokens, hidden_size) of these segments, in the document's order, each once.

    Segments that a truncated soft prompt does not reach have no rows.
    """
    size = soft_prompt.provenance.summary_length
    total = soft_prompt.num_virtual_tokens
    rows = [row for number in sorted(set(segments)) for row in range(number * size, min((number + 1) * size, total))]
    return soft_prompt.embeds[torch.tensor(rows, dtype=torch.int64)]
