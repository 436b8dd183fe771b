"""Text and control tokens kept apart, for any tokenizer: a text that spells a special token is tokenised as text.

A tokenizer finds its special tokens by their spelling. The copy that is made of it here knows them by marks, spellings
that no text has, and by these alone. Wording that is to hold control tokens, such as a rendered chat template, has them
marked first; nothing else becomes one. No state of the tokenizer itself is changed, so threads may share it.
"""

import json
import re
import secrets
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary, proxy

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

Span: TypeAlias = tuple[int, int]
"""The first character of a token and the one after its last."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_BRACKETED = re.compile(r"<.+>|\[.+\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """The tokens of a text."""

    ids: list[int]
    spans: list[Span]
    word_ids: list[int | None]
    """The number of the word that each token is of, as the pre-tokenizer cut it."""


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the ids of the text's tokens: none that the tokenizer would add, and no control token."""
    return ControlTokens.of(tokenizer).ids(text)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> TextEncoding:
    """Return the same with the tokens' places; only a fast tokenizer tells them."""
    return ControlTokens.of(tokenizer).encode(text)


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Iterator[list[int]]:
    """Yield the ids of each text's tokens, which a fast tokenizer finds for many texts at once."""
    return ControlTokens.of(tokenizer).ids_of_each(texts)


class ControlTokens:
    """The control tokens of a tokenizer, and what tokenises text in which none can be spelled."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        ids = _control_ids(tokenizer)
        spelled = sorted(ids, key=lambda token: (-len(token), token))
        secret = secrets.token_hex(16)
        self._spelling = _one_of(spelled)
        self._marks = {token: f"lloco{secret}c{number:06}z" for number, token in enumerate(spelled)}
        self._standins = {token: f"lloco{secret}t{number:06}z" for number, token in enumerate(spelled)}
        self._standin = _one_of(self._standins.values())
        self._spelled_by = {standin: token for token, standin in self._standins.items()}
        self._tokenizer = (
            _MarkedFast(tokenizer, self._marks)
            if tokenizer.is_fast
            else _MarkedSlow(tokenizer, self._marks, ids, self._spelling)
        )

    @staticmethod
    def of(tokenizer: PreTrainedTokenizerBase) -> "ControlTokens":
        """Return the control tokens of this tokenizer, found once as long as it stays as it is."""
        state = _state(tokenizer)
        found = _KNOWN.get(tokenizer)
        if found is None or found[0] != state:
            with _MAKING:
                found = _KNOWN.get(tokenizer)
                if found is None or found[0] != state:
                    found = _KNOWN[tokenizer] = (state, ControlTokens(tokenizer))
        return found[1]

    def mark(self, wording: str, tokens: Collection[str] | None = None) -> str:
        """Have these control tokens, all when not given, stand as such in the wording wherever it spells them."""

        def marked(found: re.Match[str]) -> str:
            return self._marks[found[0]] if tokens is None or found[0] in tokens else found[0]

        return self._spelling.sub(marked, wording)

    def hide(self, text: str) -> str:
        """Replace what spells a control token, until `show`, by letters and digits that spell none."""
        return self._spelling.sub(lambda found: self._standins[found[0]], text)

    def show(self, text: str) -> str:
        """Undo `hide`."""
        return self._standin.sub(lambda found: self._spelled_by[found[0]], text)

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text; control tokens stand where they are marked and nowhere else."""
        return self._tokenizer.ids(text)

    def ids_of_each(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Yield the ids of each text."""
        return self._tokenizer.ids_of_each(texts)

    def encode(self, text: str) -> TextEncoding:
        """Return the tokens of a text with their places; raises `TypeError` where the tokenizer is not a fast one."""
        if isinstance(self._tokenizer, _MarkedSlow):
            raise TypeError("only a fast tokenizer says where tokens lie")
        return self._tokenizer.encode(text)


_KNOWN: "WeakKeyDictionary[PreTrainedTokenizerBase, tuple[object, ControlTokens]]" = WeakKeyDictionary()
_MAKING = threading.Lock()


class _MarkedFast:
    """A copy of a fast tokenizer in which control tokens are spelled as their marks."""

    def __init__(self, tokenizer: Any, marks: dict[str, str]) -> None:
        made = json.loads(tokenizer.backend_tokenizer.to_str())
        made |= {"truncation": None, "padding": None}
        for token in made["added_tokens"]:
            token["content"] = marks.get(token["content"], token["content"])
        _respell(made["model"], marks)
        # The model may not have a mark: then its token has another id here than there.
        self._backend = Tokenizer.from_str(json.dumps(made))
        found = [(self._backend.token_to_id(token["content"]), token["id"]) for token in made["added_tokens"]]
        self._other_ids = {here: there for here, there in found if here != there}

    def ids(self, text: str) -> list[int]:
        return self._as_there(self._backend.encode(text, add_special_tokens=False).ids)

    def ids_of_each(self, texts: Sequence[str]) -> Iterator[list[int]]:
        encoded = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return (self._as_there(each.ids) for each in encoded)

    def encode(self, text: str) -> TextEncoding:
        encoded = self._backend.encode(text, add_special_tokens=False)
        return TextEncoding(self._as_there(encoded.ids), encoded.offsets, encoded.word_ids)

    def _as_there(self, ids: list[int]) -> list[int]:
        return [self._other_ids.get(id, id) for id in ids] if self._other_ids else ids


class _MarkedSlow:
    """A slow tokenizer, given what stands between marks."""

    def __init__(self, tokenizer: Any, marks: dict[str, str], ids: dict[str, int], spelling: "re.Pattern[str]") -> None:
        # Not kept alive from here: as long as it lives, this is kept for it.
        self._tokenizer, self._spelling = proxy(tokenizer), spelling
        self._id_of_mark = {mark: ids[token] for token, mark in marks.items()}
        self._mark = re.compile(f"({_one_of(marks.values()).pattern})")
        self._control_ids = set(ids.values()) - {tokenizer.unk_token_id}

    def ids(self, text: str) -> list[int]:
        found: list[int] = []
        for part in self._mark.split(text):
            if (id := self._id_of_mark.get(part)) is not None:
                found.append(id)
            elif part:
                found += self._ids_of_text(part)
        return found

    def ids_of_each(self, texts: Sequence[str]) -> Iterator[list[int]]:
        return map(self.ids, texts)

    def _ids_of_text(self, text: str) -> list[int]:
        cuts = [match.start() + 1 for match in self._spelling.finditer(text)]
        ids: list[int] = self._ids(text, is_split=bool(cuts))
        if not cuts or self._control_ids.isdisjoint(ids):
            return ids
        # Its vocabulary has the spelling as an ordinary word: no word goes across a cut.
        bounds = [0, *cuts, len(text)]
        parts = [text[start:end] for start, end in pairwise(bounds) if start < end]
        return [id for part in parts for id in self._ids(part, is_split=True)]

    def _ids(self, text: str, *, is_split: bool) -> list[int]:
        options = {"split_special_tokens": True} if is_split else {}
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False, **options)["input_ids"]
        return ids


def _control_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return the special tokens, and added ones in brackets that the chat template writes though none calls them so."""
    named = set(tokenizer.all_special_tokens)
    template = str(tokenizer.chat_template or "")
    return {
        token.content: id
        for id, token in tokenizer.added_tokens_decoder.items()
        if token.special
        or token.content in named
        or (_BRACKETED.fullmatch(token.content) and token.content in template)
    }


def _state(tokenizer: PreTrainedTokenizerBase) -> object:
    """Return what changes when a tokenizer is given other control tokens."""
    backend: Any = tokenizer.backend_tokenizer if tokenizer.is_fast else None
    size = len(tokenizer) if backend is None else backend.get_vocab_size(with_added_tokens=True)
    return id(backend), size, tokenizer.chat_template, tuple(tokenizer.special_tokens_map.items())


def _respell(model: dict[str, Any], marks: dict[str, str]) -> None:
    """Write control tokens in a model's vocabulary (mutated) as their marks: no text comes to one by its spelling.

    Left alone are single characters, names of bytes, and words that merges make: they are ordinary tokens too.
    """
    merges = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model.get("merges", ())]
    touched = [[token for token in (left, right, left + right) if token in marks] for left, right in merges]
    kept = {token for tokens in touched for token in tokens if not _BRACKETED.fullmatch(token)}
    if model.get("byte_fallback"):
        kept |= set(filter(_BYTE.fullmatch, marks))
    new = {token: mark for token, mark in marks.items() if len(token) > 1 and token not in kept}
    if merges:
        model["merges"] = [
            merge for merge, tokens in zip(model["merges"], touched, strict=True) if new.keys().isdisjoint(tokens)
        ]
    vocab = model.get("vocab")
    if isinstance(vocab, dict):
        model["vocab"] = {new.get(token, token): id for token, id in vocab.items()}
    elif isinstance(vocab, list):
        model["vocab"] = [[new.get(token, token), score] for token, score in vocab]
    if "unk_token" in model:
        model["unk_token"] = new.get(model["unk_token"], model["unk_token"])


def _one_of(spelled: Collection[str]) -> "re.Pattern[str]":
    """Return what finds any of these, a longer one before its beginning; with none, nothing."""
    return re.compile("|".join(map(re.escape, spelled)) or r"(?!)")
