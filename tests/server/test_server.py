"""The server over real HTTP: what the official client sees, adapters, metrics and errors."""

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions, save_adapter
from lloco.compression.run import compress_into
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.errors import CheckpointError, LlocoError, MismatchError, StoreError
from lloco.prompts.streamed_answer import AnswerText
from lloco.prompts.template import Template
from lloco.server.engines import EngineOptions, Engines
from lloco.server.errors import as_api_error
from lloco.server.listen import open_socket
from lloco.store.store import Store
from tests.corpora import VOYAGE, lease_and_voyage, save_compressor
from tests.serving import CHAT_URL, QUESTION, Site, chat, direct, error_of, fill_store, serving


def test_the_official_client_gets_the_answer_that_ask_gives_and_cites(site: Site, client: openai.OpenAI) -> None:
    made = client.chat.completions.create(**chat(max_tokens=12))
    [choice] = made.choices
    assert choice.message.content == direct(site, max_tokens=12)
    assert (choice.message.role, choice.finish_reason, made.object) == ("assistant", "length", "chat.completion")
    [cited] = choice.message.model_extra["citations"]
    assert (cited["document_id"], cited["title"]) == ("voyage", "Voyage")
    assert VOYAGE[cited["start"] : cited["end"]] == cited["text"] and "master" in cited["text"]
    stored = site.store.corpus("ships").document("voyage")
    assert made.usage is not None and made.usage.model_extra is not None
    assert made.usage.model_extra["virtual_tokens"] == stored.num_virtual_tokens
    assert made.usage.model_extra["document_tokens"] == stored.num_tokens
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens
    assert made.usage.completion_tokens == 12 and made.usage.prompt_tokens > stored.num_virtual_tokens
    assert made.model_extra["lloco"] == {
        "corpus": "ships",
        "votes": None,
        "adapter": None,
        "decoder": stored.compressor_digest,
        "mode": "compressed",
        "is_whole": True,
    }


def test_the_model_of_all_corpora_finds_the_right_one_among_those_of_the_key(
    site: Site, client: openai.OpenAI, locked: Site
) -> None:
    assert "lloco/auto" in [model.id for model in client.models.list()]
    assert client.models.retrieve("lloco/auto").id == "lloco/auto"
    routed = client.chat.completions.create(**chat(max_tokens=12) | {"model": "lloco/auto"})
    assert (routed.model, routed.choices[0].message.content) == ("ships", direct(site, max_tokens=12))
    read_by = routed.model_extra["lloco"]
    assert read_by["corpus"] == "ships" and read_by["votes"]["ships"] == pytest.approx(1)
    will = client.chat.completions.create(**chat("Who inherits the orchard?", max_tokens=2) | {"model": "lloco/auto"})
    assert will.model == "Wills"
    later = [*chat()["messages"], {"role": "assistant", "content": "Crane."}, {"role": "user", "content": "Why?"}]
    assert client.chat.completions.create(model="lloco/auto", messages=later, max_tokens=2).model == "ships"
    both = chat("The orchard or the brig?", max_tokens=2) | {"model": "lloco/auto"}
    for extra, code in (({"strict": True}, "several_corpora"), ({"document": "will"}, None)):
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(**both, extra_body={"lloco": extra})
        assert refused.value.code == code and refused.value.param == f"lloco.{next(iter(extra))}"
    with locked.client("key-of-wills") as wills, pytest.raises(openai.BadRequestError) as hidden:
        wills.chat.completions.create(**chat() | {"model": "lloco/auto"})
    assert hidden.value.code == "no_document_found"
    with locked.client("key-of-wills") as wills:
        assert [model.id for model in wills.models.list()] == ["Wills"]


def test_usage_counts_what_had_been_read_for_an_earlier_question(client: openai.OpenAI) -> None:
    def cached(question: str) -> tuple[int, int]:
        made = client.chat.completions.create(**chat(question, max_tokens=2))
        assert made.usage is not None and made.usage.prompt_tokens_details is not None
        return made.usage.prompt_tokens_details.cached_tokens or 0, made.usage.model_extra["virtual_tokens"]

    cached("Who was master of the Petrel?")
    again, num_virtual = cached("What was the cargo of the brig Petrel?")
    assert again >= num_virtual > 0


def test_a_stream_is_the_whole_answer_in_pieces(site: Site, client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**chat(max_tokens=40))
    chunks = list(
        client.chat.completions.create(**chat(max_tokens=40), stream=True, stream_options={"include_usage": True})
    )
    *told, counted = chunks
    assert "".join(chunk.choices[0].delta.content or "" for chunk in told) == whole.choices[0].message.content
    assert len(told) > 4
    assert told[0].choices[0].delta.model_extra["citations"][0]["document_id"] == "voyage"
    assert [chunk.choices[0].finish_reason for chunk in told] == [None] * (len(told) - 1) + ["length"]
    assert counted.choices == [] and counted.usage == whole.usage
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"} and len({chunk.id for chunk in chunks}) == 1


def test_a_stream_is_laid_out_as_the_official_one(http: httpx.Client) -> None:
    with http.stream("POST", CHAT_URL, json=chat(max_tokens=3, stream=True)) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines) and lines[-1] == "data: [DONE]"
    events = [json.loads(line[6:]) for line in lines[:-1]]
    assert all("usage" not in event for event in events)
    assert events[0]["choices"][0]["delta"] | {"citations": 0} == {"role": "assistant", "content": "", "citations": 0}
    assert events[-1]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}


def test_completions_answer_the_prompt(client: openai.OpenAI, site: Site) -> None:
    made = client.completions.create(model="ships", prompt=QUESTION, max_tokens=12)
    assert (made.choices[0].text, made.object) == (direct(site, max_tokens=12), "text_completion")
    assert made.choices[0].model_extra["citations"][0]["document_id"] == "voyage"
    chunks = list(client.completions.create(model="ships", prompt=[QUESTION], max_tokens=12, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == made.choices[0].text
    assert chunks[-1].choices[0].finish_reason == "length"


def test_corpora_are_the_models_there_are(client: openai.OpenAI) -> None:
    assert {"ships", "Wills"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("wills").id == "Wills"
    for name in ("meta-llama/Llama-2-7b", "bundled", "../ships", "nothing"):
        with pytest.raises(openai.NotFoundError, match="models are corpora") as missing:
            client.models.retrieve(name)
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError, match="models are corpora"):
            client.chat.completions.create(**chat(corpus=name))


def test_sampling_is_honoured(client: openai.OpenAI, site: Site) -> None:
    def text(**options: Any) -> str:
        return str(
            client.chat.completions.create(**chat(max_completion_tokens=20, **options)).choices[0].message.content
        )

    greedy = text()
    assert text(temperature=0) == greedy == text(temperature=1.5, top_p=1e-9, seed=1)
    drawn = [text(temperature=1.5, seed=seed) for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1] and len({*drawn, greedy}) > 2
    stop = next(letter for letter in greedy[2:] if letter.isalpha())
    stopped = client.chat.completions.create(**chat(max_tokens=20, stop=stop))
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.choices[0].message.content == greedy.split(stop)[0].strip()


def test_a_document_can_be_named_and_several_read(client: openai.OpenAI) -> None:
    named = client.chat.completions.create(**chat(max_tokens=2), extra_body={"lloco": {"document": "lease"}})
    assert [cited["document_id"] for cited in named.choices[0].message.model_extra["citations"]] == ["lease"]
    both = client.chat.completions.create(
        **chat("Agnes Webb or Edmund Crane?", max_tokens=2), extra_body={"lloco": {"top_k": 2}}
    )
    assert {cited["document_id"] for cited in both.choices[0].message.model_extra["citations"]} == {"lease", "voyage"}
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(**chat(), extra_body={"lloco": {"document": "../lease"}})
    assert (missing.value.code, missing.value.param) == ("document_not_found", "lloco.document")


def test_passages_alone_are_read_and_cited_when_asked_for(site: Site, client: openai.OpenAI, compressor: Path) -> None:
    text = "Nothing was written in the log that day. " * 40 + VOYAGE
    compress_into(site.store.corpus("logs"), [Document("log", text)], load_compressor(compressor))

    def read(**options: Any) -> Any:
        return client.chat.completions.create(**chat(corpus="logs", max_tokens=2), extra_body={"lloco": options})

    whole, passage = read(), read(unit="passage")
    [cited] = passage.choices[0].message.citations
    assert VOYAGE[:20] in cited["text"] == text[cited["start"] : cited["end"]]
    assert whole.usage.virtual_tokens > 2 * passage.usage.virtual_tokens > 0
    for usage in (whole.usage, passage.usage):
        assert 0 < usage.prompt_tokens_details.text_tokens == usage.prompt_tokens - usage.virtual_tokens
    assert (whole.lloco["is_whole"], passage.lloco["is_whole"]) == (True, False)
    full = read(unit="passage", mode="full")
    assert 0 < full.usage.context_tokens < full.usage.document_tokens


def test_a_part_of_the_question_names_its_document(http: httpx.Client) -> None:
    def ask(document_id: str, **others: Any) -> httpx.Response:
        parts = [{"type": "document", "document_id": document_id}, {"type": "text", "text": QUESTION}]
        return http.post(
            CHAT_URL, json=chat(max_tokens=8, **others) | {"messages": [{"role": "user", "content": parts}]}
        )

    by_part = ask("lease").json()["choices"][0]["message"]
    by_field = http.post(CHAT_URL, json=chat(max_tokens=8, lloco={"document": "lease"})).json()["choices"][0]["message"]
    assert by_part == by_field and [cited["document_id"] for cited in by_part["citations"]] == ["lease"]
    for document_id in ("../lease", "lease\x00", "absent", "%2e%2e", "L" * 9999):
        assert error_of(ask(document_id))["code"] == "document_not_found"
    assert ask("lease", corpus="lloco/auto").status_code == 400


def test_text_parts_are_one_question(client: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "Who was master"}, {"type": "text", "text": "of the brig Petrel?"}]
    made = client.chat.completions.create(
        model="ships",
        messages=[{"role": "user", "content": parts}],
        max_tokens=8,  # type: ignore[list-item,misc]
    )
    joined = client.chat.completions.create(**chat("Who was master\nof the brig Petrel?", max_tokens=8))
    assert made.choices[0].message.content == joined.choices[0].message.content


def test_the_corpuss_adapter_answers_and_is_named(site: Site, compressor: Path, tmp_path: Path) -> None:
    loaded = load_compressor(compressor)
    template = Template("own", "", "\n", "Q {question} A", "=> {answer}")
    model = attach_adapter(loaded.decoder, LoraOptions(r=4, dropout=0.0))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(0.3)
    save_adapter(model, tmp_path / "adapter", decoder=loaded.decoder, template=template)
    corpus = site.store.corpus("adapted")
    compress_into(corpus, lease_and_voyage(), load_compressor(compressor))
    with site.client() as client:
        before = client.chat.completions.create(**chat(corpus="adapted", max_tokens=10))
        digest = corpus.set_adapter(tmp_path / "adapter")
        after = client.chat.completions.create(**chat(corpus="adapted", max_tokens=10))
        base = client.chat.completions.create(**chat(max_tokens=10))
    assert before.model_extra["lloco"]["adapter"] is None and after.model_extra["lloco"]["adapter"] == digest
    assert after.choices[0].message.content == direct(site, corpus="adapted", max_tokens=10)
    assert before.choices[0].message.content == base.choices[0].message.content != after.choices[0].message.content


def test_corpora_of_one_decoder_share_one_model_with_its_compressor(site: Site, http: httpx.Client) -> None:
    engines = site.service.engines
    ships, wills = (site.store.corpus(name) for name in ("ships", "Wills"))
    assert engines.engine(ships, None) is engines.engine(wills, None)
    assert engines.compressor(wills).decoder.lock is engines.engine(ships, None).decoder.lock


def test_a_corpus_whose_compressor_has_moved_is_served_where_its_new_place_is_named(tmp_path: Path) -> None:
    old, new = save_compressor(tmp_path / "old"), tmp_path / "new"
    store = fill_store(tmp_path / "store", old, ships=lease_and_voyage())
    old.rename(new)
    with serving(store, compressor=str(new)) as site, site.http() as http:
        assert http.post(CHAT_URL, json=chat(max_tokens=2)).status_code == 200
        assert http.put("/v1/documents/ships/new", json={"text": VOYAGE}).status_code == 201
    for named in (None, str(save_compressor(tmp_path / "other", seed=1))):
        with Store(store) as opened, pytest.raises(CheckpointError, match=r"no checkpoint at .*old"):
            Engines(EngineOptions(compressor=named)).compressor(opened.corpus("ships"))


def test_small_pieces_are_sent_without_delay() -> None:
    with open_socket("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP


def test_metrics_count_requests_tokens_and_time_without_naming_corpora(site: Site, http: httpx.Client) -> None:
    http.post(CHAT_URL, json=chat(max_tokens=3))
    http.get("/v1/models/ships-that-are-none")
    http.get("/nowhere")
    text = http.get("/metrics").text
    assert f'lloco_requests_total{{method="POST",route="{CHAT_URL}",status="200"}}' in text
    assert 'route="other",status="404"' in text
    for name in ("virtual_tokens_total", "document_tokens_total", "first_token_seconds_count", "running", "waiting"):
        assert f"lloco_{name} " in text
    assert f'lloco_request_seconds_bucket{{le="0.5",route="{CHAT_URL}"}}' in text
    assert "ships" not in text


def test_methods_that_clients_invent_are_one_label(http: httpx.Client) -> None:
    for method in ("LOCK", "MKCOL", "PROPFIND"):
        assert http.request(method, CHAT_URL).status_code == 405
    text = http.get("/metrics").text
    assert f'lloco_requests_total{{method="other",route="{CHAT_URL}",status="405"}} 3.0' in text
    assert "LOCK" not in text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LlocoError("question at /home/me/models/tiny-7b is wrong"), 400),
        (MismatchError("made for /home/me/models/tiny-7b"), 409),
        (StoreError("/home/me/store is damaged"), 500),
        (CheckpointError("/home/me/models/tiny-7b is gone"), 500),
        (RuntimeError("/home/me/secret"), 500),
        (OSError(28, "No space left", "/home/me/store"), 507),
    ],
)
def test_errors_have_their_status_and_tell_no_folders(error: Exception, status: int) -> None:
    known = as_api_error(error)
    assert known.status == status and "/home" not in known.message
    assert ("tiny-7b" in known.message) == (status < 500)


@given(
    st.text("a b\n.", max_size=12),
    st.lists(st.text("a b\n.", max_size=4), max_size=6),
    st.sampled_from(["{answer}", " {answer}", "a {answer}", "{answer}.", "b {answer} .", " {answer} a."]),
)
def test_the_answer_in_pieces_is_the_answer_read_from_the_whole(first: str, rest: list[str], wording: str) -> None:
    template = Template("t", "", "", "{question}", wording)
    reader = AnswerText(template)
    pieces = [reader.add(piece) for piece in (first, *rest)]
    assert "".join([*pieces, reader.end()]) == template.read_answer("".join((first, *rest))).strip()
