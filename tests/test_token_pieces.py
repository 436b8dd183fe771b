"""Texts tokenised piece by piece, against the same tokenised whole, with tokenizers of every family."""

import json
import random
import string
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE, Unigram, WordPiece
from tokenizers.normalizers import NFC, NFKC, BertNormalizer, Normalizer, Replace
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel, Metaspace, PreTokenizer, Split
from tokenizers.pre_tokenizers import Sequence as PreTokenizerSequence
from tokenizers.processors import ByteLevel as TrimSpaces
from tokenizers.trainers import BpeTrainer, Trainer, UnigramTrainer, WordPieceTrainer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lloco.models.control_tokens import encode_text
from lloco.models.tokenize import TokenPiece, token_pieces
from tests.corpora import LEASE, VOYAGE
from tests.tiny import tiny_tokenizer

PIECE_LEN = 4096
SCRIPTS = (
    "Ünïcödé 漢字仮名交じり文 😀👩‍👩‍👧 e\u0301 n\u0303 ﬁ ½ Ａ русский العربية हिन्दी</s><s> don't it's \t\t  \r\n\n\n   "
    "1234567 3.14 a.b.c x=y+z;\u3000\u00a0\u200b"
)
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def train(
    model: BPE | Unigram | WordPiece,
    trainer: Trainer,
    normalizer: Normalizer | None = None,
    pre_tokenizer: PreTokenizer | None = None,
) -> Tokenizer:
    made = Tokenizer(model)
    if normalizer is not None:
        made.normalizer = normalizer
    if pre_tokenizer is not None:
        made.pre_tokenizer = pre_tokenizer
    made.train_from_iterator([LEASE, VOYAGE, SCRIPTS] * 4, trainer)
    made.add_special_tokens(["<s>", "</s>"])
    return made


def byte_level(pre_tokenizer: PreTokenizer, normalizer: Normalizer | None = None) -> Tokenizer:
    trainer = BpeTrainer(vocab_size=700, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    return train(BPE(ignore_merges=True), trainer, normalizer, pre_tokenizer)


def split_then_bytes() -> PreTokenizer:
    return PreTokenizerSequence([Split(Regex(WORDS), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])


def trimming_offsets() -> Tokenizer:
    made = byte_level(ByteLevel(add_prefix_space=True))
    made.post_processor = TrimSpaces(trim_offsets=True)
    return made


def metaspace(scheme: str) -> Tokenizer:
    trainer = BpeTrainer(vocab_size=700, special_tokens=["<unk>", *BYTES], show_progress=False)
    model = BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    return train(model, trainer, pre_tokenizer=Metaspace(prepend_scheme=scheme))


def without_words(*, has_prefix: bool) -> Tokenizer:
    """As the tokenizers of Llama 2 and Gemma are written: a normalizer makes the spaces, nothing cuts at them."""
    made = json.loads(metaspace("always").to_str())
    normalizers = [{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    if has_prefix:
        normalizers.insert(0, {"type": "Prepend", "prepend": "▁"})
    made |= {"pre_tokenizer": None, "normalizer": {"type": "Sequence", "normalizers": normalizers}}
    return Tokenizer.from_str(json.dumps(made))


def unigram(*, has_words: bool) -> Tokenizer:
    trainer = UnigramTrainer(vocab_size=300, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    normalizer = NormalizerSequence([NFKC(), Replace(Regex(" {2,}"), " ")])
    return train(Unigram(), trainer, normalizer, Metaspace(split=has_words))


def word_piece() -> Tokenizer:
    trainer = WordPieceTrainer(vocab_size=700, special_tokens=["[UNK]"], show_progress=False)
    return train(WordPiece(unk_token="[UNK]"), trainer, BertNormalizer(), BertPreTokenizer())


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "gpt2": lambda: byte_level(ByteLevel(add_prefix_space=False)),
    "gpt2 with a prefix, offsets trimmed": trimming_offsets,
    "llama3": lambda: byte_level(split_then_bytes()),
    "qwen": lambda: byte_level(split_then_bytes(), NFC()),
    "mistral": lambda: metaspace("first"),
    "metaspace": lambda: metaspace("always"),
    "llama2": lambda: without_words(has_prefix=True),
    "gemma": lambda: without_words(has_prefix=False),
    "unigram": lambda: unigram(has_words=True),
    "unigram without words": lambda: unigram(has_words=False),
    "bert": word_piece,
}


def texts() -> dict[str, str]:
    chosen = random.Random(0)
    prose = LEASE + "\n\n" + VOYAGE
    parts = [prose[start : start + 40] for start in range(0, 280, 9)] + [SCRIPTS[start:][:7] for start in range(120)]
    return {
        "prose": f"{prose} " * 60,
        "scripts": "".join(chosen.choices(parts, k=1000)),
        "one word": "".join(chosen.choices(string.ascii_letters, k=20_000)),
        "one character": "a" * 20_000,
        "a period": "aab" * 7_000,
        "digits": "".join(chosen.choices(string.digits, k=20_000)),
        "blank lines": "x" + "\n" * 20_000 + "y",
        "blanks": "x" + " " * 20_000 + "y",
        "emoji": "😀" * 20_000,
        "ideographs": "".join(chr(chosen.randrange(0x4E00, 0x9FFF)) for _ in range(18_000)),
        "combining": "e\u0301" * 20_000,
        "soup": "".join(
            chosen.choices(["a", "b", " ", "  ", "\n", ".", "'s", "19", "é", "😀", "\u0301", "</s>"], k=15_000)
        ),
    }


@pytest.mark.parametrize("name", TOKENIZERS)
def test_pieces_have_the_tokens_of_the_whole_text(name: str) -> None:
    fast: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerBase = fast(tokenizer_object=TOKENIZERS[name]())
    for kind, text in texts().items():
        pieces = list(token_pieces(tokenizer, text, PIECE_LEN))
        whole = encode_text(tokenizer, text)
        assert [item for piece in pieces for item in piece.ids] == whole.ids, kind
        starts = [start for piece in pieces for start in piece.starts]
        assert starts == [start for start, _ in whole.spans], kind
        assert pieces[-1].num_characters == len(text)
        is_read_at_once = kind != "prose" or name == "unigram without words"
        assert is_read_at_once or len(pieces) > 3


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return tiny_tokenizer()


@pytest.mark.parametrize("kind", sorted(texts()))
def test_a_byte_pair_encoding_is_never_read_at_once(tokenizer: PreTrainedTokenizerBase, kind: str) -> None:
    text = texts()[kind]
    done = [piece.num_characters for piece in token_pieces(tokenizer, text, PIECE_LEN)]
    assert done == sorted(set(done)) and len(done) > 3
    assert max(after - before for before, after in zip([0, *done], done, strict=False)) <= 2 * PIECE_LEN


def test_a_short_text_is_one_piece_and_an_empty_one_has_no_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    [piece] = token_pieces(tokenizer, LEASE)
    assert piece.ids == tokenizer(LEASE, add_special_tokens=False)["input_ids"]
    assert list(token_pieces(tokenizer, "")) == [TokenPiece([], [], 0)]
