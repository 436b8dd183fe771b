"""Documents into a corpus, soft prompts out of it, and a corpus moved to another store."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from lloco.answer.corpus_decoder import load_corpus_decoder
from lloco.compression.corpus_compressor import load_corpus_compressor
from lloco.compression.on_demand import SoftPromptSource
from lloco.compression.plan import plan_documents, segment_len_for
from lloco.compression.prune import remove_absent
from lloco.compression.run import compress_into, compress_planned
from lloco.compressors.compressor import CompressOptions, Compressor, LongDocuments
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document, Skipped
from lloco.errors import CheckpointError, DocumentError, LlocoError, MismatchError, StoreError
from lloco.models.decoder import Decoder
from lloco.models.tokenize import tokenize
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.store.archive import export_corpus, import_corpus
from lloco.store.corpus import Corpus
from lloco.store.store import Store
from tests.corpora import LEASE, SUMMARY_LENGTH, VOYAGE, lease_and_voyage, save_compressor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_compressor(tmp_path_factory.mktemp("compressor") / "tiny")


@pytest.fixture(scope="module")
def compressor(folder: Path) -> Compressor:
    return load_compressor(folder)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


def test_a_second_run_compresses_nothing(store: Store, compressor: Compressor) -> None:
    corpus = store.corpus("c")
    first = compress_into(corpus, lease_and_voyage(), compressor)
    tokens: list[int] = []
    second = compress_into(corpus, lease_and_voyage(), compressor, on_tokens=lambda now, total: tokens.append(now))
    assert (first.num_new, first.num_unchanged, second.num_new, second.num_unchanged) == (2, 0, 0, 2)
    assert tokens == []
    assert second.compression_ratio is None and second.tokens_per_second is None
    assert first.num_virtual_tokens == sum(document.num_virtual_tokens for document in corpus.documents())
    assert first.compression_ratio == pytest.approx(first.num_document_tokens / first.num_virtual_tokens)


def test_only_a_changed_document_is_compressed_again(store: Store, compressor: Compressor) -> None:
    corpus = store.corpus("c")
    compress_into(corpus, lease_and_voyage(), compressor)
    changed = [Document("lease", LEASE + " The tenant keeps the roof.", "Lease"), lease_and_voyage()[1]]
    report = compress_into(corpus, changed, compressor)
    assert (report.num_new, report.num_unchanged) == (1, 1)
    assert corpus.document("lease").text.endswith("roof.")


def test_without_a_segment_length_a_corpus_keeps_its_own(store: Store, compressor: Compressor) -> None:
    corpus = store.corpus("c")
    lease, voyage = lease_and_voyage()
    assert corpus.summary().segment_len is None
    compress_into(corpus, [lease], compressor, CompressOptions(segment_len=12))
    assert corpus.summary().segment_len == 12
    report = compress_into(corpus, [lease, voyage], compressor)
    assert (report.num_new, report.num_unchanged) == (1, 1)
    assert {document.segment_len for document in corpus.documents()} == {12}
    compress_into(corpus, [lease, voyage], compressor, CompressOptions(segment_len=compressor.segment_len))
    assert {document.segment_len for document in corpus.documents()} == {compressor.segment_len}


def test_without_a_storage_dtype_a_corpus_keeps_its_own(store: Store, compressor: Compressor) -> None:
    corpus = store.corpus("c")
    lease, voyage = lease_and_voyage()
    compress_into(corpus, [lease], compressor)
    assert corpus.summary().storage_dtype == "float32"
    compress_into(corpus, [lease], compressor, storage_dtype="int8")
    report = compress_into(corpus, [lease, voyage], compressor)
    assert (report.num_new, report.num_unchanged) == (1, 1)
    assert report.quantisation_error > 0
    assert {corpus.soft_prompt(id).provenance.dtype for id in corpus.document_ids()} == {"int8"}


def test_every_document_is_tokenised_once(
    store: Store, compressor: Compressor, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tokenizer, num_calls = Decoder.require_tokenizer, 0

    def count(decoder: Decoder) -> object:
        nonlocal num_calls
        num_calls += 1
        return require_tokenizer(decoder)

    monkeypatch.setattr(Decoder, "require_tokenizer", count)
    documents = [*lease_and_voyage(), Document("third", LEASE + VOYAGE)]
    compress_into(store.corpus("c"), documents, compressor, CompressOptions(batch_size=2))
    assert num_calls == 3


def test_a_stored_soft_prompt_is_the_compressors_own(store: Store, compressor: Compressor) -> None:
    corpus = store.corpus("c")
    compress_into(corpus, lease_and_voyage(), compressor, CompressOptions(batch_size=2))
    for document in lease_and_voyage():
        alone = compressor.compress(document).embeds
        torch.testing.assert_close(corpus.soft_prompt(document.id).embeds, alone, atol=1e-4, rtol=1e-4)
        assert corpus.document_passages(document.id)


def test_a_killed_run_loses_the_batch_it_was_at(store: Store, compressor: Compressor) -> None:
    documents = [Document(f"d{number}", f"{number} {LEASE}") for number in range(5)]
    corpus = store.corpus("c")
    num_read = 0

    def kill_in_second_batch(now: int, total: int) -> None:
        nonlocal num_read
        num_read += now
        if num_read > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compress_into(corpus, documents, compressor, CompressOptions(batch_size=2), on_tokens=kill_in_second_batch)
    assert corpus.document_ids() == ["d0", "d1"]
    report = compress_into(corpus, documents, compressor, CompressOptions(batch_size=2))
    assert (report.num_new, report.num_unchanged) == (3, 2)


def test_progress_adds_up_to_all_tokens(store: Store, compressor: Compressor) -> None:
    seen: list[tuple[int, int]] = []
    report = compress_into(
        store.corpus("c"), lease_and_voyage(), compressor, on_tokens=lambda now, total: seen.append((now, total))
    )
    assert sum(now for now, _ in seen) == report.num_document_tokens
    assert {total for _, total in seen} == {report.num_document_tokens}


def test_a_document_without_text_is_named_and_the_others_are_compressed(store: Store, compressor: Compressor) -> None:
    documents = [Document("blank", "", source="blank.txt"), *lease_and_voyage()]
    report = compress_into(store.corpus("c"), documents, compressor)
    assert report.num_new == 2
    assert report.skipped == (Skipped("blank.txt", "it has no text"),)


def test_tokenising_adds_up_to_all_characters_of_what_is_new(store: Store, compressor: Compressor) -> None:
    corpus, [lease, voyage] = store.corpus("c"), lease_and_voyage()
    compress_into(corpus, [lease], compressor)
    seen: list[tuple[int, int]] = []
    plan = plan_documents(
        corpus, [lease, voyage], compressor, on_characters=lambda now, total: seen.append((now, total))
    )
    assert seen == [(len(VOYAGE), len(VOYAGE))]
    assert ([document.id for document, _ in plan.waiting], plan.num_unchanged) == (["voyage"], 1)


def test_a_text_is_tokenised_no_further_than_it_takes_to_know_that_it_is_too_long(compressor: Compressor) -> None:
    document = Document("long", VOYAGE * 2000)
    done: list[int] = []
    whole = tokenize(compressor.decoder, document)
    start = tokenize(compressor.decoder, document, 1000, done.append)
    assert 1000 < len(start) < len(whole) and torch.equal(start, whole[: len(start)])
    assert sum(done) == len(document.text)


@pytest.mark.parametrize(
    ("factor", "storage_dtype", "what"),
    [(math.nan, None, "NaN or infinite"), (1e6, "float16", "stored as float16: .* NaN or infinite"), (0, None, "zero")],
)
def test_a_document_whose_vectors_cannot_be_stored_is_named_and_the_others_are_stored(
    store: Store,
    compressor: Compressor,
    monkeypatch: pytest.MonkeyPatch,
    factor: float,
    storage_dtype: str | None,
    what: str,
) -> None:
    def spoil_lease(compressor: Compressor, made: SoftPrompt, *args: Any, **options: Any) -> SoftPrompt:
        is_lease = made.provenance.document_id == "lease"
        return replace(made, embeds=made.embeds * factor) if is_lease else made

    corpus = store.corpus("c")
    with monkeypatch.context() as patch:
        patch.setattr("lloco.compression.run.refine", spoil_lease)
        report = compress_into(corpus, lease_and_voyage(), compressor, storage_dtype=storage_dtype)
    assert (report.num_new, corpus.document_ids()) == (1, ["voyage"])
    assert report.num_virtual_tokens == corpus.document("voyage").num_virtual_tokens
    [skipped] = report.skipped
    assert skipped.source == "lease.txt" and re.search(what, skipped.reason)
    assert store.verify() == []
    again = compress_into(corpus, lease_and_voyage(), compressor)
    assert (again.num_new, again.num_unchanged, again.skipped) == (1, 1, ())


@pytest.mark.parametrize("long_documents", ["windows", "truncate", "refuse"])
def test_a_document_whose_soft_prompt_is_too_large_is_left_out_and_the_others_are_not_compressed_all_at_once(
    store: Store, compressor: Compressor, monkeypatch: pytest.MonkeyPatch, long_documents: LongDocuments
) -> None:
    lease, voyage = lease_and_voyage()
    num_tokens = len(tokenize(compressor.decoder, lease))
    max_bytes = compressor.num_virtual_tokens(num_tokens) * compressor.hidden_size * 4
    monkeypatch.setattr("lloco.compression.plan.MAX_SOFT_PROMPT_BYTES", max_bytes)
    documents = [lease, Document("twice", LEASE * 2, source="twice.txt"), voyage]
    corpus, options = store.corpus("c"), CompressOptions(long_documents=long_documents)
    plan = plan_documents(corpus, documents, compressor, options)
    assert [[document.id for document, _ in batch] for batch in plan.batches()] == [["lease"], ["voyage"]]
    report = compress_planned(corpus, plan, compressor)
    assert (report.num_new, [item.source for item in report.skipped]) == (2, ["twice.txt"])
    assert "tokens, it has more: split it" in report.skipped[0].reason


@pytest.fixture
def long_text(compressor: Compressor) -> str:
    return "abcdefg " * (compressor.max_document_tokens // 8 + 40)


def test_a_document_beyond_the_reach_is_refused_by_name_and_alone(
    store: Store, compressor: Compressor, long_text: str
) -> None:
    documents = [Document("long", long_text, source="long.txt"), *lease_and_voyage()]
    report = compress_into(store.corpus("c"), documents, compressor, CompressOptions(long_documents="refuse"))
    assert (report.num_new, [item.source for item in report.skipped]) == (2, ["long.txt"])
    assert "--long-documents windows" in report.skipped[0].reason


def test_a_truncated_document_says_so_and_windows_read_it_to_the_end(
    store: Store, compressor: Compressor, long_text: str
) -> None:
    corpus, documents = store.corpus("c"), [Document("long", long_text)]
    truncated = compress_into(corpus, documents, compressor, CompressOptions(long_documents="truncate"))
    assert "read in part" in truncated.skipped[0].reason
    assert compress_into(corpus, documents, compressor, CompressOptions(long_documents="truncate")).num_unchanged == 1
    whole = compress_into(corpus, documents, compressor)
    assert (whole.num_new, whole.skipped) == (1, ())
    assert whole.num_virtual_tokens > truncated.num_virtual_tokens
    assert compress_into(corpus, documents, compressor).num_unchanged == 1


def test_int8_is_smaller_and_its_loss_is_measured(store: Store, compressor: Compressor) -> None:
    exact, small = store.corpus("exact"), store.corpus("small")
    assert compress_into(exact, lease_and_voyage(), compressor).quantisation_error == 0.0
    report = compress_into(small, lease_and_voyage(), compressor, storage_dtype="int8")
    losses = [small.soft_prompt(item).provenance.quantisation_error for item in small.document_ids()]
    assert report.quantisation_error == max(losses) > 0
    assert small.summary().num_bytes < exact.summary().num_bytes / 2
    assert compress_into(small, lease_and_voyage(), compressor, storage_dtype="float32").num_new == 2


def test_another_compressor_is_refused_before_it_reads_anything(
    store: Store, compressor: Compressor, tmp_path: Path
) -> None:
    corpus = store.corpus("c")
    compress_into(corpus, lease_and_voyage(), compressor)
    other = load_compressor(save_compressor(tmp_path / "other", seed=1))
    with pytest.raises(MismatchError, match="or use another corpus"):
        compress_into(corpus, [Document("new", VOYAGE)], other, on_tokens=lambda now, total: pytest.fail("it read"))
    with pytest.raises(MismatchError, match="holds soft prompts of"):
        load_corpus_compressor(corpus, tmp_path / "other")


@pytest.mark.parametrize("options", [CompressOptions(segment_len=10**6), CompressOptions(batch_size=0)])
def test_impossible_options_are_an_error_not_a_skipped_document(
    store: Store, compressor: Compressor, options: CompressOptions
) -> None:
    with pytest.raises(DocumentError):
        compress_into(store.corpus("c"), lease_and_voyage(), compressor, options)


def test_a_ratio_chooses_the_segment_length(compressor: Compressor) -> None:
    assert segment_len_for(6.0, compressor) == 6 * SUMMARY_LENGTH
    assert segment_len_for(6.3, compressor) == 25
    for ratio in (0.5, 1.0, 1e6):
        with pytest.raises(DocumentError, match="ratio must be above 1"):
            segment_len_for(ratio, compressor)


def test_pruning_keeps_what_could_not_be_read_now(store: Store, compressor: Compressor) -> None:
    corpus = store.corpus("c")
    lease, voyage = lease_and_voyage()
    third = Document("third", "Some other text.", source="third.txt")
    compress_into(corpus, [lease, voyage, third], compressor)
    assert remove_absent(corpus, [lease], [Skipped("third.txt", "cannot be read")]) == ["voyage"]
    assert corpus.document_ids() == ["lease", "third"]


@pytest.mark.parametrize(
    ("source", "skipped", "is_kept"),
    [
        ("docs/sub/a.txt", "docs/sub", True),
        ("docs/sub/deep/a.txt", "docs/sub", True),
        ("docs/q.jsonl:12", "docs/q.jsonl", True),
        ("docs/q.jsonl:12", "docs/q.jsonl:13", True),
        ("docs/a.txt", "{here}/docs/a.txt", True),
        ("{here}/docs/sub/a.txt", "docs/sub", True),
        ("./docs/../docs/a.txt", "docs/a.txt", True),
        ("real/sub/a.txt", "link/sub", True),
        ("sub/a.txt", "docs/sub", True),
        ("../docs/sub/a.txt", "docs/sub", True),
        ("docs/subway/a.txt", "docs/sub", False),
        ("docs/a.txt", "docs/sub", False),
        ("docs/a.txt", "docs/a.txt.png", False),
        ("real/gone.txt", "real/loop", False),
        ("", "docs/sub", False),
    ],
)
def test_pruning_keeps_what_lies_in_a_place_that_could_not_be_read(
    store: Store,
    compressor: Compressor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    skipped: str,
    is_kept: bool,
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    corpus = store.corpus("c")
    document = Document("absent", LEASE, source=source.format(here=tmp_path))
    compress_into(corpus, [document], compressor)
    removed = remove_absent(corpus, [], [Skipped(skipped.format(here=tmp_path), "cannot be read")])
    assert removed == ([] if is_kept else ["absent"])


def test_a_moved_or_retitled_document_is_named_as_it_is_now_and_not_compressed(
    store: Store, compressor: Compressor
) -> None:
    corpus = store.corpus("c")
    compress_into(corpus, lease_and_voyage(), compressor)
    before = corpus.soft_prompt("lease").to_bytes()
    moved = Document("lease", LEASE, "Lease of the mill", "archive/lease.txt")
    report = compress_into(corpus, [moved], compressor)
    stored = corpus.document("lease")
    assert (report.num_new, report.num_unchanged) == (0, 1)
    assert (stored.title, stored.source) == ("Lease of the mill", "archive/lease.txt")
    assert corpus.soft_prompt("lease").to_bytes() == before and store.verify() == []


def test_a_truncated_documents_ratio_is_over_the_tokens_read(
    store: Store, compressor: Compressor, long_text: str
) -> None:
    corpus = store.corpus("c")
    truncated = CompressOptions(long_documents="truncate")
    report = compress_into(corpus, [Document("long", long_text)], compressor, truncated)
    assert report.num_document_tokens == compressor.max_document_tokens
    stored = corpus.document("long")
    assert stored.num_read_tokens == compressor.max_document_tokens < stored.num_tokens
    assert report.compression_ratio == compressor.segment_len / SUMMARY_LENGTH
    assert f"the first {compressor.max_document_tokens:,} of " in report.skipped[0].reason
    compress_into(corpus, [Document("long", long_text)], compressor)
    assert corpus.document("long").num_read_tokens == stored.num_tokens


def test_the_corpuss_own_models_are_found_by_name_and_held_to_their_digest(store: Store, tmp_path: Path) -> None:
    corpus = store.corpus("c")
    with pytest.raises(LlocoError, match="has no documents"):
        load_corpus_decoder(corpus)
    moving = save_compressor(tmp_path / "moving")
    compress_into(corpus, lease_and_voyage(), load_compressor(moving))
    assert load_corpus_decoder(corpus).digest == corpus.compressor_digest
    save_compressor(moving, seed=5)
    with pytest.raises(MismatchError, match="put the old weights back"):
        load_corpus_decoder(corpus)
    wide = save_compressor(tmp_path / "wide", hidden_size=64, head_dim=16)
    with pytest.raises(MismatchError, match="64 wide"):
        load_corpus_decoder(corpus, wide)


def test_a_corpus_whose_model_has_moved_says_how_to_name_it(store: Store, tmp_path: Path) -> None:
    corpus = store.corpus("c")
    here = save_compressor(tmp_path / "here")
    compress_into(corpus, lease_and_voyage(), load_compressor(here))
    there = here.rename(tmp_path / "there")
    with pytest.raises(CheckpointError, match="name it with --model"):
        load_corpus_decoder(corpus)
    with pytest.raises(CheckpointError, match="name it with --compressor"):
        load_corpus_compressor(corpus)
    assert load_corpus_decoder(corpus, there).digest == corpus.compressor_digest
    assert load_corpus_compressor(corpus, there).digest == corpus.compressor_digest


def test_a_missing_compressor_is_explained(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_compressor(tmp_path / "nowhere")


def test_a_source_takes_the_corpuss_soft_prompt_for_the_same_text(store: Store, compressor: Compressor) -> None:
    corpus = store.corpus("c")
    compress_into(corpus, [lease_and_voyage()[0]], compressor, storage_dtype="int8")
    documents = [Document("another-name", LEASE), Document("new", VOYAGE)]
    source = SoftPromptSource(documents, compressor, corpus=corpus)
    assert (source.num_stored, source.num_documents) == (1, 2)
    stored, made = (source.soft_prompt(document) for document in documents)
    assert torch.equal(stored.embeds, corpus.soft_prompt("lease").embeds)
    assert (stored.provenance.document_id, stored.provenance.text_digest) == ("another-name", documents[0].digest)
    whole = compressor.compress(documents[1])
    torch.testing.assert_close(made.embeds, SoftPrompt.from_bytes(whole.to_bytes("int8"), "new").embeds)


def test_a_source_compresses_afresh_what_the_corpus_holds_made_otherwise(store: Store, compressor: Compressor) -> None:
    corpus = store.corpus("c")
    lease = lease_and_voyage()[0]
    compress_into(corpus, [lease], compressor, CompressOptions(segment_len=12))
    for segment_len, num_stored in ((None, 1), (12, 1), (20, 0)):
        source = SoftPromptSource([lease], compressor, CompressOptions(segment_len=segment_len), corpus=corpus)
        assert source.num_stored == num_stored
        assert source.segment_lens == [source.soft_prompt(lease).provenance.segment_len] == [segment_len or 12]


def test_a_source_compresses_what_the_corpus_lacks_as_the_corpus_would(store: Store, compressor: Compressor) -> None:
    corpus, whole = store.corpus("c"), store.corpus("whole")
    lease, voyage = lease_and_voyage()
    options = CompressOptions(segment_len=12, refine_steps=2)
    compress_into(corpus, [lease], compressor, options, storage_dtype="int8")
    compress_into(whole, [voyage], compressor, options, storage_dtype="int8")
    source = SoftPromptSource([lease, voyage], compressor, corpus=corpus)
    made, wanted = source.soft_prompt(voyage), whole.soft_prompt(voyage.id)
    assert (made.provenance.segment_len, made.provenance.refine_steps, made.provenance.dtype) == (12, 2, "int8")
    assert replace(made.provenance, quantisation_error=0) == replace(wanted.provenance, quantisation_error=0)
    torch.testing.assert_close(made.embeds, wanted.embeds)
    assert source.segment_lens == [12]
    assert source.made_as == "in segments of 12 tokens, refined in 2 steps, as int8"


def test_a_source_does_not_follow_a_corpus_of_another_compressor(
    store: Store, compressor: Compressor, tmp_path: Path
) -> None:
    corpus = store.corpus("c")
    lease, voyage = lease_and_voyage()
    compress_into(corpus, [lease], compressor, CompressOptions(segment_len=12), storage_dtype="int8")
    other = load_compressor(save_compressor(tmp_path / "other", seed=1))
    source = SoftPromptSource([lease, voyage], other, corpus=corpus)
    assert source.num_stored == 0
    made = source.soft_prompt(lease).provenance
    assert (made.segment_len, made.dtype) == (other.segment_len, "float32")


def test_a_source_does_not_take_a_truncated_soft_prompt_for_a_whole_one(store: Store, compressor: Compressor) -> None:
    corpus = store.corpus("c")
    long = Document("long", f"{LEASE} " * (compressor.max_document_tokens // 40))
    compress_into(corpus, [long], compressor, CompressOptions(long_documents="truncate"))
    [stored] = corpus.documents()
    assert stored.num_virtual_tokens < compressor.num_virtual_tokens(stored.num_tokens)
    source = SoftPromptSource([long], compressor, corpus=corpus)
    assert source.num_stored == 0
    assert source.soft_prompt(long).num_virtual_tokens == compressor.num_virtual_tokens(stored.num_tokens)


def test_a_source_compresses_the_next_documents_in_the_same_batch(compressor: Compressor) -> None:
    documents = [Document(f"d{number}", f"{number} {LEASE}") for number in range(5)]
    tokens: list[int] = []
    source = SoftPromptSource(documents, compressor, CompressOptions(batch_size=3), on_compressed=tokens.append)
    first = source.soft_prompt(documents[0])
    num_calls = len(tokens)
    assert source.soft_prompt(documents[0]) is first
    for document in documents[1:3]:
        source.soft_prompt(document)
    assert len(tokens) == num_calls
    last = source.soft_prompt(documents[4])
    torch.testing.assert_close(last.embeds, compressor.compress(documents[4]).embeds)
    assert len(tokens) > num_calls


def test_a_source_digests_each_text_a_few_times_however_many_there_are(
    compressor: Compressor, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [Document(f"d{number}", f"text {number}") for number in range(40)]
    digest, num_calls = vars(Document)["digest"].fget, 0

    def count(document: Document) -> str:
        nonlocal num_calls
        num_calls += 1
        return str(digest(document))

    monkeypatch.setattr(Document, "digest", property(count))
    source = SoftPromptSource(documents, compressor, CompressOptions(batch_size=2))
    for document in documents:
        source.soft_prompt(document)
    assert num_calls <= 4 * len(documents)


def test_an_exported_corpus_is_imported_bit_for_bit(store: Store, compressor: Compressor, tmp_path: Path) -> None:
    corpus = store.corpus("c")
    compress_into(corpus, lease_and_voyage(), compressor, storage_dtype="int8")
    assert export_corpus(corpus, tmp_path / "out") == 2
    with Store(tmp_path / "second") as second:
        assert import_corpus(second, tmp_path / "out") == ("c", 2)
        again = second.corpus("c", create=False)
        assert again.contents_digest() == corpus.contents_digest()
        assert list(again.documents()) == list(corpus.documents())
        for document_id in corpus.document_ids():
            assert again.soft_prompt(document_id).to_bytes() == corpus.soft_prompt(document_id).to_bytes()
        assert second.verify() == []
        assert import_corpus(second, tmp_path / "out", "copy") == ("copy", 2)
    with pytest.raises(StoreError, match="exists"):
        export_corpus(corpus, tmp_path / "out")


def write_adapter(folder: Path, weights: bytes) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


def test_an_import_over_a_corpus_with_things_of_its_own_is_refused_unless_it_is_to_be_replaced(
    store: Store, compressor: Compressor, tmp_path: Path
) -> None:
    lease, voyage = lease_and_voyage()
    compress_into(store.corpus("moved"), [lease], compressor)
    export_corpus(store.corpus("moved"), tmp_path / "out")
    corpus = store.corpus("c")
    compress_into(corpus, [replace(lease, text=VOYAGE), voyage], compressor)
    digest = corpus.set_adapter(write_adapter(tmp_path / "adapter", b"learned"))
    with pytest.raises(StoreError, match=r"2 documents \(first 'lease'\) and an adapter of its own.*--replace"):
        import_corpus(store, tmp_path / "out", "c")
    assert (corpus.document_ids(), corpus.summary().adapter_digest) == (["lease", "voyage"], digest)
    assert corpus.document("lease").text == VOYAGE
    assert import_corpus(store, tmp_path / "out", "C", replace=True) == ("C", 1)
    replaced = store.corpus("c")
    assert (replaced.document_ids(), replaced.document("lease").text) == (["lease"], LEASE)
    assert replaced.adapter_folder() is None and store.verify() == []


@pytest.mark.parametrize("damage", ["passage", "twice", "compressor", "name"])
def test_a_corpus_is_not_replaced_by_an_export_that_cannot_be_added(
    store: Store, compressor: Compressor, tmp_path: Path, damage: str
) -> None:
    corpus = store.corpus("c")
    compress_into(corpus, lease_and_voyage(), compressor)
    export_corpus(corpus, out := tmp_path / "out")
    lines = [json.loads(line) for line in (out / "documents.jsonl").read_text().splitlines()]
    name = "c"
    if damage == "passage":
        lines[1]["passages"] = [[0, 999_999]]
    elif damage == "twice":
        lines[1] = lines[0]
    elif damage == "compressor":
        made = corpus.soft_prompt("voyage")
        data = replace(made, provenance=replace(made.provenance, compressor_digest="0" * 64)).to_bytes()
        lines[1]["soft_prompt"] = sha256(data).hexdigest()
        (out / "soft_prompts" / f"{lines[1]['soft_prompt']}.safetensors").write_bytes(data)
    else:
        summary = json.loads((out / "corpus.json").read_text())
        (out / "corpus.json").write_text(json.dumps(summary | {"name": "../c"}))
        name = ""
    (out / "documents.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(StoreError):
        import_corpus(store, out, name or None, replace=True)
    assert corpus.document_ids() == ["lease", "voyage"] and store.verify() == []


def test_a_document_that_is_replaced_while_it_is_exported_is_read_again(
    store: Store, compressor: Compressor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = store.corpus("c")
    lease, _ = lease_and_voyage()
    compress_into(corpus, [lease], compressor)
    read = Corpus.soft_prompt

    def replaced_first(self: Corpus, id: str) -> SoftPrompt:
        monkeypatch.setattr(Corpus, "soft_prompt", read)
        compress_into(corpus, [replace(lease, text=VOYAGE)], compressor)
        return read(self, id)

    monkeypatch.setattr(Corpus, "soft_prompt", replaced_first)
    export_corpus(corpus, tmp_path / "out")
    assert import_corpus(store, tmp_path / "out", "copy") == ("copy", 1)
    assert store.corpus("copy").document("lease").text == VOYAGE


def test_another_adapter_alone_is_not_replaced_in_silence(store: Store, compressor: Compressor, tmp_path: Path) -> None:
    corpus = store.corpus("c")
    compress_into(corpus, lease_and_voyage(), compressor)
    corpus.set_adapter(write_adapter(tmp_path / "old", b"old"))
    export_corpus(corpus, tmp_path / "out")
    assert import_corpus(store, tmp_path / "out") == ("c", 2)
    digest = corpus.set_adapter(write_adapter(tmp_path / "new", b"new"))
    with pytest.raises(StoreError, match="has an adapter of its own"):
        import_corpus(store, tmp_path / "out")
    assert corpus.summary().adapter_digest == digest


def test_a_killed_import_is_gone_on_with(store: Store, compressor: Compressor, tmp_path: Path) -> None:
    corpus = store.corpus("c")
    compress_into(corpus, lease_and_voyage(), compressor, storage_dtype="int8")
    export_corpus(corpus, tmp_path / "out")
    corpus.remove_document("voyage")
    assert import_corpus(store, tmp_path / "out") == ("c", 2)
    assert corpus.document_ids() == ["lease", "voyage"]


def test_an_export_with_half_an_adapter_is_refused_and_adds_nothing(
    store: Store, compressor: Compressor, tmp_path: Path
) -> None:
    compress_into(store.corpus("c"), lease_and_voyage(), compressor)
    export_corpus(store.corpus("c"), tmp_path / "out")
    (write_adapter(tmp_path / "out" / "adapter", b"learned") / "adapter_config.json").unlink()
    with pytest.raises(StoreError, match="adapter_config"):
        import_corpus(store, tmp_path / "out", "copy")
    assert "copy" not in store


@pytest.mark.parametrize("file", ["corpus.json", "documents.jsonl"])
def test_a_file_that_an_export_lacks_is_named_in_plain_words(
    store: Store, compressor: Compressor, tmp_path: Path, file: str
) -> None:
    compress_into(store.corpus("c"), lease_and_voyage(), compressor)
    export_corpus(store.corpus("c"), tmp_path / "out")
    (tmp_path / "out" / file).unlink()
    with pytest.raises(StoreError, match=rf"{file}.*cannot be read.*No such file") as refused:
        import_corpus(store, tmp_path / "out", "copy")
    assert "Errno" not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("corpus.json", "lloco-corpus", "something"),
        ("corpus.json", '"format_version": 1', '"format_version": 2'),
        ("corpus.json", '"num_documents": 2', '"num_documents": 3'),
        ("documents.jsonl", '"soft_prompt": "', '"soft_prompt": "../../'),
        ("documents.jsonl", "slate", "coal"),
        ("documents.jsonl", '"id": "voyage"', '"id": "journey"'),
        ("documents.jsonl", '"passages"', '"spans"'),
        ("documents.jsonl", "}\n", "\n"),
    ],
)
def test_a_changed_export_is_refused_and_adds_nothing(
    store: Store, compressor: Compressor, tmp_path: Path, file: str, old: str, new: str
) -> None:
    corpus = store.corpus("c")
    compress_into(corpus, lease_and_voyage(), compressor)
    export_corpus(corpus, tmp_path / "out")
    path = tmp_path / "out" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with Store(tmp_path / "second") as second, pytest.raises(LlocoError):
        import_corpus(second, tmp_path / "out")
    with Store(tmp_path / "second") as second:
        assert sum(item.num_documents for item in second.corpora()) == 0


def test_an_export_with_a_damaged_soft_prompt_is_refused(store: Store, compressor: Compressor, tmp_path: Path) -> None:
    corpus = store.corpus("c")
    compress_into(corpus, lease_and_voyage(), compressor)
    export_corpus(corpus, tmp_path / "out")
    digest = json.loads((tmp_path / "out" / "documents.jsonl").read_text().splitlines()[1])["soft_prompt"]
    path = tmp_path / "out" / "soft_prompts" / f"{digest}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with Store(tmp_path / "second") as second, pytest.raises(StoreError, match="it is damaged"):
        import_corpus(second, tmp_path / "out")
