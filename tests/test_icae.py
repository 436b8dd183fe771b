"""Published ICAE weights give the vectors of the public code, restated here on PEFT, and the decoder stays its base."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions
from lloco.compressors.load import design_of, load_compressor
from lloco.importers.icae import INSTRUCTION_TOKEN
from lloco.prompts.batch import collate
from lloco.prompts.prompt import build_prompt
from lloco.prompts.template import Template
from lloco.store.store import Store
from tests.command import Run
from tests.tiny import tiny_model, tiny_tokenizer

# PEFT itself asks transformers 5 under an old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
NUM_TOKENS = len(tiny_tokenizer())
"""The base's table has as many rows, as that of Mistral has, so that it grows by the new token."""
NUM_MEMORY, RANK = 4, 3
SEGMENT_LEN = 4 * NUM_MEMORY
IDS = [(7 * index * index + 5) % 200 + 4 for index in range(2 * SEGMENT_LEN)]
LEASE = "The lease of the mill was signed by Agnes Webb."


class PublicIcae(nn.Module):
    """The forward pass of code/icae_v2/modeling_icae_multi_span.py, getao/icae@5ed61ff, in its modules' names."""

    def __init__(self) -> None:
        super().__init__()
        model = tiny_model("mistral", seed=3, vocab_size=NUM_TOKENS)
        # The public code names no target_modules: PEFT's own for Mistral are taken.
        self.icae: Any = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=32, bias="none", task_type="CAUSAL_LM"))
        self.memory_token_embed = nn.Embedding(NUM_MEMORY + 3, model.config.hidden_size)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if "lora_" in name:
                    weight.normal_(0, 0.3)
        self.eval()

    def published(self) -> dict[str, Tensor]:
        """What the released file holds: what was trained."""
        return {name: item for name, item in self.state_dict().items() if "lora_" in name or "memory_token" in name}

    @torch.no_grad()
    def compress(self, ids: list[int]) -> Tensor:
        num_segments = math.ceil(len(ids) / (NUM_MEMORY * 4))
        length = math.ceil(len(ids) / num_segments)
        slots = []
        for number in range(num_segments):
            tokens = torch.tensor([ids[number * length : (number + 1) * length]])
            row = torch.cat([self.embed(tokens), self.memory_token_embed.weight[None, :NUM_MEMORY]], dim=1)
            slots.append(self.icae(inputs_embeds=row, output_hidden_states=True).hidden_states[-1][0, -NUM_MEMORY:])
        return torch.cat(slots)

    @torch.no_grad()
    def answer_logits(self, before: Tensor, slots: Tensor, after: Tensor) -> Tensor:
        """Logits after a prompt: prefix, memory slots, the token of instructions, suffix; adapters are off."""
        instruction = self.memory_token_embed.weight[NUM_MEMORY + 2 :][None]
        row = torch.cat([self.embed(before[None]), slots[None], instruction, self.embed(after[None])], dim=1)
        with self.icae.disable_adapter():
            logits: Tensor = self.icae(inputs_embeds=row).logits[0, -1]
        return logits

    def embed(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.icae.get_base_model().model.embed_tokens(tokens)
        return embedded


@pytest.fixture(scope="module")
def public() -> PublicIcae:
    return PublicIcae()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, public: PublicIcae) -> Path:
    """The base model's folder, and the released file, in small."""
    folder = tmp_path_factory.mktemp("icae")
    tiny_model("mistral", seed=3, vocab_size=NUM_TOKENS).save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    save_file(public.published(), folder / "ft_icae.safetensors")
    return folder


@pytest.fixture(scope="module")
def imported(release: Path) -> Path:
    from lloco.importers.icae import import_icae

    import_icae(release / "ft_icae.safetensors", release / "base", release / "icae")
    return release / "icae"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("LLOCO_HOME", str(tmp_path / "home"))
    return Run(capsys)


def test_the_vectors_are_those_of_the_public_code(imported: Path, public: PublicIcae) -> None:
    compressor = load_compressor(imported)
    assert design_of(imported) == "icae" and (compressor.segment_len, compressor.summary_length) == (SEGMENT_LEN, 4)
    lengths = (1, 5, SEGMENT_LEN, 2 * SEGMENT_LEN)
    made = compressor.compress_ids([IDS[:length] for length in lengths], batch_size=3)
    for length, vectors in zip(lengths, made, strict=True):
        torch.testing.assert_close(vectors, public.compress(IDS[:length]), atol=1e-4, rtol=0)
        assert len(vectors) == compressor.num_virtual_tokens(length)
    # The public code cuts 21 tokens into 11 and 10; here segments are whole, as everywhere.
    parts = torch.cat([public.compress(IDS[:SEGMENT_LEN]), public.compress(IDS[SEGMENT_LEN:21])])
    torch.testing.assert_close(compressor.compress_ids([IDS[:21]])[0], parts, atol=1e-4, rtol=0)


def test_the_decoder_reads_them_as_the_public_code_does(imported: Path, public: PublicIcae) -> None:
    compressor = load_compressor(imported)
    (vectors,) = compressor.compress_ids([IDS])
    decoder = compressor.decoder
    prompt = build_prompt(Template.packaged("icae"), decoder.require_tokenizer(), "Who?", soft_prompts=[vectors])
    before, _, after = prompt.pieces
    assert before[0] == decoder.require_tokenizer().bos_token_id
    assert after[0] == decoder.require_tokenizer().convert_tokens_to_ids(INSTRUCTION_TOKEN) == NUM_TOKENS
    with torch.no_grad():
        ours = decoder.model(inputs_embeds=collate([prompt], decoder, padding_side="left").inputs_embeds).logits[0, -1]
    theirs = public.answer_logits(before, public.compress(IDS), after[1:])
    torch.testing.assert_close(ours[:NUM_TOKENS], theirs, atol=1e-4, rtol=0)
    assert ours[NUM_TOKENS] == ours[0], "the new token is no likelier than the one that no tokenizer writes"


def test_an_adapter_of_a_corpus_changes_no_vector(imported: Path) -> None:
    compressor = load_compressor(imported)
    (before,) = compressor.compress_ids([IDS])
    model = attach_adapter(compressor.decoder, LoraOptions())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    assert torch.equal(compressor.compress_ids([IDS])[0], before)


def test_a_folder_is_imported_compressed_with_and_asked(run: Run, release: Path, tmp_path: Path) -> None:
    (tmp_path / "lease.txt").write_text(LEASE)
    out = tmp_path / "icae"
    value = run.json("import", "icae", release / "ft_icae.safetensors", "--base", release / "base", "--out", out)
    assert (value["segment_len"], value["lora_rank"]) == (SEGMENT_LEN, RANK)
    run.json("compress", tmp_path / "lease.txt", "--corpus", "c", "--compressor", out)
    answer = run.json("ask", "--corpus", "c", "--template", "icae", "Who signed the lease?", "--max-tokens", "4")
    assert answer["num_virtual_tokens"] % NUM_MEMORY == 0
    assert run.json("compress", tmp_path / "lease.txt", "--corpus", "c")["num_unchanged"] == 1
    with Store() as store:
        assert store.corpus("c").soft_prompt("lease.txt").provenance.compressor_digest == value["weights_digest"]
    assert run.json("push", "compressor", out, tmp_path / "pushed")
    assert "exists" in run.fails("import", "icae", release / "ft_icae.safetensors", "--base", out, "--out", out)


BREAKAGES: dict[str, tuple[dict[str, Tensor | None], str]] = {
    "another tensor": ({"icae.base_model.model.model.norm.weight": torch.ones(48)}, "no ICAE v2"),
    "no memory": ({"memory_token_embed.weight": None}, "no ICAE v2"),
    "NaN": ({"memory_token_embed.weight": torch.full((7, 48), torch.nan)}, "holds NaN"),
    "another width": ({"memory_token_embed.weight": torch.ones(7, 40)}, "belong to another model"),
    "half a pair": (
        {"icae.base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight": None},
        "has one",
    ),
    "another module": (
        {
            f"icae.base_model.model.model.layers.9.self_attn.q_proj.lora_{side}.default.weight": torch.ones(3, 3)
            for side in "AB"
        },
        "is not there",
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_what_is_no_icae_of_this_base_is_refused(run: Run, release: Path, tmp_path: Path, name: str) -> None:
    change, words = BREAKAGES[name]
    tensors: dict[str, Tensor | None] = {**load_file(release / "ft_icae.safetensors"), **change}
    save_file({key: item for key, item in tensors.items() if item is not None}, tmp_path / "x.safetensors")
    argv = ("import", "icae", tmp_path / "x.safetensors", "--base", release / "base", "--out", tmp_path / "out")
    assert words in run.fails(*argv)
    assert not (tmp_path / "out").exists()


def test_a_pickle_is_refused_unread_and_a_folder_that_lost_settings_too(
    run: Run, release: Path, imported: Path, tmp_path: Path
) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pt")
    argv = ("import", "icae", tmp_path / "x.pt", "--base", release / "base", "--out", tmp_path / "out")
    assert "cannot be read" in run.fails(*argv)
    (tmp_path / "lease.txt").write_text(LEASE)
    config = json.loads((imported / "config.json").read_text())
    for file in imported.iterdir():
        (tmp_path / "lost").mkdir(exist_ok=True)
        (tmp_path / "lost" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "lost" / "config.json").write_text(json.dumps({**config, "encoder_lora_alpha": None}))
    words = run.fails("compress", tmp_path / "lease.txt", "--corpus", "c", "--compressor", tmp_path / "lost")
    assert "lacks some of an ICAE" in words
