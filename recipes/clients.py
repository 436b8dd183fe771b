"""LangChain's and LlamaIndex's OpenAI chat models, and the official client, against a server that runs.

    pip install langchain-openai llama-index-llms-openai-like
    lloco serve --corpus contracts
    python recipes/clients.py http://127.0.0.1:8000/v1 contracts "When does it end?" [KEY]

They are not among the tests' requirements: together they are 340 MB. Prints a line a call; a refusal ends it.
"""

import sys

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI, OpenAI
from llama_index.core.base.llms.types import ChatMessage
from llama_index.llms.openai_like import OpenAILike


def main(url: str, corpus: str, question: str, key: str = "none") -> None:
    langchain(url, corpus, question, key)
    llama_index(url, corpus, question, key)


def langchain(url: str, corpus: str, question: str, key: str) -> None:
    model = ChatOpenAI(base_url=url, api_key=key, model=corpus, max_tokens=32, max_retries=0)
    answer = model.invoke(question)
    say("LangChain invoke", answer.content)
    say("  with usage", str(answer.usage_metadata))
    history = [SystemMessage("Answer in one word."), HumanMessage(question), answer, HumanMessage(question)]
    say("LangChain system and history", model.invoke(history).content)
    earlier = [HumanMessage(question), AIMessage("I do not know."), HumanMessage(question)]
    pieces = list(model.stream(earlier))
    say(f"LangChain stream, {len(pieces)} pieces", "".join(str(one.content) for one in pieces))
    chain = ChatPromptTemplate([("system", "Be brief."), ("human", "{question}")]) | model.bind(stop=["\n"])
    say("LangChain prompt and stop", chain.invoke({"question": question}).content)
    say("LangChain batch", " | ".join(str(one.content) for one in model.batch([question, question])))
    seeded = ChatOpenAI(base_url=url, api_key=key, model=corpus, max_tokens=32, temperature=0.7, top_p=0.9, seed=7)
    say("LangChain sampling", seeded.invoke(question).content)
    full = ChatOpenAI(base_url=url, api_key=key, model=corpus, max_tokens=32, extra_body={"lloco": {"mode": "full"}})
    say("LangChain full text", full.invoke(question).content)
    # LangChain sends n, best_of, penalties and logit_bias with completions, at values that ask for nothing.
    say("LangChain completions", OpenAI(base_url=url, api_key=key, model=corpus, max_tokens=32).invoke(question))


def llama_index(url: str, corpus: str, question: str, key: str) -> None:
    model = OpenAILike(api_base=url, api_key=key, model=corpus, is_chat_model=True, max_tokens=32, max_retries=0)
    messages = [ChatMessage(role="system", content="Answer in one word."), ChatMessage(role="user", content=question)]
    answer = model.chat(messages)
    say("LlamaIndex chat", answer.message.content)
    again = [*messages, answer.message, ChatMessage(role="user", content=question)]
    pieces = list(model.stream_chat(again))
    say(f"LlamaIndex stream with history, {len(pieces)} pieces", pieces[-1].message.content)
    say("LlamaIndex complete", model.complete(question).text)
    plain = OpenAILike(api_base=url, api_key=key, model=corpus, is_chat_model=False, max_tokens=32, max_retries=0)
    say("LlamaIndex completions", plain.complete(question).text)


def say(what: str, text: object) -> None:
    print(f"{what}: {text!r}")


if __name__ == "__main__":
    if not 4 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
