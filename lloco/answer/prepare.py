"""A question laid out for an engine: its evidence, the adapter, the wording, and what of the evidence fits.

`answer_question` has the engine answer it at once; the server submits it to the same engine's queue.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lloco.adapters.digest import adapter_digest
from lloco.answer.answer import Answer, Citation, citations
from lloco.answer.budget import DEFAULT_BUDGET, Room
from lloco.answer.evidence import Evidence, find_evidence
from lloco.answer.hybrid import read_both
from lloco.answer.mode import Mode
from lloco.answer.question import Question
from lloco.answer.text import read_passages, read_text
from lloco.answer.vectors import are_whole, read_vectors
from lloco.engine.engine import Engine, Generation, SamplingParams
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import NO_HISTORY, History, Prompt, build_prompt
from lloco.prompts.template import Kind, Template, default_template
from lloco.retrieval.retriever import Retriever
from lloco.store.corpus import Corpus


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """What reads a corpus: an engine with an adapter and a wording, and the index that finds what it reads."""

    engine: Engine
    adapter: Path | None = None
    """Folder of the adapter that reads; none when not given, not even the corpus's own."""
    template: Template | None = None
    """Wording of the prompt; by default the adapter's own, else the packaged one that suits the tokenizer."""
    retriever: Retriever | None = None
    """An open index of the corpus; by default the one in the store."""


@dataclass(frozen=True, slots=True)
class PreparedQuestion:
    """A question with all that an engine needs to answer it, and what its answer will have been read from."""

    prompt: Prompt
    sampling: SamplingParams
    """As it was asked for, with the template's stop strings."""
    template: Template
    adapter: str | None
    """Digest of the adapter that is to read, which is its name for the engine."""
    documents: tuple[Citation, ...]
    num_document_tokens: int
    is_whole: bool
    mode: Mode = "compressed"

    def answer(self, generation: Generation) -> Answer:
        """Take the answer out of what an engine generated."""
        return Answer(
            text=self.template.read_answer(generation.text).strip(),
            documents=self.documents,
            num_context_tokens=self.prompt.num_context_tokens,
            num_virtual_tokens=self.prompt.num_virtual_tokens,
            num_document_tokens=self.num_document_tokens,
            is_whole=self.is_whole,
            is_cut=generation.finish_reason == "length",
            adapter=self.adapter,
            mode=self.mode,
        )


def prepare(corpus: Corpus, question: Question, reader: Reader) -> PreparedQuestion:
    """Find the question's documents, lay it out behind them, and make the adapter known to the engine.

    Raises:
        LlocoError: no such document, or nothing found.
        NoRoomError: there is no room to read anything.
        MismatchError: the decoder is neither the one that the soft prompts were made for, nor the one that the adapter
            was trained on.
    """
    prepared = _lay_out(corpus, question, find_evidence(corpus, question, reader.retriever), reader)
    if prepared.adapter is not None and reader.adapter is not None:
        reader.engine.add_adapter(prepared.adapter, reader.adapter)
    return prepared


def _lay_out(corpus: Corpus, question: Question, evidence: Sequence[Evidence], reader: Reader) -> PreparedQuestion:
    decoder, mode = reader.engine.decoder, question.mode
    tokenizer = decoder.require_tokenizer()
    kind: Kind = "multiple choice" if question.options else "short answer"
    template = reader.template or Template.of_adapter(reader.adapter) or default_template(tokenizer, kind)
    lay_out = partial(build_prompt, template, tokenizer, question.text, options=question.options)
    room = _room(question, decoder, lay_out)
    budget = _budget_of(evidence, question.max_virtual_tokens) if question.budget is None else question.budget
    vectors: list[Tensor] = []
    text: Tensor | None = None
    if mode == "compressed":
        vectors, read = read_vectors(corpus, evidence, decoder, room, adapter=reader.adapter)
        is_whole = are_whole(vectors, evidence)
    elif mode == "hybrid":
        vectors, text, read, is_whole = read_both(
            corpus, question.text, evidence, decoder, room, budget, adapter=reader.adapter
        )
    elif mode == "retrieval":
        text, read, is_whole = read_passages(evidence, question.text, decoder, room, budget)
    else:
        text, read, is_whole = read_text(corpus, evidence, decoder, room)
    prompt = lay_out(soft_prompts=vectors, context_ids=text, history=question.history)
    return PreparedQuestion(
        prompt=prompt,
        sampling=replace(question.sampling, stop=(*template.stop, *question.sampling.stop)),
        template=template,
        adapter=None if reader.adapter is None else adapter_digest(reader.adapter),
        documents=tuple(citation for found in read for citation in citations(found)),
        num_document_tokens=sum(
            found.document.num_compressed_tokens if mode == "compressed" else found.document.num_tokens
            for found in read
        ),
        is_whole=is_whole,
        mode=mode,
    )


def _room(question: Question, decoder: Decoder, lay_out: Callable[..., Prompt]) -> Room:
    alone, with_history = (_num_around(lay_out, history) for history in (NO_HISTORY, question.history))
    return Room(
        decoder.name,
        decoder.max_len,
        question_len=alone,
        history_len=with_history - alone,
        answer_len=question.sampling.max_tokens,
        max_virtual_tokens=question.max_virtual_tokens,
        num_vectors_beyond=decoder.num_vectors_beyond,
    )


def _budget_of(evidence: Sequence[Evidence], max_virtual_tokens: int | None) -> int:
    """Return how many positions the documents' soft prompts would take."""
    num_virtual_tokens = sum(found.document.num_virtual_tokens for found in evidence) or DEFAULT_BUDGET
    return num_virtual_tokens if max_virtual_tokens is None else min(num_virtual_tokens, max_virtual_tokens)


def _num_around(lay_out: Callable[..., Prompt], history: History) -> int:
    """Return how many positions the prompt takes beside its context."""
    standin = torch.zeros(1, dtype=torch.int64)
    return lay_out(context_ids=standin, history=history).length - 1
