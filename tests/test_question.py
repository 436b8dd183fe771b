"""A question: the same value, and the same way from there, for the command line, the server and the library."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lloco.answer.ask import answer_question, ask
from lloco.answer.prepare import Reader
from lloco.answer.question import Question
from lloco.compressors.load import load_compressor
from lloco.engine.engine import SamplingParams
from lloco.engine.streaming import StreamingEngine
from lloco.errors import LlocoError
from lloco.prompts.prompt import Prompt
from lloco.store.store import Store
from tests.command import Run
from tests.serving import CHAT_URL, QUESTION, chat, serving

pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize("mode", ["compressed", "full", "retrieval"])
def test_the_command_line_and_the_server_have_the_same_prompt_read(
    filled: Run, home: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    submitted: list[tuple[Prompt, SamplingParams, Any]] = []
    submit = StreamingEngine.submit

    def noting(engine: StreamingEngine, prompt: Prompt, sampling: SamplingParams, *args: Any, **others: Any) -> Any:
        submitted.append((prompt, sampling, others.get("adapter")))
        return submit(engine, prompt, sampling, *args, **others)

    monkeypatch.setattr(StreamingEngine, "submit", noting)
    assert filled("ask", "--corpus", "c", QUESTION, "--mode", mode, "--unit", "passage", "--max-tokens", "3") == 0
    with serving(home) as site, site.http() as http:
        body = chat(corpus="c", max_tokens=3, lloco={"mode": mode, "unit": "passage"})
        assert http.post(CHAT_URL, json=body).status_code == 200
    (typed, *typed_others), (sent, *sent_others) = submitted
    assert typed_others == sent_others
    assert (typed.num_context_tokens, typed.num_virtual_tokens) == (sent.num_context_tokens, sent.num_virtual_tokens)
    assert all(torch.equal(*pieces) for pieces in zip(typed.pieces, sent.pieces, strict=True))


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
