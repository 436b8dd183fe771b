"""A question laid out for an engine: the adapter, the wording, the room, and what of its evidence is read.

`ask` has an engine answer it; those who run an engine of their own begin here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from lloco.adapters.digest import adapter_digest
from lloco.answer.answer import Answer, Citation, Mode, citations
from lloco.answer.budget import DEFAULT_BUDGET, Room
from lloco.answer.evidence import Evidence
from lloco.answer.text import read_passages, read_text
from lloco.answer.vectors import read_vectors
from lloco.engine.engine import Generation, SamplingParams
from lloco.errors import LlocoError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import NO_HISTORY, History, Prompt, build_prompt
from lloco.prompts.template import Kind, Template, default_template
from lloco.store.corpus import Corpus


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
        documents=tuple(citation for one in read for citation in citations(one)),
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
