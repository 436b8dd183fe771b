"""A byte-level BPE tokenizer trained from text: every string round-trips, digits are one token each."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lloco.errors import LlocoError
from lloco.files.durable import write_durably
from lloco.files.strict_json import read_value
from lloco.models.decoder import load_tokenizer

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Fit a BPE of `vocab_size` tokens; ids 0, 1, 2 are unknown, begin and end of text, as Llama has them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\d"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[UNKNOWN, BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
    )


def kept_tokenizer(folder: Path, texts: Sequence[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a tokenizer and keep it in the folder, or read the one that is there.

    Raises:
        LlocoError: that was trained on other texts, or to another size.
    """
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    record, made_of = folder / "made_of.json", {"vocab_size": vocab_size, "texts": digest.hexdigest()}
    if isinstance(found := load_tokenizer(folder), PreTrainedTokenizerFast):
        if record.exists() and read_value(record) != made_of:  # one from before there were records has none
            raise LlocoError(
                f"{folder} holds the tokenizer of another run, not of these texts with {vocab_size:,} tokens: give "
                "another --out, or remove that folder"
            )
        return found
    tokenizer = train_tokenizer(texts, vocab_size)
    tokenizer.save_pretrained(folder)
    write_durably(record, json.dumps(made_of).encode())
    return tokenizer
