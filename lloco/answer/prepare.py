"""A question to a corpus: find its documents, read their soft prompts with the corpus's adapter, answer and cite.

`ask` answers one question; `prepare` does all of it up to the engine, for those who run one of their own. Only vectors
are read, unless the mode is "full" or "retrieval": then text of the same documents is, by any decoder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Literal, TypeAlias, cast

import torch

from lloco.adapters.digest import adapter_digest
from lloco.answer.budget import DEFAULT_BUDGET, Room
from lloco.answer.corpus_decoder import adapter_of, load_corpus_decoder
from lloco.answer.evidence import Evidence, Unit, find_evidence
from lloco.answer.text import read_passages, read_text
from lloco.answer.vectors import read_vectors
from lloco.documents.extracted import page_of
from lloco.engine.engine import Engine, Generation, SamplingParams
from lloco.engine.request_queue import AsyncEngine, Event
from lloco.engine.streaming import StreamingEngine, embedded_engine
from lloco.errors import LlocoError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import NO_HISTORY, History, Prompt, build_prompt
from lloco.prompts.streamed_answer import AnswerText
from lloco.prompts.template import Kind, Template, default_template
from lloco.retrieval.retriever import Hit, Retriever
from lloco.store.corpus import Corpus

Mode: TypeAlias = Literal["compressed", "full", "retrieval"]
"""What of the documents is read: their soft prompts, their text, or the best passages of their text within a budget."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A document that was read, with its passage that fits the question best; or one of the passages alone."""

    document_id: str
    title: str
    source: str
    start: int | None
    """First character of the passage; None where no word of the question is in the document."""
    end: int | None
    text: str
    score: float | None
    page: int | None = None
    """Page or slide on which the passage begins; None where the document has none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, with what was read to give it."""

    text: str
    documents: tuple[Citation, ...]
    num_context_tokens: int
    """Document tokens that were read as text."""
    num_virtual_tokens: int
    """Vectors that were read instead of text."""
    num_document_tokens: int
    """Tokens of the documents that were read."""
    is_whole: bool
    """Whether the documents were read whole, not only what holds the passages found."""
    is_cut: bool
    """Whether the answer ended because it was as long as it may be."""
    adapter: str | None
    """Digest of the adapter that read them."""
    mode: Mode = "compressed"
    """What of the documents was read."""


@dataclass(frozen=True, slots=True)
class PreparedQuestion:
    """A question with all that an engine needs to answer it, and what its answer will have been read from."""

    prompt: Prompt
    sampling: SamplingParams
    """As it was asked for, with the template's stop strings."""
    template: Template
    adapter: str | None
    """Digest of the adapter that is to read, which is its name for the engine."""
    adapter_folder: Path | None
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


def ask(
    corpus: Corpus,
    question: str,
    *,
    document_id: str | None = None,
    top_k: int = 1,
    unit: Unit = "document",
    options: Sequence[str] = (),
    engine: Engine | None = None,
    retriever: Retriever | None = None,
    adapter: Path | None = None,
    template: Template | None = None,
    max_tokens: int = 64,
    mode: Mode = "compressed",
    max_virtual_tokens: int | None = None,
    budget: int | None = None,
    history: History = NO_HISTORY,
    on_text: Callable[[str], None] | None = None,
) -> Answer:
    """Answer a question from the soft prompts of the documents that it is about, or from their text.

    Args:
        corpus: where to look; its adapter reads, text only if it was trained on the engine's decoder.
        question: words in common with the documents find them.
        document_id: read this document, whatever the question says.
        top_k: number of documents to read otherwise; of passages, where these are the unit.
        unit: "passage" reads and cites the best passages alone, also where their documents would fit.
        options: answers to choose from, for an adapter that was trained on such.
        engine: reads the prompts; by default the corpus's own decoder is loaded for this one question.
        retriever: an open index of the corpus; by default the one in the store.
        adapter: folder of another adapter than the corpus's.
        template: wording of the prompt; by default the adapter's own, else the packaged one that suits the tokenizer.
        max_tokens: tokens that the answer may have.
        mode: "full" and "retrieval" read text in place of vectors; any engine's decoder can.
        max_virtual_tokens: vectors that may be read; by default as many as fit the decoder.
        budget: positions that passages may take in mode "retrieval"; by default as many as the soft prompts have.
        history: what was said before; its questions help to find documents where this one alone finds none.
        on_text: told of the answer's text piece by piece; a given engine must then be an `AsyncEngine`.

    Raises:
        LlocoError: an empty question, nothing found for it, no such document, or no room to read anything.
        MismatchError: the adapter is of another model; or, unless text is read, the engine's decoder is neither the
            one that the soft prompts were made for, nor the one that the adapter was trained on.
    """
    evidence = find_evidence(
        corpus,
        question,
        document_id=document_id,
        top_k=top_k,
        unit=unit,
        retriever=retriever,
        earlier=[earlier for earlier, _ in history.turns],
    )
    engine = engine or _new_engine(load_corpus_decoder(corpus, adapter=adapter), is_streamed=on_text is not None)
    adapter = adapter or adapter_of(corpus, engine.decoder, reads_text=mode != "compressed")
    prepared = prepare(
        corpus,
        question,
        evidence,
        engine.decoder,
        SamplingParams(max_tokens=max_tokens),
        adapter=adapter,
        template=template,
        options=options,
        history=history,
        mode=mode,
        max_virtual_tokens=max_virtual_tokens,
        budget=budget,
    )
    if prepared.adapter is not None and prepared.adapter_folder is not None:
        engine.add_adapter(prepared.adapter, prepared.adapter_folder)
    if on_text is not None:
        return prepared.answer(_stream(cast(AsyncEngine, engine), prepared, on_text))
    [generation] = engine.generate([prepared.prompt], prepared.sampling, adapters=[prepared.adapter])
    return prepared.answer(generation)


def _new_engine(decoder: Decoder, *, is_streamed: bool) -> Engine:
    return StreamingEngine(decoder, max_batch_size=1) if is_streamed else embedded_engine(decoder, 1)


def _stream(engine: AsyncEngine, prepared: PreparedQuestion, on_text: Callable[[str], None]) -> Generation:
    """Pass the answer on as it grows; an interrupt ends its generation."""
    events: SimpleQueue[Event] = SimpleQueue()
    text = AnswerText(prepared.template)
    ticket = engine.submit(prepared.prompt, prepared.sampling, events.put, adapter=prepared.adapter)
    try:
        while isinstance(event := events.get(), str):
            if piece := text.add(event):
                on_text(piece)
    except BaseException:
        ticket.cancel()
        raise
    if isinstance(event, LlocoError):
        raise event
    if piece := text.end():
        on_text(piece)
    return event


def prepare(
    corpus: Corpus,
    question: str,
    evidence: Sequence[Evidence],
    decoder: Decoder,
    sampling: SamplingParams,
    *,
    adapter: Path | None = None,
    template: Template | None = None,
    options: Sequence[str] = (),
    history: History = NO_HISTORY,
    mode: Mode = "compressed",
    max_virtual_tokens: int | None = None,
    budget: int | None = None,
) -> PreparedQuestion:
    """Lay out the question behind its evidence, for an engine of this decoder.

    Args:
        corpus: where the evidence was found.
        question: as it was asked.
        evidence: the documents to read.
        decoder: reads them.
        sampling: how the answer is generated; its length is kept free behind the prompt.
        adapter: folder of the adapter that reads; none when not given, not even the corpus's own.
        template: wording of the prompt; by default the adapter's own, else the packaged one that suits the tokenizer.
        options: answers to choose from.
        history: what was said before.
        mode: "full" and "retrieval" read the documents' text instead of their vectors, whatever the decoder.
        max_virtual_tokens: vectors that may be read; by default as many as fit.
        budget: positions that passages may take in mode "retrieval"; by default as many as the soft prompts have.

    Raises:
        NoRoomError: there is no room to read anything.
        MismatchError: the decoder is neither the one that the soft prompts were made for, nor the one that the adapter
            was trained on.
    """
    if budget is not None and budget < 1:
        raise LlocoError(f"budget must be at least 1 position, got {budget}: give a higher one")
    tokenizer = decoder.require_tokenizer()
    kind: Kind = "multiple choice" if options else "short answer"
    template = template or Template.of_adapter(adapter) or default_template(tokenizer, kind)
    lay_out = partial(build_prompt, template, tokenizer, question, options=options)
    alone, with_history = (_num_around(lay_out, one) for one in (NO_HISTORY, history))
    room = Room(
        decoder.name,
        decoder.max_len,
        alone,
        with_history - alone,
        sampling.max_tokens,
        max_virtual_tokens,
        decoder.num_vectors_beyond,
    )
    if mode == "retrieval":
        budget = _budget_of(evidence, max_virtual_tokens) if budget is None else budget
        text, read, is_whole = read_passages(evidence, question, decoder, room, budget)
    elif mode == "full":
        text, read, is_whole = read_text(corpus, evidence, decoder, room)
    if mode != "compressed":
        prompt = lay_out(context_ids=text, history=history)
    else:
        vectors, read = read_vectors(corpus, evidence, decoder, room, adapter=adapter)
        prompt = lay_out(soft_prompts=vectors, history=history)
        stored = [one.document for one in evidence]
        is_whole = prompt.num_virtual_tokens == sum(one.num_virtual_tokens for one in stored) and all(
            one.num_compressed_tokens == one.num_tokens for one in stored
        )
    return PreparedQuestion(
        prompt=prompt,
        sampling=replace(sampling, stop=(*template.stop, *sampling.stop)),
        template=template,
        adapter=None if adapter is None else adapter_digest(adapter),
        adapter_folder=adapter,
        documents=tuple(citation for one in read for citation in _citations(one)),
        num_document_tokens=sum(
            one.document.num_compressed_tokens if mode == "compressed" else one.document.num_tokens for one in read
        ),
        is_whole=is_whole,
        mode=mode,
    )


def _budget_of(evidence: Sequence[Evidence], max_virtual_tokens: int | None) -> int:
    """Return how many positions the documents' soft prompts would take."""
    num_virtual_tokens = sum(found.document.num_virtual_tokens for found in evidence) or DEFAULT_BUDGET
    return num_virtual_tokens if max_virtual_tokens is None else min(num_virtual_tokens, max_virtual_tokens)


def _num_around(lay_out: Callable[..., Prompt], history: History) -> int:
    """Return how many positions the prompt takes beside its context."""
    standin = torch.zeros(1, dtype=torch.int64)
    return lay_out(context_ids=standin, history=history).length - 1


def _citations(evidence: Evidence) -> list[Citation]:
    """Cite a document by its best passage, or each of the passages that alone were read."""
    hits = evidence.hits if evidence.is_for_passages else evidence.hits[:1]
    return [_citation(evidence, hit) for hit in hits] or [_citation(evidence, None)]


def _citation(evidence: Evidence, hit: Hit | None) -> Citation:
    document = evidence.document
    return Citation(
        document_id=document.id,
        title=document.title,
        source=document.source,
        start=None if hit is None else hit.start,
        end=None if hit is None else hit.end,
        text="" if hit is None else hit.text,
        score=None if hit is None else hit.score,
        page=None if hit is None else page_of(document.text, hit.start),
    )
