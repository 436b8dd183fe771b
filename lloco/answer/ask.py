"""A question to a corpus, answered: find its documents, read their soft prompts with the corpus's adapter, cite.

Only vectors are read, unless the mode is "full" or "retrieval": then text of the same documents is, by any decoder.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import cast

from lloco.answer.answer import Answer
from lloco.answer.corpus_decoder import adapter_of, load_corpus_decoder
from lloco.answer.mode import TEXT_MODES, Mode
from lloco.answer.prepare import PreparedQuestion, Reader, prepare
from lloco.answer.question import Question, Unit
from lloco.engine.engine import Engine, Generation, SamplingParams
from lloco.engine.request_queue import AsyncEngine, Event
from lloco.engine.streaming import StreamingEngine, embedded_engine
from lloco.errors import LlocoError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import NO_HISTORY, History
from lloco.prompts.streamed_answer import AnswerText
from lloco.prompts.template import Template
from lloco.retrieval.retriever import Retriever
from lloco.store.corpus import Corpus
from lloco.store.store import Store


def ask(
    corpus: Corpus | str,
    question: str,
    *,
    store: str | Path | None = None,
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
        corpus: where to look, or its name in `store`; its adapter reads, text only if it was trained on the engine's
            decoder.
        store: folder of the store of a corpus that is named; by default $LLOCO_HOME, or the user's data folder.
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
        on_text: called with the answer's text piece by piece; a given engine must then be an `AsyncEngine`.

    Raises:
        LlocoError: an empty question, nothing found for it, no such document, or no room to read anything.
        MismatchError: the adapter is of another model; or, unless text is read, the engine's decoder is neither the
            one that the soft prompts were made for, nor the one that the adapter was trained on.
    """
    asked = Question(
        question,
        document_id,
        top_k,
        unit,
        tuple(options),
        history,
        mode,
        SamplingParams(max_tokens=max_tokens),
        max_virtual_tokens,
        budget,
    )
    with _opened(corpus, store) as found:
        engine = engine or _new_engine(load_corpus_decoder(found, adapter=adapter), is_streamed=on_text is not None)
        adapter = adapter or adapter_of(found, engine.decoder, reads_text=mode in TEXT_MODES)
        return answer_question(found, asked, Reader(engine, adapter, template, retriever), on_text)


@contextmanager
def _opened(corpus: Corpus | str, store: str | Path | None) -> Iterator[Corpus]:
    if isinstance(corpus, Corpus):
        yield corpus
        return
    with Store(store) as opened:
        yield opened.corpus(corpus, create=False)


def answer_question(
    corpus: Corpus, question: Question, reader: Reader, on_text: Callable[[str], None] | None = None
) -> Answer:
    """Have the reader answer; `on_text` is called with each piece of the answer, by an `AsyncEngine` only.

    Raises:
        LlocoError: as `prepare`, or the engine failed.
    """
    prepared = prepare(corpus, question, reader)
    if on_text is not None:
        return prepared.answer(_stream(cast(AsyncEngine, reader.engine), prepared, on_text))
    [generation] = reader.engine.generate([prepared.prompt], prepared.sampling, adapters=[prepared.adapter])
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
