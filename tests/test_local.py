"""Local compressors: groups of tokens by hand, batches, what a vector may depend on, round trips, what is refused."""

import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from lloco.compressors.load import load_compressor
from lloco.compressors.local import LocalCompressor
from lloco.compressors.local_encoder import LocalDesign, group_of_tokens, new_local_encoder
from lloco.documents.document import Document
from lloco.errors import CheckpointError, DocumentError, LlocoError
from lloco.models.checkpoint import weights_digest
from tests.tiny import ARCHITECTURES, tiny_decoder, tiny_model

SUMMARY_LENGTH = 4
DESIGNS = get_args(LocalDesign)


def local_compressor(
    design: LocalDesign = "pooling", architecture: str = "llama", window_len: int = 64, num_layers: int | None = None
) -> LocalCompressor:
    decoder = tiny_decoder(tiny_model(architecture))
    torch.manual_seed(1)
    encoder = new_local_encoder(decoder, design, summary_length=SUMMARY_LENGTH, num_layers=num_layers)
    return LocalCompressor(decoder, encoder, segment_lens=(16, 32, 64), window_len=window_len).eval()


def random_ids(*lengths: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(4, 272, (length,), generator=generator) for length in lengths]


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_batched_vectors_equal_those_of_one_document_at_a_time(design: LocalDesign, architecture: str) -> None:
    compressor = local_compressor(design, architecture)
    documents = random_ids(1, 5, 16, 17, 64, 65, 130)
    for segment_len in (4, 10, 16, 100):
        together = compressor.compress_ids(documents, segment_len=segment_len, batch_size=5)
        for ids, vectors in zip(documents, together, strict=True):
            assert vectors.shape == (compressor.num_virtual_tokens(len(ids), segment_len), 48)
            (alone,) = compressor.compress_ids([ids], segment_len=segment_len)
            torch.testing.assert_close(vectors, alone, atol=1e-5, rtol=1e-4)


@settings(deadline=None)
@given(num_tokens=st.integers(1, 300), segment_len=st.integers(SUMMARY_LENGTH, 80))
def test_a_segment_has_so_many_groups_of_even_size_and_none_is_empty(num_tokens: int, segment_len: int) -> None:
    groups = group_of_tokens(num_tokens, segment_len, SUMMARY_LENGTH)
    sizes = torch.bincount(groups)
    assert bool((groups.diff() >= 0).all()) and bool((sizes > 0).all())
    assert len(sizes) == local_compressor_counts.num_virtual_tokens(num_tokens, segment_len)
    assert int(sizes.max()) <= -(-segment_len // SUMMARY_LENGTH)
    if num_tokens >= segment_len:
        assert int(groups[segment_len - 1]) == SUMMARY_LENGTH - 1


local_compressor_counts = local_compressor()


def test_a_pooled_vector_is_the_mean_of_its_groups_states_through_the_small_network() -> None:
    compressor = local_compressor("pooling")
    (ids,) = random_ids(10)
    encoder = compressor.encoder
    with torch.no_grad():
        nothing_hidden = torch.zeros(1, 1, 10, 10)
        tokens = compressor.decoder.embed(ids)[None]
        states = encoder.body(inputs_embeds=tokens, attention_mask=nothing_hidden).last_hidden_state[0]
        # Segments of 16 in 4 groups: tokens 0-3, 4-7 and 8-9 of a short one.
        means = torch.stack([states[:4].mean(dim=0), states[4:8].mean(dim=0), states[8:].mean(dim=0)])
        wide = encoder.narrow(torch.nn.functional.gelu(encoder.widen(means)))
        wanted = wide / wide.square().mean(dim=-1, keepdim=True).sqrt() * encoder.scale
    (vectors,) = compressor.compress_ids([ids], segment_len=16)
    torch.testing.assert_close(vectors, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("design", DESIGNS)
def test_vectors_depend_on_their_own_window_alone(design: LocalDesign) -> None:
    compressor = local_compressor(design, window_len=32)
    (ids,) = random_ids(80)
    (before,) = compressor.compress_ids([ids], segment_len=16)
    changed = ids.clone()
    changed[70] = 5 if ids[70] != 5 else 6
    (after,) = compressor.compress_ids([changed], segment_len=16)
    is_same = (before == after).all(dim=1)
    assert bool(is_same[:16].all()), "windows of 32 tokens: the first 64 tokens are 16 vectors"
    assert not bool(is_same[16:].all())


def test_only_interleaved_vectors_are_blind_to_what_comes_later() -> None:
    (ids,) = random_ids(32)
    changed = ids.clone()
    changed[-1] = 5 if ids[-1] != 5 else 6
    for design in DESIGNS:
        compressor = local_compressor(design)
        (before,), (after,) = (compressor.compress_ids([item], segment_len=32) for item in (ids, changed))
        assert torch.allclose(before[0], after[0], atol=1e-6) == (design == "interleaved"), design


@pytest.mark.parametrize("design", DESIGNS)
def test_a_saved_compressor_loads_with_the_same_vectors_and_as_a_plain_model(
    design: LocalDesign, tmp_path: Path
) -> None:
    compressor = local_compressor(design, num_layers=1)
    compressor.save(tmp_path / "model")
    loaded = load_compressor(tmp_path / "model")
    assert loaded.digest == weights_digest(tmp_path / "model")
    assert (loaded.design, loaded.segment_len, loaded.summary_length) == (design, 16, SUMMARY_LENGTH)
    assert loaded.segment_lens == (16, 32, 64) and loaded.max_document_tokens > 10**9
    documents = random_ids(7, 100)
    for one, two in zip(compressor.compress_ids(documents), loaded.compress_ids(documents), strict=True):
        assert torch.equal(one, two)
    _, loading = AutoModelForCausalLM.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not loading["missing_keys"]
    assert all(name.startswith("compressor.") for name in loading["unexpected_keys"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_positions_are_rotated_in_float32_whatever_the_weights_are(dtype: str, tmp_path: Path) -> None:
    local_compressor().save(tmp_path / "model")
    loaded = load_compressor(tmp_path / "model", dtype=dtype)
    assert isinstance(loaded, LocalCompressor)
    assert {weight.dtype for weight in loaded.encoder.parameters()} == {loaded.decoder.dtype} != {torch.float32}
    own, decoders = loaded.encoder.body.rotary_emb.inv_freq, loaded.model.get_decoder().rotary_emb.inv_freq
    assert own.dtype == torch.float32 and torch.equal(own, decoders)
    (vectors,) = loaded.compress_ids(random_ids(20))
    assert vectors.dtype == loaded.decoder.dtype and bool(vectors.isfinite().all())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_encoder_begins_as_the_decoders_first_layers_and_is_its_own(architecture: str) -> None:
    decoder = tiny_decoder(tiny_model(architecture))
    encoder = new_local_encoder(decoder, "pooling", summary_length=2, num_layers=1)
    first = decoder.model.get_decoder().layers[0].mlp.up_proj.weight
    own = encoder.body.layers[0].mlp.up_proj.weight
    assert torch.equal(first, own) and first.data_ptr() != own.data_ptr()
    assert len(encoder.body.layers) == 1
    with torch.no_grad():
        embeddings = decoder.embed(torch.arange(272))
    torch.testing.assert_close(encoder.scale.detach(), embeddings.square().mean().sqrt().expand(48))


def test_a_soft_prompt_knows_its_ratio_even_where_the_last_segment_is_short() -> None:
    compressor = local_compressor()
    soft_prompt = compressor.compress(Document(id="a", text="The mill in Harrow Lane stands still. " * 3))
    num_tokens = soft_prompt.provenance.num_document_tokens
    assert soft_prompt.num_virtual_tokens == compressor.num_virtual_tokens(num_tokens)
    assert soft_prompt.compression_ratio == pytest.approx(num_tokens / soft_prompt.num_virtual_tokens)
    assert soft_prompt.provenance.compressor_digest == compressor.digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"compressor_design": "averaging"}, "must be one of pooling, interleaved, bidirectional, dynamic_pooling"),
        ({"segment_lens": "all"}, "a list of lengths"),
        ({"segment_lens": [2]}, "segments must have at least 4 tokens"),
        ({"segment_lens": []}, "segments must have at least 4 tokens"),
        ({"segment_lens": [16, 600]}, "segments of 600 tokens, with their summary tokens, do not fit the 512"),
        ({"window_len": None}, "must have summary_length and window_len"),
        ({"encoder_layers": 7}, "an encoder must have 1 to 2 layers"),
        ({"encoder_layers": 1}, "are not those that its config declares"),
        ({"summary_length": True}, "summary_length in the config of .* must be at least 1"),
    ],
)
def test_a_config_that_does_not_fit_the_weights_is_refused(
    change: dict[str, object], words: str, tmp_path: Path
) -> None:
    local_compressor("bidirectional").save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(CheckpointError, match=words):
        load_compressor(tmp_path)


def test_an_encoder_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    local_compressor().save(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if k != "compressor.scale"}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="scale"):
        load_compressor(tmp_path)


@pytest.mark.parametrize("segment_len", [0, 3, 600])
def test_segments_that_cannot_be_read_are_refused(segment_len: int) -> None:
    with pytest.raises(DocumentError, match="segment_len must be between 4 and"):
        local_compressor("bidirectional").compress_ids(random_ids(8), segment_len=segment_len)


def test_a_window_has_no_more_segments_than_the_positions_allow() -> None:
    # 512 positions: segments of 4 tokens with 4 summary tokens each fill them with 64, not with the 128 asked for.
    compressor = local_compressor("bidirectional", window_len=512)
    assert (compressor.segments_at_once(4), compressor.segments_at_once(64), compressor.segments_at_once(300)) == (
        64,
        7,
        1,
    )
    assert len(compressor.compress_ids(random_ids(600), segment_len=4)[0]) == 600


def test_documents_and_batch_sizes_that_cannot_be_read_are_refused() -> None:
    compressor = local_compressor()
    with pytest.raises(DocumentError, match="at least 1 token"):
        compressor.compress_ids([torch.empty(0, dtype=torch.int64)])
    with pytest.raises(DocumentError, match="token ids must be from 0 to 271"):
        compressor.compress_ids([[272]])
    with pytest.raises(LlocoError, match="batch_size must be at least 1"):
        compressor.compress_ids(random_ids(8), batch_size=0)


def test_a_document_longer_than_all_positions_is_read_to_its_end() -> None:
    compressor = local_compressor()
    read: list[int] = []
    (vectors,) = compressor.compress_ids(random_ids(2000), on_progress=read.append)
    assert len(vectors) == 500 and sum(read) == 2000 and max(read) <= 8 * 64
