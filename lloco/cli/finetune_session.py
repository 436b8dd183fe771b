"""What `lloco finetune` learns from and with: questions, their documents in the corpus, the wording, the decoder."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lloco.cli.finetune_flags import Learned
from lloco.cli.output import Output
from lloco.cli.templates import named_template
from lloco.errors import DataError

if TYPE_CHECKING:
    from accelerate import PartialState

    from lloco.compressors.compressor import Compressor
    from lloco.documents.document import Document
    from lloco.models.decoder import Decoder
    from lloco.prompts.template import Template
    from lloco.store.corpus import Corpus
    from lloco.store.store import Store
    from lloco.training.finetune.questions import FinetuneData

WAIT_SECONDS = 5.0


def read_questions(
    store: "Store", corpus: str, questions: Learned, data: str, split: str | None = "train"
) -> "FinetuneData":
    """Read a task's data, or lines about the corpus's documents."""
    from lloco.training.finetune.questions import read_question_lines, read_task_data

    if questions.task is not None:
        return read_task_data(questions.task, data, questions.limit, split)
    return read_question_lines(Path(data), lambda: store.corpus(corpus, create=False).document_ids(), questions.limit)


def mixed(given: "FinetuneData | None", studied: "FinetuneData") -> "FinetuneData":
    """Return given questions and those of self-study together."""
    if given is None:
        return studied
    kind = given.kind if given.kind == studied.kind else None
    return replace(given, examples=(*given.examples, *studied.examples), kind=kind)


def documents_of(learned: "FinetuneData | None", held_out: "FinetuneData | None") -> "dict[str, Document]":
    """Return all documents that came with questions by id; raises `DataError` where an id has two texts."""
    documents = {document.id: document for document in learned.documents} if learned else {}
    for document in held_out.documents if held_out else ():
        if documents.setdefault(document.id, document).digest != document.digest:
            raise DataError(
                f"each document id must have one text, {document.id!r} has one in --data and another in --validation: "
                "give the documents of one file other ids"
            )
    return documents


def compress_missing(
    store: "Store",
    corpus: str,
    documents: "Mapping[str, Document]",
    questions: Learned,
    state: "PartialState",
    output: Output,
) -> "Compressor | None":
    """Compress documents that came with the questions and are not in the corpus; the first process does it."""
    compressor: Compressor | None = None
    if not state.is_main_process:
        # Compressing may take hours and a barrier gives up after minutes; the launcher ends us if the first one fails.
        while _missing(store, corpus, documents):
            time.sleep(WAIT_SECONDS)
    elif missing := _missing(store, corpus, documents):
        compressor = _compress(store.corpus(corpus), missing, questions, output)
    state.wait_for_everyone()
    return compressor


def _missing(store: "Store", corpus: str, documents: "Mapping[str, Document]") -> "list[Document]":
    stored = store.corpus(corpus, create=False).documents() if documents and corpus in store else ()
    digests = {document.id: document.digest for document in stored}
    return [document for document in documents.values() if digests.get(document.id) != document.digest]


def _compress(corpus: "Corpus", documents: "Sequence[Document]", questions: Learned, output: Output) -> "Compressor":
    from lloco.compression.corpus_compressor import load_corpus_compressor
    from lloco.compression.run import compress_into

    if changed := [document.id for document in documents if document.id in corpus]:
        output.warn(
            f"corpus {corpus.name} has other texts for {len(changed):,} of the ids, first {changed[0]!r}: they are "
            "replaced by those of the questions"
        )
    output.say(f"compressing {len(documents):,} documents that corpus {corpus.name} does not hold yet")
    compressor = load_corpus_compressor(
        corpus,
        questions.compressor,
        device=questions.device,
        dtype=questions.dtype,
        max_positions=questions.max_positions,
    )
    with output.progress("compressing", "tokens") as advance:
        report = compress_into(corpus, documents, compressor, on_tokens=advance)
    if report.skipped:
        first = report.skipped[0]
        raise DataError(
            f"{len(report.skipped)} documents of the questions cannot be compressed, first "
            f"{first.source}: {first.reason}; remove their questions"
        )
    return compressor


def wording_of(template: str | None, data: "FinetuneData", start: Path | None, decoder: "Decoder") -> "Template":
    """Return the template that was named, else that of the adapter to start from, else the one that suits the data."""
    from lloco.prompts.template import Template, default_template

    learned = Template.of_adapter(start)
    if template is None and learned is not None:
        return learned
    if template is None:
        if data.kind is None:
            raise DataError(
                "one adapter learns one wording, these questions are of several kinds: give one kind, or a wording "
                "for all with --template"
            )
        return default_template(decoder.require_tokenizer(), data.kind)
    return named_template(template)


def load_trained_decoder(
    corpus: "Corpus", questions: Learned, start: Path | None, state: "PartialState", is_shared_out: bool
) -> "Decoder":
    """Load the decoder of a corpus to be trained, onto the CPU where processes share it out."""
    from lloco.answer.corpus_decoder import load_corpus_decoder
    from lloco.models.decoder import resolve_dtype

    # The whole model may fit no device: each process takes its share from the memory of the machine.
    device = "cpu" if is_shared_out else questions.device
    dtype = resolve_dtype(questions.dtype, state.device) if is_shared_out else questions.dtype
    return load_corpus_decoder(
        corpus,
        questions.model,
        adapter=start,
        compressor=questions.compressor,
        device=device,
        dtype=dtype,
        max_positions=questions.max_positions,
    )
