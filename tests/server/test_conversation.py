"""What was said before a question, and what is read for it: system messages, earlier turns, vectors or full text."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions, save_adapter
from lloco.answer.ask import ask as ask_corpus
from lloco.answer.corpus_decoder import load_corpus_decoder
from lloco.answer.mode import Mode
from lloco.answer.prepare import PreparedQuestion, Reader, prepare
from lloco.answer.question import Question
from lloco.compression.run import compress_into
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.engine.engine import SamplingParams
from lloco.engine.transformers_engine import TransformersEngine
from lloco.models.checkpoint import weights_digest
from lloco.models.decoder import load_decoder
from lloco.prompts.prompt import NO_HISTORY, History
from lloco.prompts.template import DEFAULT_TEMPLATE
from lloco.store.store import Store
from tests.corpora import lease_and_voyage, save_chat_model
from tests.serving import CHAT_URL, QUESTION, Site, error_of, fill_store, serving

SYSTEM = {"role": "system", "content": "Answer in one word."}
ASKED = {"role": "user", "content": QUESTION}
ANSWERED = {"role": "assistant", "content": "Edmund Crane"}
FILLER = "The tide came in and the tide went out over the flats of Holm. "


def alone(site: Site, question: str, history: History, mode: Mode = "compressed", corpus: str = "ships") -> str:
    """The answer that the embedded engine gives to the same prompt."""
    engine, prepared = prepared_alone(site, question, history, mode, corpus)
    [generation] = engine.generate([prepared.prompt], prepared.sampling)
    return prepared.answer(generation).text


def prepared_alone(
    site: Site, question: str, history: History, mode: Mode, corpus: str
) -> tuple[TransformersEngine, PreparedQuestion]:
    found = site.store.corpus(corpus, create=False)
    engine = TransformersEngine(load_corpus_decoder(found), batch_size=1)
    asked = Question(question, history=history, mode=mode, sampling=SamplingParams(max_tokens=12))
    return engine, prepare(found, asked, Reader(engine))


def ask(client: openai.OpenAI, *messages: Any, corpus: str = "ships", **lloco: Any) -> Any:
    made = client.chat.completions.create(
        model=corpus, messages=list(messages), max_tokens=12, extra_body={"lloco": lloco}
    )
    return made


def test_system_messages_and_earlier_turns_are_read_before_the_question(site: Site, client: openai.OpenAI) -> None:
    developer = {"role": "developer", "content": "In English."}
    question = "Where was the Petrel lost?"
    made = ask(client, SYSTEM, developer, ASKED, ANSWERED, {"role": "user", "content": question})
    history = History("Answer in one word.\nIn English.", ((QUESTION, "Edmund Crane"),))
    assert made.choices[0].message.content == alone(site, question, history) != alone(site, question, NO_HISTORY)


def test_an_answer_can_be_sent_back_as_it_came(client: openai.OpenAI) -> None:
    message = ask(client, ASKED).choices[0].message
    assert message.citations
    again = {"role": "user", "content": "Where was the Petrel lost?"}
    assert ask(client, ASKED, message, again).usage.prompt_tokens > ask(client, again).usage.prompt_tokens
    whole = {**message.model_dump(), "tool_calls": [], "name": None}
    assert ask(client, ASKED, whole, again).choices[0].finish_reason


def test_names_are_taken_and_change_no_answer(client: openai.OpenAI) -> None:
    again = {"role": "user", "content": "Where was the Petrel lost?"}
    plain = ask(client, SYSTEM, ASKED, ANSWERED, again)
    named = ask(client, *({**message, "name": "Ada"} for message in (SYSTEM, ASKED, ANSWERED, again)))
    assert named.choices[0].message.content == plain.choices[0].message.content
    assert named.usage.prompt_tokens == plain.usage.prompt_tokens


def test_a_question_that_finds_nothing_is_searched_for_with_the_earlier_ones(client: openai.OpenAI) -> None:
    vague = {"role": "user", "content": "And xyzzy?"}
    with pytest.raises(openai.BadRequestError, match="no document"):
        ask(client, vague)
    made = ask(client, ASKED, ANSWERED, vague)
    assert [cited["document_id"] for cited in made.choices[0].message.citations] == ["voyage"]
    other = ask(client, ASKED, ANSWERED, {"role": "user", "content": "Who signed the lease?"})
    assert [cited["document_id"] for cited in other.choices[0].message.citations] == ["lease"]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([SYSTEM], "messages[0].role"),
        ([ANSWERED, ASKED], "messages[0].role"),
        ([ASKED, ANSWERED], "messages[1].role"),
        ([ASKED, ANSWERED, ANSWERED, ASKED], "messages[2].role"),
        ([ASKED, SYSTEM, ASKED], "messages[1].role"),
        ([{"role": "tool", "content": "x"}, ASKED], "messages[0].role"),
        ([ASKED, {**ANSWERED, "tool_calls": [{"id": "x"}]}, ASKED], "messages[1].tool_calls"),
        ([ASKED, ANSWERED, {"role": "user", "content": " "}], "messages[2].content"),
    ],
)
def test_what_has_no_place_in_a_history_is_refused(
    http: httpx.Client, messages: list[dict[str, Any]], param: str
) -> None:
    response = http.post(CHAT_URL, json={"model": "ships", "messages": messages})
    assert (response.status_code, error_of(response)["param"]) == (400, param)


def test_a_history_that_does_not_fit_is_refused_and_not_cut(http: httpx.Client) -> None:
    long = {"role": "assistant", "content": "word " * 600}
    response = http.post(CHAT_URL, json={"model": "ships", "messages": [ASKED, long, ASKED]})
    error = error_of(response)
    assert (response.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "messages")
    assert error["message"].endswith("send fewer or shorter earlier messages")


def test_full_mode_reads_the_text_of_the_same_documents(site: Site, client: openai.OpenAI) -> None:
    made = ask(client, ASKED, mode="full")
    stored = site.store.corpus("ships").document("voyage")
    assert made.choices[0].message.content == alone(site, QUESTION, NO_HISTORY, "full")
    assert made.choices[0].message.citations == ask(client, ASKED).choices[0].message.citations
    usage = made.usage
    assert (usage.virtual_tokens, usage.context_tokens, usage.document_tokens) == (
        0,
        stored.num_tokens,
        stored.num_tokens,
    )
    assert usage.prompt_tokens_details.text_tokens == usage.prompt_tokens > stored.num_tokens
    assert (made.lloco["mode"], made.lloco["is_whole"]) == ("full", True)
    assert ask(client, ASKED).usage.context_tokens == 0


def test_text_that_does_not_fit_is_cut_to_its_best_passages_and_that_is_said(
    site: Site, client: openai.OpenAI, compressor: Path
) -> None:
    text = FILLER * 60 + "The brig Petrel was painted green. " + FILLER * 60
    compress_into(site.store.corpus("long"), [Document("tides", text)], load_compressor(compressor))
    question = "What colour was the Petrel?"
    engine, prepared = prepared_alone(site, question, NO_HISTORY, "full", "long")
    assert "painted green" in engine.decoder.require_tokenizer().decode(prepared.prompt.pieces[0])
    made = ask(client, {"role": "user", "content": question}, corpus="long", mode="full")
    assert made.lloco["is_whole"] is False
    assert 300 < made.usage.context_tokens < 512 < made.usage.document_tokens
    assert made.usage.prompt_tokens + 12 <= 512


def test_full_text_is_read_without_the_corpuss_adapter(
    site: Site, client: openai.OpenAI, compressor: Path, tmp_path: Path
) -> None:
    loaded = load_compressor(compressor)
    model = attach_adapter(loaded.decoder, LoraOptions(r=4, dropout=0.0))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.3)
    save_adapter(model, tmp_path / "adapter", decoder=loaded.decoder, template=DEFAULT_TEMPLATE)
    corpus = site.store.corpus("tuned")
    compress_into(corpus, lease_and_voyage(), load_compressor(compressor))
    digest = corpus.set_adapter(tmp_path / "adapter")
    assert ask(client, ASKED, corpus="tuned").lloco["adapter"] == digest
    full = ask(client, ASKED, corpus="tuned", mode="full")
    assert full.lloco["adapter"] is None
    assert full.choices[0].message.content == ask(client, ASKED, mode="full").choices[0].message.content


def test_passages_are_read_as_text_within_a_budget(client: openai.OpenAI) -> None:
    made = ask(client, ASKED, mode="retrieval", budget=20)
    assert (made.usage.context_tokens, made.usage.virtual_tokens) == (20, 0)
    assert (made.lloco["mode"], made.lloco["is_whole"]) == ("retrieval", False)
    [cited] = made.choices[0].message.citations
    assert cited["document_id"] == "voyage" and "Edmund Crane" in cited["text"]
    assert ask(client, ASKED, mode="retrieval").usage.context_tokens == ask(client, ASKED).usage.virtual_tokens
    with pytest.raises(openai.BadRequestError, match="budget"):
        ask(client, ASKED, mode="retrieval", budget=0)
    both = ask(client, ASKED, mode="hybrid", budget=24)
    assert both.lloco["mode"] == "hybrid" and both.usage.context_tokens and both.usage.virtual_tokens
    assert both.usage.context_tokens + both.usage.virtual_tokens <= 24


def test_a_server_reads_text_by_any_model_without_a_compressor(compressor: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    shutil.copytree(compressor, gone)
    store = fill_store(tmp_path / "store", gone, ships=lease_and_voyage())
    shutil.rmtree(gone)
    model = save_chat_model(tmp_path / "chat")
    with serving(store, mode="full", model=str(model)) as running, running.client() as client:
        made = ask(client, ASKED)
        assert (made.lloco["mode"], made.lloco["decoder"]) == ("full", weights_digest(model))
        assert made.usage.virtual_tokens == 0
        earlier = ask(client, SYSTEM, ASKED, ANSWERED, {"role": "user", "content": "Where was she lost?"})
        with Store(store) as opened:
            found = opened.corpus("ships")
            history = History("Answer in one word.", ((QUESTION, "Edmund Crane"),))
            engine = TransformersEngine(load_decoder(model), batch_size=1)
            alone = ask_corpus(found, "Where was she lost?", engine=engine, mode="full", history=history, max_tokens=12)
        assert earlier.choices[0].message.content == alone.text
        with pytest.raises(openai.InternalServerError):
            ask(client, ASKED, mode="compressed")
