"""Refinement: documents are repeated better, models stay as they are, the same seed gives the same bytes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lloco.compression.refine import MAX_NORM_CHANGE, MAX_STRETCH_TOKENS, refine, repeat_loss
from lloco.compression.run import compress_into
from lloco.compressors.compressor import CompressOptions, Compressor, compress_documents
from lloco.compressors.delta import TrainableCompressor
from lloco.compressors.load import load_compressor
from lloco.compressors.local import LocalCompressor
from lloco.compressors.local_encoder import new_local_encoder
from lloco.documents.document import Document
from lloco.errors import DocumentError, LlocoError
from lloco.models.tokenize import tokenize
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.store.store import Store
from tests.command import Run
from tests.corpora import LEASE, VOYAGE
from tests.tiny import tiny_decoder

LEASE_DOCUMENT = Document("lease", LEASE)
LONG = Document("long", " ".join(f"The brig number {number} left Leith." for number in range(60)))


def autocompressor(folder: Path) -> TrainableCompressor:
    return load_compressor(folder)


def pooling(folder: Path) -> TrainableCompressor:
    decoder = tiny_decoder()
    torch.manual_seed(1)
    encoder = new_local_encoder(decoder, "pooling", summary_length=4)
    return LocalCompressor(decoder, encoder, segment_lens=(16, 32), window_len=64).eval()


@pytest.fixture(params=[autocompressor, pooling])
def loaded(request: pytest.FixtureRequest, compressor: Path) -> TrainableCompressor:
    make: Callable[[Path], TrainableCompressor] = request.param
    return make(compressor)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


def compressed(compressor: Compressor, document: Document, segment_len: int = 16) -> tuple[SoftPrompt, Tensor]:
    made = next(compress_documents(compressor, [document], CompressOptions(segment_len=segment_len)))
    return made, tokenize(compressor.decoder, document)


def loss(compressor: Compressor, soft_prompt: SoftPrompt, ids: Tensor) -> float:
    with torch.no_grad():
        return float(repeat_loss(compressor, soft_prompt.embeds, ids))


@pytest.mark.parametrize("segment_len", [16, 32])
def test_a_refined_document_is_repeated_better_and_the_more_steps_the_better(
    loaded: TrainableCompressor, segment_len: int
) -> None:
    before, ids = compressed(loaded, LEASE_DOCUMENT, segment_len)
    losses = [loss(loaded, refine(loaded, before, ids, steps), ids) for steps in (0, 4, 16)]
    assert losses[0] > losses[1] > losses[2]


def test_every_stretch_of_a_long_document_is_repeated_better_from_its_own_rows(loaded: TrainableCompressor) -> None:
    before, ids = compressed(loaded, LONG)
    assert len(ids) > 2 * MAX_STRETCH_TOKENS
    told: list[int] = []
    after = refine(loaded, before, ids, 4, on_progress=told.append)
    assert sum(told) == 4 * len(ids) and max(told) <= MAX_STRETCH_TOKENS
    size = loaded.summary_length
    for start in range(0, len(ids), 256):
        rows, tokens = slice(start // 16 * size, (start + 256) // 16 * size), ids[start : start + 256]
        losses = [loss(loaded, SoftPrompt(item.embeds[rows], item.provenance), tokens) for item in (before, after)]
        assert losses[0] > losses[1]


def test_models_are_as_they_were_and_weights_have_no_gradient(loaded: TrainableCompressor) -> None:
    before, ids = compressed(loaded, LEASE_DOCUMENT)
    kept = {name: value.clone() for name, value in loaded.state_dict().items()}
    trainable = [parameter.requires_grad for parameter in loaded.parameters()]
    with torch.no_grad():
        refine(loaded, before, ids, 3)
    assert all(torch.equal(value, kept[name]) for name, value in loaded.state_dict().items())
    assert [parameter.requires_grad for parameter in loaded.parameters()] == trainable
    assert all(parameter.grad is None for parameter in loaded.parameters())


def test_the_same_seed_gives_the_same_bytes_and_another_cuts_a_long_document_elsewhere(
    loaded: TrainableCompressor,
) -> None:
    before, ids = compressed(loaded, LONG)
    made = [refine(loaded, before, ids, 2, seed=seed).to_bytes() for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]


def test_no_steps_change_nothing(loaded: TrainableCompressor) -> None:
    before, ids = compressed(loaded, LEASE_DOCUMENT)
    assert refine(loaded, before, ids, 0) is before
    assert before.provenance.refine_steps == 0 and b"refine_steps" not in before.to_bytes()


def test_rows_keep_their_norms_nearly_and_the_number_of_steps_is_in_the_file(loaded: TrainableCompressor) -> None:
    before, ids = compressed(loaded, LEASE_DOCUMENT)
    after = refine(loaded, before, ids, 16)
    change = after.embeds.norm(dim=1) / before.embeds.norm(dim=1)
    assert float(change.min()) > 1 / MAX_NORM_CHANGE - 1e-4 and float(change.max()) < MAX_NORM_CHANGE + 1e-4
    assert after.provenance == replace(before.provenance, refine_steps=16)
    for dtype in (None, "int8"):
        assert SoftPrompt.from_bytes(after.to_bytes(dtype), "a").provenance.refine_steps == 16


def test_a_truncated_soft_prompt_is_refined_by_what_it_stands_for(compressor: Path) -> None:
    loaded = load_compressor(compressor)
    options = CompressOptions(long_documents="truncate")
    long = replace(LONG, text=LONG.text * 10)
    before = next(compress_documents(loaded, [long], options))
    told: list[int] = []
    after = refine(loaded, before, tokenize(loaded.decoder, long), 1, on_progress=told.append)
    assert after.num_virtual_tokens == before.num_virtual_tokens
    assert sum(told) == before.num_virtual_tokens // loaded.summary_length * loaded.segment_len


def test_gradients_that_are_not_finite_leave_the_document_out_with_the_reason(
    store: Store, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_compressor(compressor)

    def broken(compressor: Compressor, vectors: Tensor, ids: Tensor) -> Tensor:
        return (vectors / 0).sum()

    monkeypatch.setattr("lloco.compression.refine.repeat_loss", broken)
    report = compress_into(store.corpus("c"), [LEASE_DOCUMENT], loaded, CompressOptions(refine_steps=2))
    assert report.num_new == 0
    assert "'lease', step 1" in report.skipped[0].reason and "leave out --refine" in report.skipped[0].reason


def test_wrong_numbers_of_steps_and_places_without_refinement_are_refused(store: Store, compressor: Path) -> None:
    loaded = load_compressor(compressor)
    with pytest.raises(DocumentError, match="refine_steps must be at least 0, got -1"):
        compress_into(store.corpus("c"), [LEASE_DOCUMENT], loaded, CompressOptions(refine_steps=-1))
    with pytest.raises(LlocoError, match="pass the result on to `refine`"):
        next(compress_documents(loaded, [LEASE_DOCUMENT], CompressOptions(refine_steps=1)))


def test_another_number_of_steps_compresses_again_the_same_skips_and_the_corpus_keeps_it(
    store: Store, compressor: Path
) -> None:
    loaded, corpus = load_compressor(compressor), store.corpus("c")
    documents = [LEASE_DOCUMENT, Document("voyage", VOYAGE)]

    def num_new(steps: int | None, *more: Document) -> int:
        return compress_into(corpus, [*documents, *more], loaded, CompressOptions(refine_steps=steps)).num_new

    assert [num_new(steps) for steps in (None, 0, 2, 2, None, 3, 3)] == [2, 0, 2, 0, 0, 2, 0]
    assert num_new(None, LONG) == 1
    assert corpus.soft_prompt("long").provenance.refine_steps == corpus.refine_steps() == 3
    assert [num_new(steps, LONG) for steps in (0, None)] == [3, 0]
    assert corpus.soft_prompt("lease").provenance.refine_steps == 0 and store.verify() == []


def test_a_killed_run_goes_on_and_says_how_far_it_is(store: Store, compressor: Path) -> None:
    loaded, corpus = load_compressor(compressor), store.corpus("c")
    documents, options = [LEASE_DOCUMENT, LONG], CompressOptions(batch_size=1, refine_steps=2)
    told: list[tuple[int, int]] = []

    def kill_in_second_batch(num_now: int, total: int) -> None:
        told.append((num_now, total))
        if len(corpus.document_ids()) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compress_into(corpus, documents, loaded, options, on_tokens=kill_in_second_batch)
    assert told[0][1] == 3 * sum(len(tokenize(loaded.decoder, document)) for document in documents)
    report = compress_into(corpus, documents, loaded, options)
    assert (report.num_new, report.num_unchanged) == (1, 1)
    with_a_break = corpus.soft_prompt("long").to_bytes()
    # One at a time here too: what a random model makes of 75 segments depends on the last bit of the first.
    compress_into(store.corpus("whole"), documents, loaded, options)
    torch.testing.assert_close(
        store.corpus("whole").soft_prompt("long").embeds, SoftPrompt.from_bytes(with_a_break, "long").embeds
    )


def test_an_unreadable_header_is_compressed_again_and_the_corpus_keeps_its_steps(
    store: Store, compressor: Path
) -> None:
    loaded, corpus = load_compressor(compressor), store.corpus("c")
    documents, options = [LEASE_DOCUMENT, LONG], CompressOptions(refine_steps=2)
    compress_into(corpus, documents, loaded, options)
    damaged = next(item for item in store.path.glob("soft_prompts/*/*") if b'"long"' in item.read_bytes())
    damaged.write_bytes(b"\0" * damaged.stat().st_size)
    assert compress_into(corpus, documents, loaded).num_new == 1
    assert corpus.soft_prompt("long").provenance.refine_steps == 2 and store.verify() == []


def test_the_flag_refines_says_so_and_is_kept(run: Run, docs: Path, compressor: Path, home: Path) -> None:
    argv = ["compress", docs, "--corpus", "c", "--compressor", compressor]
    assert run.json(*argv, "--refine", "2")["num_new"] == 2
    assert run.json(*argv)["num_new"] == 0
    assert "refining in 2 steps, as corpus c has it" in run.err
    assert run.json(*argv, "--refine", "0")["num_new"] == 2
    assert "corpus c is refined in 2 steps" in run.err
    assert "a whole number of at least 0" in run.fails(*argv, "--refine", "-1", code=2)
    with Store(home) as store:
        assert store.corpus("c").refine_steps() == 0
