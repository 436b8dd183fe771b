"""A question: the same value, and the same way from there, for the command line, the server and the library."""

from pathlib import Path
from typing import Any

import pytest

from lloco.answer.ask import answer_question, ask
from lloco.answer.prepare import Reader
from lloco.answer.question import Question
from lloco.compressors.load import load_compressor
from lloco.engine.engine import SamplingParams
from lloco.engine.streaming import StreamingEngine
from lloco.errors import LlocoError
from lloco.store.store import Store
from tests.command import Run
from tests.serving import QUESTION

pytestmark = pytest.mark.usefixtures("home")


def test_the_library_asks_in_the_same_way(filled: Run, home: Path, compressor: Path) -> None:
    with Store(home) as store:
        corpus = store.corpus("c", create=False)
        engine = StreamingEngine(load_compressor(compressor).decoder)
        question = Question(QUESTION, unit="passage", sampling=SamplingParams(max_tokens=4))
        made = answer_question(corpus, question, Reader(engine))
        assert made == ask(corpus, QUESTION, unit="passage", max_tokens=4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": " \n"}, "the question is empty"),
        ({"top_k": 0}, "top_k must be at least 1 document, got 0"),
        ({"top_k": 0, "unit": "passage"}, "top_k must be at least 1 passage, got 0"),
        ({"budget": 0}, "budget must be at least 1 position, got 0"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LlocoError, match=message):
        Question(**{"text": QUESTION, **fields})
