"""Text of the documents found: what fits, and what is tokenised for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lloco.answer.budget import Room
from lloco.answer.evidence import Evidence
from lloco.answer.text import join_pieces, pack_passages, read_text
from lloco.models.control_tokens import ControlTokens
from lloco.models.tokenize import PIECE_LEN
from lloco.retrieval.retriever import Hit
from lloco.store.store import Store
from tests.corpora import add_document
from tests.tiny import tiny_decoder


def test_of_a_long_text_no_more_is_tokenised_than_may_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The brig Petrel. " * (20 * PIECE_LEN // 17)
    lens: list[int] = []

    def counted(tokenise: Callable[[ControlTokens, str], Any]) -> Callable[[ControlTokens, str], Any]:
        def count(control: ControlTokens, part: str) -> Any:
            lens.append(len(part))
            return tokenise(control, part)

        return count

    monkeypatch.setattr(ControlTokens, "ids", counted(ControlTokens.ids))
    monkeypatch.setattr(ControlTokens, "encode", counted(ControlTokens.encode))
    decoder = tiny_decoder()
    with Store(tmp_path) as store:
        corpus = store.corpus("c")
        add_document(corpus, "voyage", text)
        [best, *others] = corpus.document_passages("voyage")[40:]
        hits = tuple(Hit("voyage", item.start, item.end, item.text, 1.0) for item in (best, others[0]))
        evidence = [Evidence(corpus.document("voyage"), hits)]
        ids, [read], is_whole = read_text(corpus, evidence, decoder, Room("tiny", 128, 20, 0, 8))
    assert (len(ids), is_whole, read.hits) == (100, False, hits)
    assert PIECE_LEN < sum(lens) < 4 * PIECE_LEN


def test_passages_are_packed_best_first_the_last_cut_and_nothing_where_there_is_no_room() -> None:
    passages = {(0, start): torch.arange(start, start + 4) for start in (0, 10, 20)}
    separator = torch.tensor([99])

    def packed(limit: int) -> dict[tuple[int, int], list[int]]:
        taken = pack_passages([(0, 20), (0, 0), (0, 10)], passages.__getitem__, separator, limit)
        return {index: ids.tolist() for index, ids in taken.items()}

    assert packed(0) == packed(-1) == {}
    assert packed(6) == {(0, 20): [20, 21, 22, 23], (0, 0): [0]}
    assert join_pieces([], separator).tolist() == []
