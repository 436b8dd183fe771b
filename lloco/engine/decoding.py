"""One answer while it is written: chooses tokens, knows when to end, and which of its text is certain.

Every engine ends answers and cuts their text here, so that engines agree. Does not know about models, batches or
threads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lloco.engine.engine import FinishReason, Generation, SamplingParams
from lloco.errors import LlocoError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt

REPLACEMENT_CHARACTER = "\ufffd"
"""What tokenizers write for bytes that are not, or not yet, a character."""


class Decoding:
    """The tokens and the text that follow one prompt."""

    def __init__(self, decoder: Decoder, prompt: Prompt, sampling: SamplingParams, name: str = "the prompt") -> None:
        """Begin with no token; `name` is the prompt's in error messages.

        Raises:
            LlocoError: the prompt and `max_tokens` do not fit the decoder.
            CheckpointError: a stop string was given and the decoder has no tokenizer.
        """
        num_others = prompt.length - prompt.num_virtual_tokens + sampling.max_tokens
        if prompt.num_virtual_tokens > decoder.vectors_beside(num_others):
            raise LlocoError(
                f"{name} has {prompt.length} tokens and the answer may take {sampling.max_tokens}, "
                f"{decoder.name} reads {decoder.max_len}: shorten or compress the context, or lower max_tokens"
            )
        decoder.note_len(prompt.length + sampling.max_tokens)
        self.sampling = sampling
        self.token_ids: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.num_cached_tokens = 0
        self._num_prompt_tokens = prompt.length
        self._eos_token_ids = decoder.eos_token_ids
        self._tokenizer = decoder.require_tokenizer() if sampling.stop else decoder.tokenizer
        self._certain_text = ""
        self._generator: torch.Generator | None = None

    def add(self, token_id: int) -> str:
        """Append a token, end if it is the last, and return the text that has become certain with it."""
        self.token_ids.append(token_id)
        text = self._text()
        cut = min((text.index(string) for string in self.sampling.stop if string in text), default=None)
        if token_id in self._eos_token_ids or cut is not None:
            self.finish_reason = "stop"
        elif len(self.token_ids) == self.sampling.max_tokens:
            self.finish_reason = "length"
        return self._certain_piece(text[:cut])

    def cancel(self) -> str:
        """End here and return the text that was held back."""
        self.finish_reason = "cancelled"
        return self._certain_piece(self._text())

    def sample(self, logits: Tensor) -> Tensor:
        """Draw the next token id () from logits (vocab_size,); depends on this prompt's logits and seed only."""
        if self._generator is None:
            self._generator = torch.Generator(logits.device)
            if self.sampling.seed is None:
                self._generator.seed()
            else:
                self._generator.manual_seed(self.sampling.seed)
        logits = logits.float()
        # From the maximum downwards, so that a tiny temperature overflows to probability 0 and not to NaN.
        scaled = (logits - logits.max()) / max(self.sampling.temperature, 1e-6)
        probabilities, token_ids = scaled.softmax(dim=-1).sort(descending=True)
        cumulative = probabilities.cumsum(dim=-1)
        last = ((cumulative - probabilities < self.sampling.top_p).sum() - 1).clamp(min=0)  # float32 knows no 1e-46
        draw = torch.rand((), generator=self._generator, device=logits.device) * cumulative[last]
        return token_ids[torch.searchsorted(cumulative, draw, right=True).clamp(max=last)]

    @property
    def generation(self) -> Generation:
        """What an answer that has ended comes to."""
        assert self.finish_reason is not None
        return Generation(
            self._certain_text,
            tuple(self.token_ids),
            self._num_prompt_tokens,
            self.finish_reason,
            self.num_cached_tokens,
        )

    def _text(self) -> str:
        if self._tokenizer is None:
            return ""
        return str(self._tokenizer.decode(self.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _certain_piece(self, text: str) -> str:
        """Hold back, until the end, an unfinished character and what may be the beginning of a stop string."""
        if self.finish_reason is None:
            text = text.rstrip(REPLACEMENT_CHARACTER)
            starts = (
                string[:length] for string in self.sampling.stop for length in range(1, min(len(string), len(text) + 1))
            )
            text = text[: len(text) - max((len(start) for start in starts if text.endswith(start)), default=0)]
        piece = text[len(self._certain_text) :]
        self._certain_text += piece
        return piece


def next_token_ids(decodings: Sequence[Decoding], logits: Tensor) -> list[int]:
    """Choose each row's next token from logits (batch, vocab_size)."""
    chosen = logits.argmax(dim=-1)
    for row, decoding in enumerate(decodings):
        if not decoding.sampling.is_greedy:
            chosen[row] = decoding.sample(logits[row])
    return [int(token_id) for token_id in chosen.tolist()]
