"""Questions to a corpus: what is found, which vectors are read, who answers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ByT5Tokenizer

from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions, save_adapter
from lloco.answer.answer import Answer
from lloco.answer.ask import ask
from lloco.answer.budget import NoRoomError
from lloco.answer.evidence import find_evidence
from lloco.answer.question import Question
from lloco.answer.vectors import rows_of_segments, segments_of_span, token_starts
from lloco.compression.run import compress_into
from lloco.compressors.compressor import CompressOptions, Compressor
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.engine.engine import SamplingParams
from lloco.engine.transformers_engine import TransformersEngine
from lloco.errors import LlocoError, MismatchError, StoreError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import History, build_prompt
from lloco.prompts.provenance import Provenance
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.prompts.template import DEFAULT_TEMPLATE, Template
from lloco.retrieval.passages import split_passages
from lloco.retrieval.retriever import Retriever
from lloco.store.corpus import Corpus
from lloco.store.store import Store
from tests.corpora import LEASE, SEGMENT_LEN, SUMMARY_LENGTH, VOYAGE, lease_and_voyage, save_compressor
from tests.tiny import CHAT_TEMPLATE, tiny_decoder, tiny_llama, tiny_tokenizer

QUESTION = "Who was master of the brig Petrel?"


@pytest.fixture(scope="module")
def compressor(tmp_path_factory: pytest.TempPathFactory) -> Compressor:
    return load_compressor(save_compressor(tmp_path_factory.mktemp("compressor") / "tiny"))


@pytest.fixture
def corpus(tmp_path: Path, compressor: Compressor) -> Iterator[Corpus]:
    with Store(tmp_path / "store") as store:
        found = store.corpus("c")
        compress_into(found, lease_and_voyage(), compressor)
        yield found


def make_adapter(compressor: Compressor, folder: Path, template: Template) -> Path:
    """Write an adapter with large random weights, so that it changes every answer."""
    model = attach_adapter(compressor.decoder, LoraOptions(r=4, dropout=0.0))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(1))
    save_adapter(model, folder, decoder=compressor.decoder, template=template)
    model.unload()
    return folder


def test_the_question_finds_its_document_and_cites_the_passage(corpus: Corpus, compressor: Compressor) -> None:
    answer = ask(corpus, QUESTION, engine=TransformersEngine(compressor.decoder), max_tokens=4)
    [citation] = answer.documents
    assert (citation.document_id, citation.title, citation.source) == ("voyage", "Voyage", "voyage.txt")
    assert citation.text == VOYAGE[citation.start : citation.end]
    assert "master" in citation.text
    stored = corpus.document("voyage")
    assert answer.num_document_tokens == stored.num_tokens
    assert answer.num_virtual_tokens == stored.num_virtual_tokens
    assert (answer.num_context_tokens, answer.is_whole, answer.adapter) == (0, True, None)


def test_copies_of_a_document_or_passage_are_read_once(corpus: Corpus, compressor: Compressor) -> None:
    lease, voyage = lease_and_voyage()
    copies = [replace(voyage, id=f"copy-{number}") for number in range(5)]
    compress_into(corpus, copies, compressor)
    for unit in ("document", "passage"):
        asked = Question("Who was master of the Petrel, and who signs the lease?", top_k=2, unit=unit)
        read = [found.document.text for found in find_evidence(corpus, asked)]
        assert sorted(read) == sorted([lease.text, voyage.text]), unit


def test_a_citation_tells_the_page_of_a_document_that_has_pages(tmp_path: Path, compressor: Compressor) -> None:
    with Store(tmp_path / "store") as store:
        corpus = store.corpus("paged")
        paged = "The first page is about a brig.\n\fThe second page names the master of the Petrel, Anna Berg."
        compress_into(corpus, [Document("p", paged), Document("q", "No pages, but a harbour.")], compressor)
        engine = TransformersEngine(compressor.decoder)
        assert [document.page for document in ask(corpus, "Who is master of the Petrel?", engine=engine).documents] == [
            2
        ]
        assert [document.page for document in ask(corpus, "Where is the harbour?", engine=engine).documents] == [None]


def test_of_a_truncated_document_it_is_not_said_that_all_was_read(corpus: Corpus, compressor: Compressor) -> None:
    text = " ".join(f"The brig number {number} was lost." for number in range(400))
    options = CompressOptions(long_documents="truncate")
    compress_into(corpus, [Document("long", text)], compressor, options)
    stored = corpus.document("long")
    assert stored.num_read_tokens is not None and stored.num_read_tokens < stored.num_tokens
    engine = TransformersEngine(compressor.decoder)
    answer = ask(corpus, "Which brig?", engine=engine, document_id="long", max_tokens=2)
    assert answer.num_virtual_tokens <= stored.num_virtual_tokens and not answer.is_whole


def test_what_a_truncated_soft_prompt_does_not_stand_for_is_neither_counted_nor_cited(
    corpus: Corpus, compressor: Compressor
) -> None:
    filler = " ".join(f"On day {number} nothing was written in the log." for number in range(150))
    options = CompressOptions(segment_len=480, long_documents="truncate")
    short = load_compressor(compressor.name, max_positions=512)
    compress_into(corpus, [Document("log", f"{LEASE} {filler} {VOYAGE}")], short, options)
    stored = corpus.document("log")
    engine = TransformersEngine(compressor.decoder)

    def asked(question: str) -> Answer:
        answer = ask(corpus, question, engine=engine, document_id="log", max_tokens=2)
        assert answer.num_virtual_tokens == stored.num_virtual_tokens and not answer.is_whole
        assert answer.num_document_tokens == stored.num_read_tokens < stored.num_tokens
        return answer

    [nothing] = asked("Who was master of the brig Petrel?").documents
    assert (nothing.start, nothing.text) == (None, "")
    [lease] = asked("Webb, or the master of the brig Petrel, lost off Stavanger?").documents
    assert "Webb" in lease.text


def test_a_corpus_that_was_emptied_is_not_answered_from_nothing(corpus: Corpus, compressor: Compressor) -> None:
    for id in corpus.document_ids():
        corpus.remove_document(id)
    with pytest.raises(LlocoError, match="has no document"):
        ask(corpus, QUESTION, engine=TransformersEngine(compressor.decoder), max_tokens=2)


def test_the_answer_is_the_engines_own_from_the_stored_vectors(corpus: Corpus, compressor: Compressor) -> None:
    engine = TransformersEngine(compressor.decoder)
    prompt = build_prompt(
        DEFAULT_TEMPLATE, tiny_tokenizer(), QUESTION, soft_prompts=[compressor.compress(lease_and_voyage()[1]).embeds]
    )
    [direct] = engine.generate([prompt], SamplingParams(max_tokens=8))
    answer = ask(corpus, QUESTION, engine=engine, max_tokens=8)
    assert answer.text == DEFAULT_TEMPLATE.read_answer(direct.text).strip()
    assert answer.is_cut == (direct.finish_reason == "length")


def test_without_an_engine_the_corpuss_own_decoder_is_loaded(corpus: Corpus, compressor: Compressor) -> None:
    own = ask(corpus, QUESTION, max_tokens=8)
    assert own == ask(corpus, QUESTION, engine=TransformersEngine(compressor.decoder), max_tokens=8)


def test_a_named_document_is_read_whatever_the_question_says(corpus: Corpus, compressor: Compressor) -> None:
    engine = TransformersEngine(compressor.decoder)
    assert ask(corpus, QUESTION, document_id="lease", engine=engine, max_tokens=2).documents[0].document_id == "lease"
    unrelated = ask(corpus, "Xyzzy?", document_id="lease", engine=engine, max_tokens=2).documents[0]
    assert (unrelated.start, unrelated.end, unrelated.text, unrelated.score) == (None, None, "", None)
    with pytest.raises(StoreError, match="has no document"):
        ask(corpus, QUESTION, document_id="treaty", engine=engine)


def test_several_documents_are_read_together(corpus: Corpus, compressor: Compressor) -> None:
    answer = ask(
        corpus, "Agnes Webb or Edmund Crane?", top_k=2, engine=TransformersEngine(compressor.decoder), max_tokens=2
    )
    assert {document.document_id for document in answer.documents} == {"lease", "voyage"}
    assert answer.num_virtual_tokens == sum(document.num_virtual_tokens for document in corpus.documents())


def test_a_question_without_a_word_of_the_documents_says_so(corpus: Corpus, compressor: Compressor) -> None:
    engine = TransformersEngine(compressor.decoder)
    with pytest.raises(LlocoError, match="name one with --document"):
        ask(corpus, "Xyzzy plugh?", engine=engine)
    corpus.remove_document("lease")
    assert ask(corpus, "Xyzzy plugh?", engine=engine, max_tokens=2).documents[0].document_id == "voyage"


@pytest.mark.parametrize(
    ("question", "options"), [("  ", {}), (QUESTION, {"top_k": 0}), (QUESTION, {"max_tokens": 600})]
)
def test_impossible_questions_are_errors(
    corpus: Corpus, compressor: Compressor, question: str, options: dict[str, int]
) -> None:
    with pytest.raises(LlocoError):
        ask(corpus, question, engine=TransformersEngine(compressor.decoder), **options)  # type: ignore[arg-type]


def test_an_open_retriever_is_used(corpus: Corpus, compressor: Compressor) -> None:
    only_lease = Retriever.build(corpus.document_passages("lease"))
    engine = TransformersEngine(compressor.decoder)
    answer = ask(corpus, "the ninth of November or of May", engine=engine, retriever=only_lease, max_tokens=2)
    assert answer.documents[0].document_id == "lease"


def test_the_corpuss_adapter_answers_in_its_own_wording(corpus: Corpus, compressor: Compressor, tmp_path: Path) -> None:
    template = replace(DEFAULT_TEMPLATE, name="own", question="Q {question} A", answer="=> {answer}")
    engine = TransformersEngine(compressor.decoder)
    before = ask(corpus, QUESTION, engine=engine, max_tokens=8)
    corpus.set_adapter(make_adapter(compressor, tmp_path / "adapter", template))
    engine = TransformersEngine(load_compressor(corpus.compressor_name).decoder)
    after = ask(corpus, QUESTION, engine=engine, max_tokens=8)
    prompt = build_prompt(template, tiny_tokenizer(), QUESTION, soft_prompts=[corpus.soft_prompt("voyage").embeds])
    [direct] = engine.generate([prompt], SamplingParams(max_tokens=8), adapters=[after.adapter])
    assert after.adapter is not None
    assert after.text == template.read_answer(direct.text).strip() != before.text
    assert ask(corpus, QUESTION, max_tokens=8) == after


def test_an_adapter_of_another_model_is_refused(corpus: Corpus, compressor: Compressor, tmp_path: Path) -> None:
    other = load_compressor(save_compressor(tmp_path / "other", seed=3))
    adapter = make_adapter(other, tmp_path / "adapter", DEFAULT_TEMPLATE)
    with pytest.raises(MismatchError, match="was made for"):
        ask(corpus, QUESTION, engine=TransformersEngine(compressor.decoder), adapter=adapter)


def test_a_decoder_of_another_width_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    wide = load_compressor(save_compressor(tmp_path / "wide", hidden_size=64, head_dim=16))
    with pytest.raises(MismatchError, match="64 wide"):
        ask(corpus, QUESTION, engine=TransformersEngine(wide.decoder))


def test_another_decoder_of_the_same_width_needs_an_adapter_that_was_trained_on_it(
    corpus: Corpus, compressor: Compressor, tmp_path: Path
) -> None:
    other = load_compressor(save_compressor(tmp_path / "other", seed=3))
    with pytest.raises(MismatchError, match=r"48 wide.*48 wide") as refused:
        ask(corpus, QUESTION, engine=TransformersEngine(other.decoder), max_tokens=2)
    assert compressor.name in str(refused.value) and other.name in str(refused.value)
    adapter = make_adapter(other, tmp_path / "adapter", DEFAULT_TEMPLATE)
    answer = ask(corpus, QUESTION, engine=TransformersEngine(other.decoder), adapter=adapter, max_tokens=4)
    assert answer.adapter is not None
    assert answer == ask(corpus, QUESTION, adapter=adapter, max_tokens=4)
    (adapter / "lloco.json").unlink()
    with pytest.raises(MismatchError, match="was made for"):
        ask(corpus, QUESTION, engine=TransformersEngine(other.decoder), adapter=adapter, max_tokens=2)


def test_a_wording_that_is_given_goes_before_the_adapters(
    corpus: Corpus, compressor: Compressor, tmp_path: Path
) -> None:
    adapter = make_adapter(compressor, tmp_path / "adapter", DEFAULT_TEMPLATE)
    other = replace(DEFAULT_TEMPLATE, name="other", question="{question} ::")
    engine = RecordingEngine(load_compressor(corpus.compressor_name).decoder)
    ask(corpus, QUESTION, engine=engine, adapter=adapter, template=other, max_tokens=2)
    asked = engine.prompts[0].pieces[-1]
    assert str(tiny_tokenizer().decode(asked)).endswith(f"{QUESTION} ::")


def chat_decoder(**model: int) -> Decoder:
    """A decoder with a chat template, wider than the corpus's, of another digest."""
    wide = tiny_llama(seed=7, hidden_size=64, head_dim=16, **model)
    return tiny_decoder(wide, tokenizer=tiny_tokenizer(chat_template=CHAT_TEMPLATE), name="chat")


def test_text_is_read_by_any_decoder_in_its_own_chat_template(corpus: Corpus) -> None:
    engine = RecordingEngine(chat_decoder())
    answer = ask(corpus, QUESTION, engine=engine, mode="full", max_tokens=4)
    wording = Template.packaged("short_answer")
    ids = torch.tensor(tiny_tokenizer()(VOYAGE)["input_ids"])
    prompt = build_prompt(wording, engine.decoder.require_tokenizer(), QUESTION, context_ids=ids)
    assert torch.equal(torch.cat(engine.prompts[0].pieces), torch.cat(prompt.pieces))
    assert (answer.mode, answer.num_virtual_tokens, answer.num_context_tokens) == ("full", 0, len(ids))
    assert answer.is_whole and [cited.document_id for cited in answer.documents] == ["voyage"]
    ask(corpus, QUESTION, engine=engine, mode="full", options=["Crane", "Webb"], max_tokens=4)
    asked = tiny_tokenizer().decode(torch.cat(engine.prompts[0].pieces))
    assert "(A) Crane\n(B) Webb<end_of_turn>" in str(asked)


def test_passages_are_read_within_a_budget(narrow: tuple[Corpus, Compressor]) -> None:
    corpus, _ = narrow
    engine = RecordingEngine(chat_decoder(max_position_embeddings=4096))
    asked: dict[str, Any] = {"engine": engine, "mode": "retrieval", "max_tokens": 4}
    answer = ask(corpus, "brig Petrel?", budget=60, **asked)
    text = str(tiny_tokenizer().decode(engine.prompts[0].pieces[1]))
    assert "Petrel" in text and not answer.is_whole
    assert (answer.num_context_tokens, answer.num_virtual_tokens) == (60, 0)
    stored = corpus.document("voyage")
    assert ask(corpus, "brig Petrel?", **asked).num_context_tokens == stored.num_virtual_tokens
    assert ask(corpus, "brig Petrel?", max_virtual_tokens=7, **asked).num_context_tokens == 7
    whole = ask(corpus, "brig Petrel?", budget=4000, **asked)
    assert whole.is_whole and whole.num_context_tokens == stored.num_tokens
    with pytest.raises(LlocoError, match="budget must be at least 1 position, got 0"):
        ask(corpus, "brig Petrel?", budget=0, **asked)


def test_vectors_and_passages_are_read_together_within_one_budget(narrow: tuple[Corpus, Compressor]) -> None:
    corpus, compressor = narrow
    engine = RecordingEngine(compressor.decoder)
    asked: dict[str, Any] = {"engine": engine, "mode": "hybrid", "max_tokens": 4}
    answer = ask(corpus, "brig Petrel?", budget=80, **asked)
    prompt = engine.prompts[0]
    vectors, text = [piece for piece in prompt.pieces if piece.ndim == 2], prompt.pieces[-2]
    assert "Petrel" in str(tiny_tokenizer().decode(text)) and len(text) == answer.num_context_tokens <= 40
    # A segment of two vectors that would be one too many is not read.
    assert 78 <= answer.num_context_tokens + answer.num_virtual_tokens <= 80 and not answer.is_whole
    # What is read as text is not read as vectors as well, what lies around it is.
    soft_prompt, starts = corpus.soft_prompt("voyage"), token_starts(tiny_tokenizer(), corpus.document("voyage").text)
    where = corpus.document("voyage").text.index("Petrel")
    own = segments_of_span(starts, where, where + 6, soft_prompt.provenance.segment_len)
    read = torch.cat(vectors)
    assert len(read) == answer.num_virtual_tokens
    assert not (read[:, None] == rows_of_segments(soft_prompt, own)[None]).all(dim=-1).any()
    assert (read[:, None] == soft_prompt.embeds[None]).all(dim=-1).any(dim=1).all()
    cited = [document.document_id for document in answer.documents]
    assert cited == ["voyage"] and "Petrel" in answer.documents[0].text
    assert ask(corpus, "brig Petrel?", budget=1, **asked).num_virtual_tokens == 0


def test_what_is_read_as_text_is_not_read_as_vectors_though_no_word_of_the_question_is_in_it(
    narrow: tuple[Corpus, Compressor],
) -> None:
    corpus, compressor = narrow
    engine = RecordingEngine(compressor.decoder)
    ask(corpus, "zebra?", document_id="voyage", engine=engine, mode="hybrid", budget=80, max_tokens=4)
    tokenizer, stored = tiny_tokenizer(), corpus.document("voyage")
    read = str(tokenizer.decode(engine.prompts[0].pieces[-2])).split("\n")[0]
    start = stored.text.index(read)
    soft_prompt, starts = corpus.soft_prompt("voyage"), token_starts(tokenizer, stored.text)
    own = rows_of_segments(soft_prompt, segments_of_span(starts, start, start + len(read), stored.segment_len))
    vectors = torch.cat([piece for piece in engine.prompts[0].pieces if piece.ndim == 2])
    # The last segment of the passages may hold the beginning of what comes next.
    assert not (vectors[:, None] == own[None, : -soft_prompt.provenance.summary_length]).all(dim=-1).any()


def test_hybrid_reading_takes_the_whole_soft_prompt_where_it_fits_and_all_text_where_that_does(corpus: Corpus) -> None:
    engine = RecordingEngine(load_compressor(corpus.compressor_name).decoder)
    stored = corpus.document("voyage")
    asked: dict[str, Any] = {"engine": engine, "mode": "hybrid", "max_tokens": 4, "document_id": "voyage"}
    roomy = ask(corpus, QUESTION, budget=2 * stored.num_virtual_tokens + 2, **asked)
    assert roomy.num_virtual_tokens == stored.num_virtual_tokens and roomy.is_whole
    assert roomy.num_context_tokens > 0
    whole = ask(corpus, QUESTION, budget=stored.num_tokens, **asked)
    assert (whole.num_virtual_tokens, whole.num_context_tokens, whole.is_whole) == (0, stored.num_tokens, True)
    default = ask(corpus, QUESTION, **asked)
    assert default.num_virtual_tokens + default.num_context_tokens <= stored.num_virtual_tokens


def test_text_is_read_with_the_corpuss_adapter_only_by_the_decoder_that_it_was_trained_on(
    corpus: Corpus, compressor: Compressor, tmp_path: Path
) -> None:
    own = replace(DEFAULT_TEMPLATE, name="own", question="Q {question}")
    digest = corpus.set_adapter(make_adapter(compressor, tmp_path / "adapter", own))
    other = RecordingEngine(chat_decoder())
    assert ask(corpus, QUESTION, engine=other, mode="full", max_tokens=2).adapter is None
    assert str(tiny_tokenizer().decode(other.prompts[0].pieces[0])).startswith("<s><system>")
    loaded = RecordingEngine(load_compressor(corpus.compressor_name).decoder)
    assert ask(corpus, QUESTION, engine=loaded, mode="full", max_tokens=2).adapter == digest
    assert str(tiny_tokenizer().decode(loaded.prompts[0].pieces[-1])).endswith(f"Q {QUESTION}")


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[tuple[Corpus, Compressor]]:
    """A corpus whose documents are far longer, compressed, than its decoder's 128 positions."""
    compressor = load_compressor(save_compressor(tmp_path / "narrow", max_position_embeddings=128))
    filler = [f"On day {number} nothing was written in the log." for number in range(60)]
    documents = [
        replace(lease_and_voyage()[0], text=" ".join([*filler[:40], LEASE, *filler[40:]])),
        replace(lease_and_voyage()[1], text=" ".join([*filler[:10], VOYAGE, *filler[10:]])),
    ]
    with Store(tmp_path / "narrow-store") as store:
        corpus = store.corpus("n")
        compress_into(corpus, documents, compressor)
        yield corpus, compressor


class RecordingEngine(TransformersEngine):
    """Keeps the prompts that it was given."""

    def generate(self, prompts, sampling, *, adapters=None):  # type: ignore[no-untyped-def]
        self.prompts = list(prompts)
        return super().generate(prompts, sampling, adapters=adapters)


def test_of_a_document_that_does_not_fit_the_passages_segments_are_read(narrow: tuple[Corpus, Compressor]) -> None:
    corpus, compressor = narrow
    engine = RecordingEngine(compressor.decoder)
    answer = ask(corpus, "brig Petrel?", engine=engine, max_tokens=8)
    soft_prompt = corpus.soft_prompt("voyage")
    [vectors] = [piece for piece in engine.prompts[0].pieces if piece.is_floating_point()]
    assert not answer.is_whole
    assert SUMMARY_LENGTH <= answer.num_virtual_tokens == len(vectors)
    assert engine.prompts[0].length + 8 <= compressor.decoder.max_len
    rows = [int((soft_prompt.embeds == vector).all(dim=1).nonzero()[0, 0]) for vector in vectors]
    assert rows == sorted(set(rows))
    place = corpus.document("voyage").text.index("Petrel")
    starts = token_starts(tiny_tokenizer(), corpus.document("voyage").text)
    [segment] = segments_of_span(starts, place, place + 1, SEGMENT_LEN)
    assert {segment * SUMMARY_LENGTH + row for row in range(SUMMARY_LENGTH)} <= set(rows)


def test_two_documents_share_the_room(narrow: tuple[Corpus, Compressor]) -> None:
    corpus, compressor = narrow
    engine = RecordingEngine(compressor.decoder)
    answer = ask(corpus, "Webb, Crane?", engine=engine, top_k=2, max_tokens=8)
    vectors = [piece for piece in engine.prompts[0].pieces if piece.is_floating_point()]
    assert len(vectors) == len(answer.documents) == 2
    assert not answer.is_whole


def test_passages_alone_are_read_and_cited_though_their_documents_fit(tmp_path: Path) -> None:
    filler = [f"On day {number} nothing was written in the log." for number in range(40)]
    loaded = load_compressor(save_compressor(tmp_path / "wide", max_position_embeddings=2048))
    with Store(tmp_path / "passages") as store:
        corpus = store.corpus("p")
        compress_into(
            corpus,
            [
                Document(name, " ".join([*filler, text, *filler]))
                for name, text in (("lease", LEASE), ("voyage", VOYAGE))
            ],
            loaded,
        )
        engine = RecordingEngine(loaded.decoder)
        whole = ask(corpus, "Webb, Petrel?", engine=engine, top_k=2, max_tokens=8)
        few = ask(corpus, "Webb, Petrel?", engine=engine, top_k=2, unit="passage", max_tokens=8)
        vectors = [piece for piece in engine.prompts[0].pieces if piece.is_floating_point()]
        text = ask(corpus, "Petrel?", engine=engine, unit="passage", max_tokens=8)
        named = ask(corpus, "day?", engine=engine, unit="passage", top_k=3, document_id="lease", max_tokens=8)
    assert whole.is_whole and not few.is_whole
    assert 0 < few.num_virtual_tokens == sum(map(len, vectors)) < whole.num_virtual_tokens / 2
    assert {
        document.document_id: "Webb" in document.text or "Petrel" in document.text for document in few.documents
    } == {
        "lease": True,
        "voyage": True,
    }
    assert [(document.document_id, "Petrel" in document.text) for document in text.documents] == [("voyage", True)]
    assert [document.document_id for document in named.documents] == ["lease"] * 3


def test_a_document_that_was_found_and_not_read_is_not_cited(narrow: tuple[Corpus, Compressor]) -> None:
    corpus, compressor = narrow
    engine = RecordingEngine(compressor.decoder)
    answer = ask(corpus, "Webb, Crane?", engine=engine, top_k=2, max_tokens=8, max_virtual_tokens=SUMMARY_LENGTH)
    [cited] = answer.documents
    assert answer.num_virtual_tokens == SUMMARY_LENGTH
    assert answer.num_document_tokens == corpus.document(cited.document_id).num_tokens
    assert not answer.is_whole


def test_a_document_of_fewer_vectors_than_a_segment_has_needs_room_for_these_alone(
    corpus: Corpus, compressor: Compressor
) -> None:
    document = Document("note", "The sloop Tern.")
    made = corpus.soft_prompt("lease").provenance
    made = replace(made, document_id="note", text_digest=document.digest, num_document_tokens=6)
    corpus.add(document, SoftPrompt(torch.ones(2, 48), made), split_passages(document.text))
    assert made.summary_length == 4
    options: dict[str, Any] = {"engine": TransformersEngine(compressor.decoder), "max_tokens": 2}
    answer = ask(corpus, "Tern?", max_virtual_tokens=2, **options)
    assert (answer.documents[0].document_id, answer.num_virtual_tokens, answer.is_whole) == ("note", 2, True)
    with pytest.raises(NoRoomError, match="the first segment of 'note' takes 2 virtual tokens"):
        ask(corpus, "Tern?", max_virtual_tokens=1, **options)


@pytest.mark.parametrize(
    ("options", "taker"),
    [
        ({"max_tokens": 120}, "answer"),
        ({"max_virtual_tokens": 1}, "limit"),
        ({"history": History(turns=(("Petrel?", "word " * 40),))}, "history"),
    ],
)
def test_where_there_is_no_room_the_error_says_what_takes_it(
    narrow: tuple[Corpus, Compressor], options: dict[str, Any], taker: str
) -> None:
    with pytest.raises(NoRoomError) as error:
        ask(narrow[0], "brig Petrel?", **{"max_tokens": 8, **options})
    assert error.value.taker == taker


def test_a_question_that_is_too_long_itself_is_told_so(narrow: tuple[Corpus, Compressor]) -> None:
    with pytest.raises(NoRoomError, match="shorter question"):
        ask(narrow[0], "brig Petrel? " * 40, max_tokens=8)


def test_a_named_document_without_hits_is_read_from_its_beginning(narrow: tuple[Corpus, Compressor]) -> None:
    corpus, compressor = narrow
    engine = RecordingEngine(compressor.decoder)
    ask(corpus, "Xyzzy?", document_id="lease", engine=engine, max_tokens=8)
    [vectors] = [piece for piece in engine.prompts[0].pieces if piece.is_floating_point()]
    assert torch.equal(vectors, corpus.soft_prompt("lease").embeds[: len(vectors)])


def test_every_character_lies_in_the_segment_that_read_its_token() -> None:
    tokenizer = tiny_tokenizer()
    text = "the naïve café — 水 in the rain, then on and on again " * 3
    starts = token_starts(tokenizer, text)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(starts) == len(ids)
    for segment_len in (1, 5, 24):
        for index in range(len(text)):
            numbers = segments_of_span(starts, index, index + 1, segment_len)
            token = max(number for number, start in enumerate(starts) if start <= index)
            assert token // segment_len in numbers
    assert segments_of_span(starts, 0, len(text), 24) == range(-(-len(ids) // 24))


def test_a_tokenizer_without_offsets_counts_what_its_tokens_spell() -> None:
    # One token a byte, as the tiny tokenizer's would be without merges.
    assert token_starts(ByT5Tokenizer(), LEASE) == list(range(len(LEASE)))


def test_rows_are_those_of_the_segments_and_none_beyond_the_end() -> None:
    made = Provenance("a", "0" * 64, 90, "c", "0" * 64, "m", 3, 10, 4, "float32")
    soft_prompt = SoftPrompt(torch.arange(1.0, 31.0).reshape(10, 3), made)
    assert torch.equal(rows_of_segments(soft_prompt, [1, 0, 1]), soft_prompt.embeds[:8])
    assert torch.equal(rows_of_segments(soft_prompt, [2, 3]), soft_prompt.embeds[8:])
    assert len(rows_of_segments(soft_prompt, [7])) == 0
