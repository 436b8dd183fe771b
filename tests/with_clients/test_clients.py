"""LangChain, LlamaIndex and OpenAI's agents against `lloco serve` with the bundled model, in its own process.

Nothing of lloco is imported: `LLOCO_PYTHON` is the Python that has it.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import anyio
import openai
import pytest
from agents import Agent, ModelSettings, OpenAIResponsesModel, RunConfig, Runner, RunResult, function_tool
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI, OpenAI
from llama_index.core.base.llms.types import ChatMessage
from llama_index.llms.openai_like import OpenAILike

QUESTION = "Who was master of the brig Petrel?"
DOCUMENT = "The brig Petrel left Dundee with a cargo of slate. Her master was Edmund Crane. She was lost off Stavanger."
LLOCO = (os.environ.get("LLOCO_PYTHON", "python"), "-m", "lloco.cli.main")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("clients")
    (folder / "voyage.txt").write_text(DOCUMENT)
    store = ("--store", str(folder / "store"))
    subprocess.run(
        [*LLOCO, "compress", str(folder / "voyage.txt"), "--corpus", "ships", "--compressor", "records", *store],
        check=True,
    )
    command = [*LLOCO, "serve", "--port", "0", "--json", *store]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield str(json.loads(server.stdout.readline())["url"])
        server.terminate()
    assert server.returncode == 0


@pytest.fixture(scope="module")
def answer(url: str) -> str:
    """What the official client gets."""
    with openai.OpenAI(base_url=url, api_key="none") as client:
        messages: Any = [{"role": "user", "content": QUESTION}]
        made = client.chat.completions.create(model="ships", messages=messages, max_tokens=32)
    text = made.choices[0].message.content
    assert text
    return text


def langchain(url: str, **options: Any) -> ChatOpenAI:
    settings = {"model": "ships", "max_tokens": 32, "max_retries": 0, **options}
    return ChatOpenAI(base_url=url, api_key="none", **settings)


def llama_index(url: str, **options: Any) -> OpenAILike:
    settings = {"model": "ships", "is_chat_model": True, "max_tokens": 32, "max_retries": 0, **options}
    return OpenAILike(api_base=url, api_key="none", **settings)


def test_langchain_gets_the_answer_and_counts_the_vectors_as_input(url: str, answer: str) -> None:
    made = langchain(url).invoke(QUESTION)
    assert made.content == answer
    assert made.usage_metadata is not None and made.usage_metadata["input_tokens"] > 8
    assert made.response_metadata["finish_reason"] == "stop"


def test_langchain_streams_batches_and_stops(url: str, answer: str) -> None:
    model = langchain(url)
    assert "".join(str(item.content) for item in model.stream(QUESTION)) == answer
    assert [item.content for item in model.batch([QUESTION] * 4)] == [answer] * 4
    chain = ChatPromptTemplate([("human", "{question}")]) | model.bind(stop=[answer[1:3]])
    assert chain.invoke({"question": QUESTION}).content == answer[:1]


def test_langchain_sends_system_messages_histories_and_answers_back(url: str, answer: str) -> None:
    model = langchain(url)
    first = model.invoke([SystemMessage("Answer in one word."), HumanMessage(QUESTION)])
    history = [HumanMessage(QUESTION), first, HumanMessage(QUESTION)]
    assert model.invoke(history).content
    earlier = [HumanMessage(QUESTION), AIMessage("I do not know."), HumanMessage("And when?")]
    assert model.invoke(earlier).content, "the earlier question finds the document"


def test_langchain_samples_by_a_seed_and_reads_full_text(url: str) -> None:
    drawn = [langchain(url, temperature=1.5, top_p=0.9, seed=7).invoke(QUESTION).content for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert langchain(url, extra_body={"lloco": {"mode": "full"}}).invoke(QUESTION).content


def test_langchain_completions_send_only_what_is_taken(url: str, answer: str) -> None:
    # It samples unless told otherwise, and sends n, best_of, penalties and logit_bias at values that ask for nothing.
    model = OpenAI(base_url=url, api_key="none", model="ships", max_tokens=32, max_retries=0, temperature=0)
    made = model.invoke(QUESTION)
    assert made.strip() == answer.strip()


def test_langchain_is_told_what_is_refused(url: str) -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}
    with pytest.raises(openai.BadRequestError, match="tools is not supported"):
        langchain(url).bind_tools([tool]).invoke(QUESTION)
    with pytest.raises(openai.NotFoundError, match="no-such"):
        langchain(url, model="no-such").invoke(QUESTION)
    with pytest.raises(openai.BadRequestError, match="word of the question"):
        langchain(url, model="lloco/auto").invoke("Xyzzy?")


def test_llama_index_chats_and_completes(url: str, answer: str) -> None:
    model = llama_index(url)
    assert model.chat([ChatMessage(role="user", content=QUESTION)]).message.content == answer
    assert model.complete(QUESTION).text == answer
    assert llama_index(url, is_chat_model=False).complete(QUESTION).text.strip() == answer.strip()


def test_llama_index_streams_with_a_system_message_and_a_history(url: str, answer: str) -> None:
    model = llama_index(url)
    pieces = list(model.stream_chat([ChatMessage(role="user", content=QUESTION)]))
    assert pieces[-1].message.content == answer
    messages = [ChatMessage(role="system", content="Answer in one word."), ChatMessage(role="user", content=QUESTION)]
    again = [*messages, model.chat(messages).message, ChatMessage(role="user", content=QUESTION)]
    assert list(model.stream_chat(again))[-1].message.content


def test_llama_index_is_told_what_is_refused(url: str) -> None:
    with pytest.raises(openai.NotFoundError, match="no-such"):
        llama_index(url, model="no-such").chat([ChatMessage(role="user", content=QUESTION)])


def agent(client: openai.AsyncOpenAI, **settings: Any) -> Agent:
    """An agent that asks a corpus; nothing of what it does is sent to anybody else."""
    model = OpenAIResponsesModel("ships", client)
    return Agent("Archivist", instructions="Answer in one word.", model=model, model_settings=ModelSettings(**settings))


def answered(url: str, run: Any) -> Any:
    """What `run` returns for a client."""

    async def with_client() -> Any:
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            return await run(client)

    return anyio.run(with_client)


OWN = RunConfig(tracing_disabled=True)


def test_an_agent_answers_cites_and_counts(url: str) -> None:
    async def run(client: openai.AsyncOpenAI) -> RunResult:
        return await Runner.run(agent(client, max_tokens=32, store=False), QUESTION, run_config=OWN)

    made = answered(url, run)
    messages: Any = [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": QUESTION}]
    with openai.OpenAI(base_url=url, api_key="none") as client:
        same = client.chat.completions.create(model="ships", messages=messages, max_tokens=32)
    assert made.final_output == same.choices[0].message.content
    [part] = made.new_items[0].raw_item.content
    assert [(cited.type, cited.file_id) for cited in part.annotations] == [("file_citation", "voyage.txt")]
    usage = made.context_wrapper.usage
    assert same.usage is not None and usage.input_tokens == same.usage.prompt_tokens
    assert usage.output_tokens == same.usage.completion_tokens


def test_an_agent_streams_and_goes_on_with_what_was_said(url: str) -> None:
    async def run(client: openai.AsyncOpenAI) -> tuple[str, str, str]:
        asked = agent(client, max_tokens=32)
        first = Runner.run_streamed(asked, QUESTION, run_config=OWN)
        deltas = [
            event.data.delta
            async for event in first.stream_events()
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        ]
        again = [*first.to_input_list(), {"role": "user", "content": "And what was her cargo?"}]
        later = await Runner.run(asked, again, run_config=OWN)
        return "".join(deltas), first.final_output, later.final_output

    streamed, whole, later = answered(url, run)
    assert streamed == whole != ""
    assert later


def test_an_agent_is_told_what_is_refused(url: str) -> None:
    async def with_tool(client: openai.AsyncOpenAI) -> RunResult:
        tool = function_tool(lambda: "4", name_override="four", description_override="Four.")
        return await Runner.run(agent(client).clone(tools=[tool]), QUESTION, run_config=OWN)

    async def with_id(client: openai.AsyncOpenAI) -> RunResult:
        return await Runner.run(agent(client), QUESTION, previous_response_id="resp_1", run_config=OWN)

    with pytest.raises(openai.BadRequestError, match="tools is not supported"):
        answered(url, with_tool)
    with pytest.raises(openai.BadRequestError, match="send what was said before in input"):
        answered(url, with_id)


def test_langchains_names_are_taken(url: str, answer: str) -> None:
    assert langchain(url).invoke([HumanMessage(QUESTION, name="Ada")]).content == answer


def test_langchain_asks_for_responses(url: str, answer: str) -> None:
    model = langchain(url, use_responses_api=True)
    made = model.invoke(QUESTION)
    assert made.text == answer and made.usage_metadata is not None and made.usage_metadata["input_tokens"] > 8
    assert made.content[0]["annotations"][0]["file_id"] == "voyage.txt"
    assert "".join(piece.text for piece in model.stream(QUESTION)) == answer
    assert model.invoke([HumanMessage(QUESTION), made, HumanMessage("And what was her cargo?")]).text
