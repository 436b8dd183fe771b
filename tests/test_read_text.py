"""Text of the documents found: what fits, and what is tokenised for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedTokenizerBase

from lloco.evidence import Evidence
from lloco.models.token_pieces import PIECE_LEN
from lloco.read_text import join_pieces, pack_passages, read_text
from lloco.retriever import Hit
from lloco.room import Room
from lloco.store.store import Store
from tests.corpora import add_document
from tests.tiny import tiny_decoder, tiny_tokenizer


class CountingTokenizer:
    """A tokenizer that counts what it is given."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.num_characters = 0

    def __call__(self, text: str, **options: Any) -> Any:
        self.num_characters += len(text)
        return self._tokenizer(text, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def test_of_a_long_text_no_more_is_tokenised_than_may_be_read(tmp_path: Path) -> None:
    text = "The brig Petrel. " * (20 * PIECE_LEN // 17)
    tokenizer = CountingTokenizer(tiny_tokenizer())
    decoder = replace(tiny_decoder(), tokenizer=cast(PreTrainedTokenizerBase, tokenizer))
    with Store(tmp_path) as store:
        corpus = store.corpus("c")
        add_document(corpus, "voyage", text)
        [best, *others] = corpus.document_passages("voyage")[40:]
        hits = tuple(Hit("voyage", one.start, one.end, one.text, 1.0) for one in (best, others[0]))
        evidence = [Evidence(corpus.document("voyage"), hits)]
        ids, [read], is_whole = read_text(corpus, evidence, decoder, Room("tiny", 128, 20, 0, 8))
    assert (len(ids), is_whole, read.hits) == (100, False, hits)
    assert tokenizer.num_characters < 4 * PIECE_LEN


def test_passages_are_packed_best_first_the_last_cut_and_nothing_where_there_is_no_room() -> None:
    passages = {(0, start): torch.arange(start, start + 4) for start in (0, 10, 20)}
    separator = torch.tensor([99])

    def packed(limit: int) -> dict[tuple[int, int], list[int]]:
        taken = pack_passages([(0, 20), (0, 0), (0, 10)], passages.__getitem__, separator, limit)
        return {place: ids.tolist() for place, ids in taken.items()}

    assert packed(0) == packed(-1) == {}
    assert packed(6) == {(0, 20): [20, 21, 22, 23], (0, 0): [0]}
    assert join_pieces([], separator).tolist() == []
