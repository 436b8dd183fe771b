"""What vLLM itself does wrong with embeddings and adapters, each the reason for something in `lloco/engine/vllm/`.

Every test says what would be right and is expected to fail: one that passes tells that this release mended it, and that
what keeps it from users can go. vLLM is used here as anybody would, without our engine, in float32 on a CPU. What must
hold for a test to mean anything is checked with `require`, whose failure is not the expected one.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lloco.engine.engine import SamplingParams
from lloco.engine.transformers_engine import TransformersEngine
from lloco.engine.vllm.start import import_vllm
from lloco.prompts.prompt import Prompt
from tests.with_vllm.tiny_for_vllm import decoder, save_random_adapter, soft_prompt

# vLLM and its libraries warn of themselves.
pytestmark = pytest.mark.filterwarnings("default")

NUM_TOKENS = 16
LENGTHS = (40, 70, 101)
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
Tokens = list[tuple[int, ...]]


def require(holds: bool, what: str) -> None:
    if not holds:
        pytest.fail(f"{what}: the test shows nothing")


def documents() -> list[Tensor]:
    return [soft_prompt(length) for length in LENGTHS]


def start(folder: Path, **options: Any) -> Any:
    """Return vLLM's own `LLM` on the tiny decoder's weights."""
    import_vllm()
    from vllm import LLM

    model = folder / "model"
    if not model.exists():
        decoder().model.save_pretrained(model)
    return LLM(
        str(model),
        skip_tokenizer_init=True,
        dtype="float32",
        max_model_len=256,
        block_size=32,
        kv_cache_memory_bytes=16 << 20,
        enable_prompt_embeds=True,
        enable_prefix_caching=True,
        enforce_eager=True,
        distributed_executor_backend="uni",
        generation_config="vllm",
        enable_lora=True,
        max_lora_rank=8,
        **options,
    )


def lora(name: str, number: int, folder: Path, **options: Any) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest(name, number, str(folder), **options)


def generate(llm: Any, asked: Sequence[dict[str, Any]], adapters: Sequence[Any]) -> tuple[Tokens, list[int]]:
    """Return the greedy tokens of prompts that are answered together, and how many of each came from the cache."""
    from vllm import SamplingParams as VllmSamplingParams

    sampling = VllmSamplingParams(max_tokens=NUM_TOKENS, temperature=0.0, ignore_eos=True, detokenize=False)
    outputs = llm.generate(asked, sampling, lora_request=list(adapters), use_tqdm=False)
    return [tuple(output.outputs[0].token_ids) for output in outputs], [
        output.num_cached_tokens or 0 for output in outputs
    ]


def reference(asked: Sequence[Tensor], adapters: Sequence[Path | None]) -> Tokens:
    """Return what transformers answers."""
    base = decoder()
    base.model.generation_config.eos_token_id = []
    engine = TransformersEngine(base)
    for folder in adapters:
        if folder is not None:
            engine.add_adapter(folder.name, folder)
    generations = engine.generate(
        [Prompt((embeds,)) for embeds in asked],
        SamplingParams(max_tokens=NUM_TOKENS),
        adapters=[folder and folder.name for folder in adapters],
    )
    return [generation.token_ids for generation in generations]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("defects")
    for seed, name in enumerate(("a", "b", "c"), 1):
        save_random_adapter(made / name, seed)
    return made


@pytest.fixture(scope="module")
def llm(folder: Path) -> Iterator[Any]:
    """As many slots for adapters as there are adapters, which are kept off the embeddings."""
    from vllm.distributed import cleanup_dist_env_and_memory

    made = start(folder, max_loras=2, max_cpu_loras=4, lora_target_modules=list(LINEAR))
    yield made
    # Expected failures keep it alive: what ends with it must not end under the next vLLM in this process.
    made.llm_engine.engine_core.shutdown()
    cleanup_dist_env_and_memory()


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="vLLM embeds the token rows alone, issue 51122")
def test_embeddings_are_read_with_an_adapter_where_vllm_chooses_the_modules(folder: Path) -> None:
    """A. Why `start_vllm` sets `lora_target_modules`; the engine dies of it, so it has a process of its own."""
    command = [sys.executable, "-m", "tests.with_vllm.test_upstream_defects", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if ended.returncode:
        require("einsum(): subscript" in ended.stderr, f"vLLM ended of something else:\n{ended.stderr[-2000:]}")
    assert ended.returncode == 0, "the engine died"
    tokens = [tuple(row) for row in json.loads(ended.stdout.splitlines()[-1])]
    assert tokens == reference(documents(), [folder / "a"] * len(LENGTHS))


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="rows without an adapter get the last slot's, PR 49656")
def test_the_base_model_is_itself_beside_as_many_adapters_as_there_are_slots(llm: Any, folder: Path) -> None:
    """B. Why `VllmEngine` leaves a slot empty; CPUs only."""
    rows = [(document, name) for document in documents() for name in (None, "a", "b")]
    requests = {None: None, "a": lora("a", 1, folder / "a"), "b": lora("b", 2, folder / "b")}
    wanted = reference([document for document, _ in rows], [name and folder / name for _, name in rows])
    tokens, _ = generate(
        llm, [{"prompt_embeds": document} for document, _ in rows], [requests[name] for _, name in rows]
    )
    adapted = [index for index, (_, name) in enumerate(rows) if name is not None]
    require([tokens[index] for index in adapted] == [wanted[index] for index in adapted], "adapters are wrong too")
    assert tokens == wanted


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="cached blocks outlive the adapter, issue 42125")
def test_an_adapter_that_is_loaded_again_in_place_is_not_answered_from_what_the_old_one_read(
    llm: Any, folder: Path, tmp_path: Path
) -> None:
    """C. Why `VllmEngine` names adapters by their digest and never loads one in place."""
    (document,) = documents()[-1:]
    place = tmp_path / "changing"
    save_random_adapter(place, 3)
    before, _ = generate(llm, [{"prompt_embeds": document}], [lora("changing", 3, place)])
    require(before == reference([document], [folder / "c"]), "the adapter is wrong before it is changed")
    save_random_adapter(place, 4)
    changed = lora("changing", 3, place, load_inplace=True)
    after, [num_cached] = generate(llm, [{"prompt_embeds": document}], [changed])
    afresh, _ = generate(llm, [{"prompt_embeds": document, "cache_salt": "afresh"}], [changed])
    wanted = reference([document], [place])
    require(afresh == wanted, "the changed adapter is wrong where nothing is cached")
    require(num_cached > 0 or after == wanted, "nothing came from the cache, and the answer is wrong")
    assert after == wanted


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the mask is not in the cache's key, issue 56655")
def test_a_row_of_zeros_is_not_taken_for_the_first_token_of_the_vocabulary(llm: Any) -> None:
    """D. Why `prompt_embeds` refuses rows of zeros."""
    zeros = soft_prompt(LENGTHS[-1])
    zeros[10] = 0.0
    is_token = [index == 10 for index in range(len(zeros))]
    mixed = {"prompt_embeds": zeros, "prompt_token_ids": [0] * len(zeros), "prompt_is_token_ids": is_token}
    tokens, _ = generate(llm, [mixed], [None])
    token = decoder().embed(torch.tensor([0]))[0].detach()
    as_token = torch.cat([zeros[:10], token[None], zeros[11:]])
    of_token, of_zeros = reference([as_token, zeros], [None, None])
    require(of_token != of_zeros, "the row makes no difference")
    require(tokens == [of_token], "vLLM reads the token wrongly")
    found, _ = generate(llm, [{"prompt_embeds": zeros}], [None])
    afresh, _ = generate(llm, [{"prompt_embeds": zeros, "cache_salt": "afresh"}], [None])
    require(afresh == [of_zeros], "vLLM reads the zeros wrongly where nothing is cached")
    assert found == [of_zeros]


def answer_with_adapter(folder: Path) -> None:
    """Print the tokens that an adapter gives where vLLM chooses the modules; the process of test A.

    Steps of 64 positions: some read embeddings beside rows that have come to their answers' tokens.
    """
    tokens, _ = generate(
        start(folder, max_loras=2, max_cpu_loras=4, max_num_seqs=8, max_num_batched_tokens=64),
        [{"prompt_embeds": document} for document in documents()],
        [lora("a", 1, folder / "a")] * len(LENGTHS),
    )
    print(json.dumps(tokens))


if __name__ == "__main__":
    answer_with_adapter(Path(sys.argv[1]))
