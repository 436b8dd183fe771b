"""What every engine must do: one suite, run over each of them, against plain transformers and PEFT."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import GenerationConfig

from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions, save_adapter
from lloco.engine.engine import Engine, Generation, SamplingParams
from lloco.engine.streaming import StreamingEngine
from lloco.engine.transformers_engine import TransformersEngine
from lloco.errors import CheckpointError, LlocoError, MismatchError
from lloco.models.decoder import Decoder
from lloco.prompts.prompt import Prompt, build_prompt
from lloco.prompts.template import DEFAULT_TEMPLATE
from tests.tiny import ARCHITECTURES, tiny_decoder, tiny_llama, tiny_model, tiny_tokenizer

GREEDY = SamplingParams(max_tokens=12)
LENGTHS = (5, 31, 1, 17, 9)
ENGINES: dict[str, Callable[[Decoder, int], Engine]] = {
    "transformers": lambda decoder, batch_size: TransformersEngine(decoder, batch_size),
    "streaming": lambda decoder, batch_size: StreamingEngine(decoder, max_batch_size=batch_size),
}

MakeEngine = Callable[..., Engine]


@pytest.fixture(params=ENGINES)
def make_engine(request: pytest.FixtureRequest) -> MakeEngine:
    def make(decoder: Decoder | None = None, batch_size: int = 4) -> Engine:
        return ENGINES[request.param](decoder or tiny_decoder(), batch_size)

    return make


def soft_prompt(num_virtual_tokens: int, hidden_size: int = 48, seed: int = 0) -> Tensor:
    return torch.randn(num_virtual_tokens, hidden_size, generator=torch.Generator().manual_seed(seed))


def token_prompts(lengths: tuple[int, ...] = LENGTHS) -> list[Prompt]:
    generator = torch.Generator().manual_seed(7)
    return [Prompt((torch.randint(4, 266, (length,), generator=generator),)) for length in lengths]


def document_prompts(decoder: Decoder, seed: int = 0) -> list[Prompt]:
    tokenizer = decoder.require_tokenizer()
    return [
        build_prompt(
            DEFAULT_TEMPLATE,
            tokenizer,
            f"question {'x' * length}?",
            soft_prompts=[soft_prompt(length, decoder.hidden_size, seed + length)],
        )
        for length in LENGTHS
    ]


def token_ids(generations: list[Generation]) -> list[tuple[int, ...]]:
    return [generation.token_ids for generation in generations]


def save_random_adapter(folder: Path, seed: int, *, scale: float = 0.5) -> Path:
    """Write an adapter for the default tiny Llama whose matrices are random, so that it changes every answer."""
    decoder = tiny_decoder()
    model = attach_adapter(decoder, LoraOptions(r=4, alpha=8))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * scale
    save_adapter(model, folder, decoder=decoder, template=DEFAULT_TEMPLATE)
    return folder


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_on_tokens_equals_plain_transformers_generate(make_engine: MakeEngine, architecture: str) -> None:
    decoder = tiny_decoder(tiny_model(architecture))
    prompts = token_prompts()
    generations = make_engine(decoder, batch_size=2).generate(prompts, GREEDY)
    for prompt, generation in zip(prompts, generations, strict=True):
        ids = prompt.pieces[0][None]
        plain = decoder.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=2
        )
        assert list(generation.token_ids) == plain[0, ids.shape[1] :].tolist()
        assert generation.num_prompt_tokens == ids.shape[1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_batched_equals_one_at_a_time(make_engine: MakeEngine, architecture: str) -> None:
    decoder = tiny_decoder(tiny_model(architecture))
    prompts = [*document_prompts(decoder), *token_prompts()]
    batched = make_engine(decoder, batch_size=10).generate(prompts, GREEDY)
    single = make_engine(decoder, batch_size=1).generate(prompts, GREEDY)
    assert batched == single
    assert len(set(token_ids(batched))) > 5


def test_embeds_of_tokens_generate_what_the_tokens_generate(make_engine: MakeEngine) -> None:
    decoder = tiny_decoder()
    prompts = token_prompts()
    as_embeds = [Prompt((decoder.embed(prompt.pieces[0]).detach(),)) for prompt in prompts]
    engine = make_engine(decoder)
    assert engine.generate(as_embeds, GREEDY) == engine.generate(prompts, GREEDY)


def test_greedy_ignores_the_checkpoints_sampling_settings_and_leaves_them_alone(make_engine: MakeEngine) -> None:
    prompts = token_prompts()
    wanted = make_engine().generate(prompts, GREEDY)
    decoder = tiny_decoder()
    sampling = GenerationConfig(
        do_sample=True, temperature=0.6, top_p=0.9, eos_token_id=1, repetition_penalty=1.5, min_new_tokens=11
    )
    decoder.model.generation_config = sampling
    assert make_engine(decoder).generate(prompts, GREEDY) == wanted
    assert decoder.model.generation_config is sampling


def test_eos_ends_an_answer_without_a_pad_token_and_is_its_last_token(make_engine: MakeEngine) -> None:
    decoder = tiny_decoder(tokenizer=tiny_tokenizer(has_pad=False))
    prompts = token_prompts()
    free = make_engine(decoder).generate(prompts, GREEDY)
    assert {generation.finish_reason for generation in free} == {"length"}
    end = free[1].token_ids[4]
    decoder.model.generation_config.eos_token_id = [1, end]
    ended = make_engine(decoder).generate(prompts, GREEDY)
    for before, after in zip(free, ended, strict=True):
        cut = before.token_ids.index(end) + 1 if end in before.token_ids else None
        assert after.token_ids == before.token_ids[:cut]
        assert after.finish_reason == ("length" if cut is None else "stop")
    assert ended[1].finish_reason == "stop"
    assert len(ended[1].token_ids) <= 5


def test_stop_strings_end_each_row_by_itself_and_are_cut_off(make_engine: MakeEngine) -> None:
    decoder = tiny_decoder()
    engine = make_engine(decoder)
    prompts = token_prompts()
    free = engine.generate(prompts, GREEDY)
    stop = decoder.require_tokenizer().decode(free[0].token_ids[3:5])
    assert stop.isascii(), "the seed must give a printable stop string"
    stopped = engine.generate(prompts, replace(GREEDY, stop=(stop, "never written")))
    for before, after in zip(free, stopped, strict=True):
        assert after.text == before.text.split(stop)[0]
        assert after.finish_reason == ("stop" if stop in before.text else "length")
        assert after.token_ids == before.token_ids[: len(after.token_ids)]
    assert len(stopped[0].token_ids) <= 5


def test_two_adapters_and_the_base_in_one_batch_equal_each_alone(make_engine: MakeEngine, tmp_path: Path) -> None:
    prompts = document_prompts(tiny_decoder())
    base = make_engine().generate(prompts, GREEDY)
    engine = make_engine(batch_size=15)
    engine.add_adapter("contracts.v1", save_random_adapter(tmp_path / "a", seed=1))
    engine.add_adapter("lora_stories", save_random_adapter(tmp_path / "b", seed=2))
    alone = {
        name: [engine.generate([prompt], GREEDY, adapters=[name])[0] for prompt in prompts]
        for name in ("contracts.v1", "lora_stories")
    }
    names = [None, "contracts.v1", "lora_stories"] * len(prompts)
    mixed = engine.generate([prompt for prompt in prompts for _ in range(3)], GREEDY, adapters=names)
    assert mixed[0::3] == base
    assert mixed[1::3] == alone["contracts.v1"]
    assert mixed[2::3] == alone["lora_stories"]
    assert engine.generate(prompts, GREEDY) == base
    assert base != alone["contracts.v1"] != alone["lora_stories"] != base


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_an_adapter_generates_what_peft_generates(make_engine: MakeEngine, tmp_path: Path) -> None:
    folder = save_random_adapter(tmp_path / "a", seed=1)
    engine = make_engine()
    engine.add_adapter("a", folder)
    prompts = token_prompts()
    generations = engine.generate(prompts, GREEDY, adapters=["a"] * len(prompts))
    model = PeftModel.from_pretrained(tiny_llama(), str(folder)).eval()
    for prompt, generation in zip(prompts, generations, strict=True):
        ids = prompt.pieces[0][None]
        plain = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=2
        )
        assert list(generation.token_ids) == plain[0, ids.shape[1] :].tolist()


def test_an_adapter_under_training_can_be_asked_by_name(make_engine: MakeEngine) -> None:
    decoder = tiny_decoder()
    prompts = token_prompts()
    base = make_engine().generate(prompts, GREEDY)
    model = attach_adapter(decoder, LoraOptions(dropout=0.5))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(3))
    model.train()
    engine = make_engine(replace(decoder, model=model))
    first = engine.generate(prompts, GREEDY, adapters=["default"] * len(prompts))
    assert first == engine.generate(prompts, GREEDY, adapters=["default"] * len(prompts))
    assert first != base == engine.generate(prompts, GREEDY)
    assert model.training


def test_the_base_model_alone_answers_though_another_engine_put_an_adapter_into_it(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    decoder = tiny_decoder()
    prompts = token_prompts()
    early = make_engine(decoder)
    base = early.generate(prompts, GREEDY)
    other = make_engine(decoder)
    other.add_adapter("a", save_random_adapter(tmp_path / "a", seed=1))
    adapted = other.generate(prompts, GREEDY, adapters=["a"] * len(prompts))
    assert early.generate(prompts, GREEDY) == make_engine(decoder).generate(prompts, GREEDY) == base != adapted
    assert other.generate(prompts, GREEDY, adapters=["a"] * len(prompts)) == adapted
    with pytest.raises(LlocoError, match="carries an adapter already"):
        early.add_adapter("a", tmp_path / "a")


def test_an_engine_on_another_engines_decoder_takes_adapters_of_its_own(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    first = make_engine()
    first.add_adapter("a", save_random_adapter(tmp_path / "a", seed=1))
    second = make_engine(first.decoder)
    second.add_adapter("b", save_random_adapter(tmp_path / "b", seed=2))
    prompts = token_prompts()
    alone = make_engine()
    alone.add_adapter("b", tmp_path / "b")
    names = ["b"] * len(prompts)
    assert second.generate(prompts, GREEDY, adapters=names) == alone.generate(prompts, GREEDY, adapters=names)


def test_the_same_adapter_is_loaded_once_and_a_name_never_changes_its_meaning(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine()
    folder = save_random_adapter(tmp_path / "a", seed=1)
    for name in ("a", "a", "again"):
        engine.add_adapter(name, folder)
    assert len(engine.decoder.model.peft_config) == 1
    prompts = token_prompts()
    by_name = [engine.generate(prompts, GREEDY, adapters=[name] * len(prompts)) for name in ("a", "again")]
    assert by_name[0] == by_name[1]
    with pytest.raises(LlocoError, match="'a' stands for another adapter"):
        engine.add_adapter("a", save_random_adapter(tmp_path / "b", seed=2))


def test_a_seed_makes_sampling_repeatable_whoever_shares_the_batch(make_engine: MakeEngine) -> None:
    engine = make_engine()
    prompts = token_prompts()
    sampling = SamplingParams(max_tokens=12, temperature=1.5, top_p=0.95, seed=3)
    torch.manual_seed(0)
    together = engine.generate(prompts, sampling)
    random_number = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), random_number), "the process's random numbers were used up"
    assert together == [engine.generate([prompt], sampling)[0] for prompt in prompts]
    assert together != engine.generate(prompts, replace(sampling, seed=4))
    assert together != engine.generate(prompts, GREEDY)


def test_sampling_without_a_seed_varies(make_engine: MakeEngine) -> None:
    engine = make_engine()
    sampling = SamplingParams(max_tokens=12, temperature=2.0)
    assert engine.generate(token_prompts(), sampling) != engine.generate(token_prompts(), sampling)


def test_a_tiny_top_p_is_greedy(make_engine: MakeEngine) -> None:
    engine = make_engine()
    sampling = SamplingParams(max_tokens=12, temperature=1.0, top_p=1e-6, seed=0)
    assert engine.generate(token_prompts(), sampling) == engine.generate(token_prompts(), GREEDY)


def test_a_prompt_that_does_not_fit_is_refused_not_cut(make_engine: MakeEngine) -> None:
    engine = make_engine(tiny_decoder(tiny_llama(max_position_embeddings=32)))
    assert len(engine.generate(token_prompts((20,)), GREEDY)) == 1
    with pytest.raises(LlocoError, match=r"prompt 1 has 21 tokens .* 12, tiny reads 32"):
        engine.generate(token_prompts((5, 21)), GREEDY)


def test_a_decoder_without_a_tokenizer_gives_tokens_and_refuses_stop_strings(make_engine: MakeEngine) -> None:
    engine = make_engine(tiny_decoder(has_tokenizer=False))
    generations = engine.generate(token_prompts(), GREEDY)
    assert token_ids(generations) == token_ids(make_engine().generate(token_prompts(), GREEDY))
    assert {generation.text for generation in generations} == {""}
    with pytest.raises(CheckpointError, match="tokenizer"):
        engine.generate(token_prompts(), replace(GREEDY, stop=("x",)))


def test_soft_prompts_of_another_width_and_unknown_adapters_are_refused(make_engine: MakeEngine) -> None:
    engine = make_engine()
    with pytest.raises(MismatchError, match=r"40 wide, .* 48 wide"):
        engine.generate([Prompt((soft_prompt(3, 40),))], GREEDY)
    with pytest.raises(LlocoError, match="no adapter is named 'a' \\(there are: none\\)"):
        engine.generate(token_prompts((3,)), GREEDY, adapters=["a"])
    with pytest.raises(LlocoError, match="got 2 for 1"):
        engine.generate(token_prompts((3,)), GREEDY, adapters=[None, None])
    assert engine.generate([], GREEDY) == []


def test_calls_from_many_threads_get_their_own_answers(make_engine: MakeEngine) -> None:
    prompts = [Prompt((torch.arange(4 + index, 10 + index * 2),)) for index in range(64)]
    engine = make_engine(batch_size=8)
    together = engine.generate(prompts, GREEDY)
    with ThreadPoolExecutor(16) as threads:
        calls = [threads.submit(engine.generate, [prompt], GREEDY) for prompt in prompts]
    assert [call.result()[0] for call in calls] == together
    assert len(set(token_ids(together))) > 30


def test_a_batch_of_no_rows_is_refused(make_engine: MakeEngine) -> None:
    with pytest.raises(LlocoError, match="batch_size is 0"):
        make_engine(batch_size=0)


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.1}, {"stop": ("",)}, {"seed": -1}]
)
def test_impossible_sampling_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(LlocoError):
        SamplingParams(**wrong)  # type: ignore[arg-type]
