"""A question to a corpus: find its documents, read their soft prompts with the corpus's adapter, answer and cite.

Documents are found by BM25 over passages. A soft prompt is read whole where it fits the decoder; else the rows of the
segments that hold the passages found, best first. The documents' text is never read, only their vectors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lloco.corpus_models import decoder_digest_of, load_corpus_decoder
from lloco.engine.engine import Engine, SamplingParams
from lloco.engine.transformers_engine import TransformersEngine
from lloco.errors import LlocoError
from lloco.models.adapter import adapter_digest
from lloco.models.decoder import Decoder
from lloco.prompt import build_prompt
from lloco.retriever import Hit, Retriever
from lloco.segment_rows import rows_of_segments, segments_of_span, token_starts
from lloco.soft_prompt import SoftPrompt
from lloco.store.corpus import Corpus
from lloco.store.rows import StoredDocument
from lloco.template import DEFAULT_TEMPLATE, TEMPLATE_FILE, Template


@dataclass(frozen=True, slots=True)
class Citation:
    """A document that was read, with its passage that fits the question best."""

    document_id: str
    title: str
    source: str
    start: int | None
    """First character of the passage; None where no word of the question is in the document."""
    end: int | None
    text: str
    score: float | None


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
    """Tokens of the documents that these vectors stand for."""
    is_whole: bool
    """Whether the soft prompts were read whole, not only the segments of the passages found."""
    is_cut: bool
    """Whether the answer ended because it was as long as it may be."""
    adapter: str | None
    """Digest of the adapter that read them."""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """A document to read and its passages, best first; no passage where the document was named by the user."""

    document: StoredDocument
    hits: tuple[Hit, ...]


def ask(
    corpus: Corpus,
    question: str,
    *,
    document_id: str | None = None,
    top_k: int = 1,
    options: Sequence[str] = (),
    engine: Engine | None = None,
    retriever: Retriever | None = None,
    adapter: Path | None = None,
    template: Template | None = None,
    max_tokens: int = 64,
) -> Answer:
    """Answer a question from the soft prompts of the documents that it is about.

    Args:
        corpus: where to look; its adapter reads.
        question: words in common with the documents find them.
        document_id: read this document, whatever the question says.
        top_k: number of documents to read otherwise.
        options: answers to choose from, for an adapter that was trained on such.
        engine: reads the prompts; by default the corpus's own decoder is loaded for this one question.
        retriever: an open index of the corpus; by default the one in the store.
        adapter: folder of another adapter than the corpus's.
        template: wording of the prompt; by default the adapter's own, else the packaged one.
        max_tokens: tokens that the answer may have.

    Raises:
        LlocoError: an empty question, nothing found for it, no such document, or no room to read anything.
        MismatchError: the adapter is of another model; or the engine's decoder is neither the one that the soft
            prompts were made for, nor the one that the adapter was trained on.
    """
    if not question.strip():
        raise LlocoError("a question was wanted, it is empty: type one")
    evidence = list(_find(corpus, question, document_id, top_k, retriever))
    folder = adapter or corpus.adapter_folder()
    engine = engine or TransformersEngine(load_corpus_decoder(corpus, adapter=folder), batch_size=1)
    template = template or _template(folder)
    tokenizer = engine.decoder.require_tokenizer()
    standin = torch.zeros(1, dtype=torch.int64)
    bare = build_prompt(template, tokenizer, question, context_ids=standin, options=options)
    room = engine.decoder.max_len - max_tokens - (bare.length - 1)
    soft_prompts = _soft_prompts(corpus, evidence, engine.decoder, folder)
    vectors = _vectors(soft_prompts, evidence, engine.decoder, room)
    prompt = build_prompt(template, tokenizer, question, soft_prompts=vectors, options=options)
    name = None if folder is None else adapter_digest(folder)
    if folder is not None and name is not None:
        engine.add_adapter(name, folder)
    sampling = SamplingParams(max_tokens=max_tokens, stop=template.stop)
    [generation] = engine.generate([prompt], sampling, adapters=[name])
    return Answer(
        text=template.read_answer(generation.text).strip(),
        documents=tuple(_citation(one) for one in evidence),
        num_context_tokens=prompt.num_context_tokens,
        num_virtual_tokens=prompt.num_virtual_tokens,
        num_document_tokens=sum(one.document.num_tokens for one in evidence),
        is_whole=prompt.num_virtual_tokens == sum(one.document.num_virtual_tokens for one in evidence),
        is_cut=generation.finish_reason == "length",
        adapter=name,
    )


def _find(
    corpus: Corpus, question: str, document_id: str | None, top_k: int, retriever: Retriever | None
) -> Iterator[_Evidence]:
    """Yield the documents to read: the one that is named, the only one there is, or the best ones."""
    if top_k < 1:
        raise LlocoError(f"at least 1 document to read was wanted, top_k is {top_k}: give a higher one")
    named = [document_id] if document_id is not None else corpus.document_ids()
    if len(named) > 1:
        retriever = retriever or Retriever.of_corpus(corpus)
        named = [hit.document_id for hit in retriever.search_documents(question, top_k)]
        if not named:
            raise LlocoError(
                f"a document about {question.strip()[:60]!r} was wanted, no document of corpus {corpus.name!r} has a "
                "word of it: ask in the documents' words, or name one with --document"
            )
    for one in named:
        within = Retriever.build(corpus.document_passages(one))
        yield _Evidence(corpus.document(one), tuple(within.search(question, 1000)))


def _soft_prompts(
    corpus: Corpus, evidence: Sequence[_Evidence], decoder: Decoder, adapter: Path | None
) -> list[SoftPrompt]:
    """Return each document's soft prompt, made for this decoder or read by an adapter that was trained on it."""
    soft_prompts = [corpus.soft_prompt(one.document.id) for one in evidence]
    is_learned = decoder_digest_of(adapter) == decoder.digest
    for soft_prompt in soft_prompts:
        if soft_prompt.hidden_size != decoder.hidden_size or not is_learned:
            soft_prompt.check_readable_by(decoder.name, decoder.digest, decoder.hidden_size)
    return soft_prompts


def _vectors(
    soft_prompts: Sequence[SoftPrompt], evidence: Sequence[_Evidence], decoder: Decoder, room: int
) -> list[Tensor]:
    """Return each document's vectors: all of them where they fit together, else those of the passages found."""
    for soft_prompt in soft_prompts:
        made = soft_prompt.provenance
        if room < made.summary_length:
            raise LlocoError(
                f"{decoder.name} reads {decoder.max_len} positions, question and answer leave {max(room, 0)}, a "
                f"segment of {made.document_id!r} takes {made.summary_length}: shorten the question or --max-tokens"
            )
    if sum(soft_prompt.num_virtual_tokens for soft_prompt in soft_prompts) <= room:
        return [soft_prompt.embeds for soft_prompt in soft_prompts]
    chosen: dict[int, set[int]] = {}
    for place, segment in _segments_in_order(evidence, soft_prompts, decoder):
        size = soft_prompts[place].provenance.summary_length
        if segment in chosen.get(place, ()):
            continue
        if size > room:
            break
        room -= size
        chosen.setdefault(place, set()).add(segment)
    return [rows_of_segments(soft_prompts[place], chosen[place]) for place in sorted(chosen)]


def _segments_in_order(
    evidence: Sequence[_Evidence], soft_prompts: Sequence[SoftPrompt], decoder: Decoder
) -> list[tuple[int, int]]:
    """Return (document, segment) pairs, best passages of each document first; the beginnings where there is none."""
    tokenizer = decoder.require_tokenizer()
    num_segments = [-(-one.num_virtual_tokens // one.provenance.summary_length) for one in soft_prompts]
    ranked: list[tuple[int, int, int]] = []
    for place, one in enumerate(evidence):
        starts = token_starts(tokenizer, one.document.text)
        for rank, hit in enumerate(one.hits):
            within = segments_of_span(starts, hit.start, hit.end, one.document.segment_len)
            ranked += [(rank, place, segment) for segment in within if segment < num_segments[place]]
    if not ranked:
        ranked = [(segment, place, segment) for place, n in enumerate(num_segments) for segment in range(n)]
    return [(place, segment) for _, place, segment in sorted(ranked)]


def _template(adapter: Path | None) -> Template:
    """Return the wording that the adapter was trained with."""
    if adapter is None or not (adapter / TEMPLATE_FILE).is_file():
        return DEFAULT_TEMPLATE
    return Template.load(adapter)


def _citation(evidence: _Evidence) -> Citation:
    document = evidence.document
    best = evidence.hits[0] if evidence.hits else None
    return Citation(
        document_id=document.id,
        title=document.title,
        source=document.source,
        start=None if best is None else best.start,
        end=None if best is None else best.end,
        text="" if best is None else best.text,
        score=None if best is None else best.score,
    )
