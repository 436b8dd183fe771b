"""What a pretrained decoder learns its compressor from: spans to repeat, texts to continue, questions, plain text.

Draws samples from lines of text with their questions, as a pure function of the seed and the step. Questions are laid
out as they will be asked when served. Long texts are cut into windows that keep their questions. Knows nothing about
losses or models.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lloco.models.tokenize import token_ids
from lloco.prompts.branched_rows import Branch, question_branch
from lloco.prompts.prompt import answer_ids
from lloco.prompts.template import Template
from lloco.training.adapt.windows import cut_line
from lloco.training.pretrain.text import Line

Kind = Literal["repeat", "continue", "questions", "plain"]
KINDS: tuple[Kind, ...] = get_args(Kind)
REPEAT_INSTRUCTION = "\nRepeat the text:"
NOT_ANSWERABLE = "not in the documents"


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """How samples are drawn."""

    mix: Mapping[Kind, float] = field(default_factory=lambda: {"repeat": 1.0})
    """Share of each kind of sample in a step's positions, in any unit."""
    span_lens: tuple[int, int] = (8, 24)
    """Fewest and most tokens of a span that is repeated."""
    window_tokens: int = 320
    """Longer texts are cut into windows of about this many tokens."""
    max_questions: int = 6
    """Questions asked of one document in one row."""
    text_ratio: float = 0.3
    """Share of the questions' rows that are learned from the documents' text as well, in a row of their own."""
    teacher_ratio: float = 0.0
    """Share of the other rows with documents whose text is read, and not learned from, to teach what vectors give."""
    distractor_ratio: float = 0.0
    """Share of the questions' rows that hold one to three other documents as well."""
    not_answerable_ratio: float = 0.0
    """Share of the questions' rows that are also asked about a document that is not in them."""
    hybrid_ratio: float = 0.0
    """Share of the questions' rows that hold a piece of their document as text beside its vectors."""
    text_weight: float = 0.3
    """Weight in the loss of a token of text, where one of an answer has 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One row to learn from, before it is known what its documents' vectors are."""

    before_ids: Tensor
    """Tokens before the context."""
    documents: tuple[Tensor, ...]
    """Token ids of the documents that are read as vectors, in order."""
    text_ids: Tensor
    """Tokens that are read as text behind them."""
    branches: tuple[Branch, ...]
    is_text_read: bool = False
    """Whether the documents are read as text in a second row, which is learned from."""
    is_taught: bool = False
    """Whether that row is read only to teach; one that is learned from teaches as well."""
    is_plain: bool = False
    """Whether this is text without a document, which is to be read as the model reads it without LoRA."""

    def row_len(self, ratio: float) -> float:
        """Return about how many positions a row takes that reads the documents at this ratio; as text at 1."""
        around = len(self.before_ids) + len(self.text_ids) + sum(len(branch.ids) for branch in self.branches)
        return around + sum(len(ids) for ids in self.documents) / ratio

    def longest_row_len(self, ratio: float) -> float:
        """Return about how many positions the longest of its rows takes."""
        return self.row_len(1 if self.has_text_row else ratio)

    @property
    def has_text_row(self) -> bool:
        """Whether the documents are read as text in a second row at all."""
        return self.is_text_read or self.is_taught

    def num_positions(self, ratio: float) -> float:
        """Return about how many positions of the decoder its rows take."""
        once = self.row_len(ratio)
        # A forward pass that needs no way back costs half as much.
        if self.is_plain:
            return 1.5 * once
        return once + (self.row_len(1) if self.is_text_read else self.row_len(1) / 2 if self.is_taught else 0)


class Samples:
    """Draws samples from lines; tokenises what is drawn and nothing else."""

    def __init__(
        self, lines: Sequence[Line], options: SampleOptions, template: Template, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self.options = options
        self.template = template
        self.tokenizer = tokenizer
        self._texts = lines
        self._asked = [line for line in lines if line[1]]
        self._repeat = self._ids(REPEAT_INSTRUCTION)

    def draw(self, chooser: random.Random) -> Sample:
        """Draw one sample of a kind that the mix names."""
        kinds = [kind for kind in KINDS if self.options.mix.get(kind, 0.0) > 0]
        kind = chooser.choices(kinds, [self.options.mix[kind] for kind in kinds])[0]
        sample = self._of(kind, chooser)
        is_taught = bool(sample.documents) and not sample.is_text_read
        return replace(sample, is_taught=is_taught and chooser.random() < self.options.teacher_ratio)

    def _of(self, kind: Kind, chooser: random.Random) -> Sample:
        if kind == "questions":
            return self._questions(chooser)
        ids = self._ids(cut_line(chooser.choice(self._texts), self.options.window_tokens, chooser)[0])
        if kind == "repeat" or (kind == "continue" and len(ids) < 16):
            return self._repeated(ids, chooser)
        if kind == "plain":
            return Sample(_NOTHING, (), _NOTHING, (self._text_branch(ids),), is_plain=True)
        cut = chooser.randrange(len(ids) // 4, 3 * len(ids) // 4)
        # The first token of a branch is no target: it is given as text.
        return Sample(_NOTHING, (ids[:cut],), _NOTHING, (self._text_branch(ids[cut:]),))

    def _repeated(self, ids: Tensor, chooser: random.Random) -> Sample:
        shortest, longest = self.options.span_lens
        length = min(len(ids), chooser.randint(shortest, longest))
        start = chooser.randint(0, len(ids) - length)
        span = ids[start : start + length]
        weights = torch.cat([torch.zeros(len(self._repeat)), torch.full((len(span),), self.options.text_weight)])
        return Sample(_NOTHING, (span,), _NOTHING, (Branch(torch.cat([self._repeat, span]), weights),))

    def _text_branch(self, ids: Tensor) -> Branch:
        weights = torch.full((len(ids),), self.options.text_weight)
        weights[:1] = 0
        return Branch(ids, weights)

    def _questions(self, chooser: random.Random) -> Sample:
        """Ask about one document, perhaps among others, perhaps with a piece of it as text."""
        options = self.options
        line = chooser.choice(self._asked)
        shown_texts = {line[0]}
        text, pairs = cut_line(line, options.window_tokens, chooser, with_questions=True)
        own = self._ids(text)
        documents = [own]
        if chooser.random() < options.distractor_ratio:
            others = [chooser.choice(self._texts) for _ in range(chooser.randint(1, 3))]
            shown_texts |= {text for text, _ in others}
            documents += [self._ids(cut_line(line, options.window_tokens, chooser)[0]) for line in others]
            chooser.shuffle(documents)
        asked = chooser.sample(pairs, min(options.max_questions, len(pairs)))
        if chooser.random() < options.not_answerable_ratio:
            other_text, other_pairs = chooser.choice(self._asked)
            stranger, _ = chooser.choice(other_pairs)
            if other_text not in shown_texts and all(stranger != question for question, _ in pairs):
                asked.append((stranger, NOT_ANSWERABLE))
        shown = self._shown(own, chooser) if chooser.random() < options.hybrid_ratio else _NOTHING
        before, branches = _NOTHING, []
        for question, answer in asked:
            target_ids = answer_ids(self.template, self.tokenizer, answer)
            before, branch = question_branch(self.template, self.tokenizer, question, target_ids)
            branches.append(branch)
        is_text_read = chooser.random() < options.text_ratio
        return Sample(before, tuple(documents), shown, tuple(branches), is_text_read)

    def _shown(self, ids: Tensor, chooser: random.Random) -> Tensor:
        length = min(len(ids), chooser.randint(24, 64))
        start = chooser.randint(0, len(ids) - length)
        return ids[start : start + length]

    def _ids(self, text: str) -> Tensor:
        return token_ids(self.tokenizer, text)


_NOTHING = torch.empty(0, dtype=torch.int64)
