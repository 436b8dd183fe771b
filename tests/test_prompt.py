"""Layout, wording, padding and refusals of the one place that assembles model input."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from lloco.errors import DataError, LlocoError, MismatchError
from lloco.prompts.batch import collate
from lloco.prompts.prompt import History, Prompt, answer_ids, build_prompt
from lloco.prompts.template import DEFAULT_TEMPLATE, Kind, Template, default_template, fill
from tests.tiny import ARCHITECTURES, CHAT_TEMPLATE, tiny_decoder, tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer(chat_template=CHAT_TEMPLATE)
CHAT = replace(DEFAULT_TEMPLATE, use_chat_template=True, before_context="Read this:\n")


def ids_of(text: str) -> list[int]:
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


def tensor_of(text: str) -> Tensor:
    return torch.tensor(ids_of(text))


def as_text(prompt: Prompt) -> str:
    """Write token pieces as text and soft prompts as [number of virtual tokens]."""
    return "".join(f"[{len(piece)}]" if piece.ndim == 2 else TOKENIZER.decode(piece) for piece in prompt.pieces)


@dataclass
class NamingEmbedder:
    """Gives each token id an embedding 3 wide that names it."""

    dtype: torch.dtype = torch.float32
    hidden_size: int = 3

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def embed(self, ids: Tensor) -> Tensor:
        return ids[:, None] + torch.tensor([0.0, 0.25, 0.5])


def test_default_layout_is_context_newline_question_and_the_answer_apart() -> None:
    prompt = build_prompt(DEFAULT_TEMPLATE, TOKENIZER, "Who signs?", soft_prompts=[torch.ones(4, 8), torch.ones(2, 8)])
    assert as_text(prompt) == "[4][2]\nQuestion: Who signs?\nAnswer:"
    assert (prompt.num_virtual_tokens, prompt.num_context_tokens) == (6, 0)
    assert prompt.length == 6 + len(ids_of("\nQuestion: Who signs?\nAnswer:"))
    answer = answer_ids(DEFAULT_TEMPLATE, TOKENIZER, "the mayor")
    assert answer.tolist() == [*ids_of(" the mayor"), TOKENIZER.eos_token_id]


def test_history_stands_between_context_and_question_in_the_templates_own_wording() -> None:
    template = replace(DEFAULT_TEMPLATE, question="Q {question} A", answer="=> {answer}")
    history = History("Be {brief}.", (("Who?", "Ada"), ("{question}", "")))
    prompt = build_prompt(template, TOKENIZER, "When?", soft_prompts=[torch.ones(4, 8)], history=history)
    assert as_text(prompt) == "[4]\nBe {brief}.\nQ Who? A=> Ada\nQ {question} A=> \nQ When? A"


CHAT_HISTORY = History("Be {brief}.", (("Who?", "Ada"), ("Really?", ""), ("{question}", "Yes")))


def test_history_is_turns_of_the_chat_with_the_context_in_the_first() -> None:
    template = replace(CHAT, system="Answer.", question="Q {question}", answer="{answer}")
    prompt = build_prompt(template, TOKENIZER, "When?", soft_prompts=[torch.ones(4, 8)], history=CHAT_HISTORY)
    assert as_text(prompt) == (
        "<s><system>\nAnswer.\nBe {brief}.<end_of_turn>\n"
        "<user>\nRead this:\n[4]\nQ Who?<end_of_turn>\n<assistant>\nAda<end_of_turn>\n"
        "<user>\nQ Really?\nQ {question}<end_of_turn>\n<assistant>\nYes<end_of_turn>\n"
        "<user>\nQ When?<end_of_turn>\n<model>\n"
    )
    alone = build_prompt(template, TOKENIZER, "When?", history=History("", CHAT_HISTORY.turns[:1]))
    assert as_text(alone) == (
        "<s><system>\nAnswer.<end_of_turn>\n<user>\nQ Who?<end_of_turn>\n<assistant>\nAda<end_of_turn>\n"
        "<user>\nQ When?<end_of_turn>\n<model>\n"
    )


def test_without_a_system_turn_of_its_own_the_chat_has_the_instructions_as_one() -> None:
    alone = build_prompt(CHAT, TOKENIZER, "When?", history=History("Be brief."))
    assert as_text(alone) == (
        "<s><system>\nBe brief.<end_of_turn>\n<user>\nQuestion: When?\nAnswer:<end_of_turn>\n<model>\n"
    )


NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
DROPS_SYSTEM = CHAT_TEMPLATE.replace("in messages %}", "in messages if message['role'] != 'system' %}")


@pytest.mark.parametrize("chat_template", [NO_SYSTEM + CHAT_TEMPLATE, DROPS_SYSTEM])
def test_a_system_turn_that_the_chat_template_does_not_take_begins_the_users(chat_template: str) -> None:
    template = replace(CHAT, system="Answer.", question="Q {question}")
    tokenizer = tiny_tokenizer(chat_template=chat_template)
    prompt = build_prompt(template, tokenizer, "When?", soft_prompts=[torch.ones(4, 8)])
    assert as_text(prompt) == "<s><user>\nAnswer.\n\nRead this:\n[4]\nQ When?<end_of_turn>\n<model>\n"


def test_the_default_wording_is_in_chat_form_where_the_tokenizer_has_a_chat_template() -> None:
    plain, named = tiny_tokenizer(), tiny_tokenizer()
    named.chat_template = {"tool_use": CHAT_TEMPLATE}  # type: ignore[assignment]
    wordings: dict[Kind, tuple[str, str]] = {
        "short answer": ("short_answer", "default"),
        "multiple choice": ("chat_multiple_choice", "multiple_choice"),
        "summary": ("chat_summarize", "summarize"),
    }
    for kind, (chat, other) in wordings.items():
        assert default_template(TOKENIZER, kind) == Template.packaged(chat)
        assert default_template(plain, kind) == default_template(named, kind) == Template.packaged(other)
        options = ["a", "b"] if kind == "multiple choice" else []
        build_prompt(default_template(TOKENIZER, kind), TOKENIZER, "Which?", options=options)
    named.chat_template = {"default": CHAT_TEMPLATE}  # type: ignore[assignment]
    assert default_template(named, "summary").use_chat_template


def test_context_as_text_stands_where_vectors_stand_after_them() -> None:
    context = tensor_of("Long ago.")
    prompt = build_prompt(DEFAULT_TEMPLATE, TOKENIZER, "When?", soft_prompts=[torch.ones(4, 8)], context_ids=context)
    assert as_text(prompt) == "[4]Long ago.\nQuestion: When?\nAnswer:"
    assert (prompt.num_virtual_tokens, prompt.num_context_tokens) == (4, len(context))


@pytest.mark.parametrize("context_ids", [None, torch.zeros(0, dtype=torch.int64)])
def test_without_context_only_the_question_is_read(context_ids: Tensor | None) -> None:
    template = replace(DEFAULT_TEMPLATE, before_context="Read this: ")
    prompt = build_prompt(template, TOKENIZER, "When?", context_ids=context_ids)
    assert as_text(prompt) == "Question: When?\nAnswer:"
    assert prompt.num_context_tokens == 0


def test_bos_is_added_only_where_the_template_says_so() -> None:
    template = replace(DEFAULT_TEMPLATE, add_bos=True)
    soft_prompt = torch.ones(2, 8)
    assert as_text(build_prompt(template, TOKENIZER, "?", soft_prompts=[soft_prompt])).startswith("<s>[2]\n")
    assert as_text(build_prompt(template, TOKENIZER, "?")).startswith("<s>Question")
    assert "<s>" not in as_text(build_prompt(DEFAULT_TEMPLATE, TOKENIZER, "?"))
    chat = build_prompt(replace(CHAT, add_bos=True), TOKENIZER, "?")
    assert as_text(chat).startswith("<s><user>"), "the chat template's BOS must not be doubled"
    without_bos = tiny_tokenizer()
    without_bos.bos_token = None
    with pytest.raises(LlocoError, match="no BOS token: set add_bos to false"):
        build_prompt(template, without_bos, "?")


def test_chat_layout_puts_vectors_inside_the_user_turn() -> None:
    prompt = build_prompt(CHAT, TOKENIZER, "Who?", soft_prompts=[torch.ones(4, 8)])
    assert as_text(prompt) == "<s><user>\nRead this:\n[4]\nQuestion: Who?\nAnswer:<end_of_turn>\n<model>\n"
    assert prompt.pieces[0][0] == TOKENIZER.bos_token_id


def test_chat_layout_with_text_is_the_chat_template_over_the_whole_text() -> None:
    prompt = build_prompt(CHAT, TOKENIZER, "Who?", context_ids=tensor_of("Long ago."))
    turn = "Read this:\nLong ago.\nQuestion: Who?\nAnswer:"
    rendered = TOKENIZER.apply_chat_template(
        [{"role": "user", "content": turn}], tokenize=False, add_generation_prompt=True
    )
    assert torch.cat(prompt.pieces).tolist() == ids_of(rendered)
    alone = build_prompt(CHAT, TOKENIZER, "Who?")
    assert as_text(alone) == "<s><user>\nQuestion: Who?\nAnswer:<end_of_turn>\n<model>\n"


def test_no_question_can_be_taken_for_the_place_of_the_context() -> None:
    question = "LLOCO-CONTEXT or LLOCO-CONTEXTX?"
    prompt = build_prompt(CHAT, TOKENIZER, question, soft_prompts=[torch.ones(4, 8)])
    assert as_text(prompt).count("[4]") == 1
    assert f"[4]\nQuestion: {question}\nAnswer:" in as_text(prompt)


def test_a_chat_template_that_is_missing_or_drops_the_text_is_refused() -> None:
    soft_prompts = [torch.ones(4, 8)]
    with pytest.raises(LlocoError, match="template 'default' asks for a chat template"):
        build_prompt(CHAT, tiny_tokenizer(), "Who?", soft_prompts=soft_prompts)
    with pytest.raises(LlocoError, match="shows it 0 times"):
        build_prompt(CHAT, tiny_tokenizer(chat_template="hello"), "Who?", soft_prompts=soft_prompts)
    with pytest.raises(LlocoError, match="roles must alternate"):
        refusing = tiny_tokenizer(chat_template="{{ raise_exception('roles must alternate') }}")
        build_prompt(CHAT, refusing, "Who?", soft_prompts=soft_prompts)


def test_options_are_lettered_lines_and_braces_in_values_stay() -> None:
    template = Template.packaged("multiple_choice")
    prompt = build_prompt(template, TOKENIZER, "Which {options}?", options=["{question}", "b {x}", "c"])
    assert as_text(prompt) == (
        "Question: Which {options}?\n(A) {question}\n(B) b {x}\n(C) c\n"
        "Answer with the letter of the right option.\nAnswer:"
    )
    assert fill("{answer}", {"answer": "{answer}"}) == "{answer}"


def test_options_without_a_place_and_a_place_without_options_are_refused() -> None:
    with pytest.raises(LlocoError, match=r"'default' has no place for \{options\}, got 2 options"):
        build_prompt(DEFAULT_TEMPLATE, TOKENIZER, "Which?", options=["a", "b"])
    with pytest.raises(LlocoError, match="'multiple_choice' needs options, got no options"):
        build_prompt(Template.packaged("multiple_choice"), TOKENIZER, "Which?")
    with pytest.raises(LlocoError, match="at most 26"):
        build_prompt(Template.packaged("multiple_choice"), TOKENIZER, "Which?", options=["x"] * 27)


def test_a_template_survives_its_file_byte_for_byte(tmp_path: Path) -> None:
    template = Template(
        name="odd",
        before_context='  "{}\r\n\t\u2028é\U0001f999',
        after_context="",
        question="{question} {x}\\n\n\n",
        answer="\n{answer} ",
        use_chat_template=True,
        add_bos=True,
        stop=("\n\n", "END"),
    )
    template.save(tmp_path / "template.json")
    assert Template.load(tmp_path / "template.json") == template
    assert Template.load(tmp_path) == template, "an adapter folder stands for its template"
    again = Template.load(tmp_path)
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "template.json").read_bytes()


def test_packaged_templates_load_and_the_default_is_the_default() -> None:
    assert Template.packaged("default") == DEFAULT_TEMPLATE
    published = ("lloco_hotpotqa", "lloco_narrativeqa", "lloco_qasper", "lloco_qmsum", "lloco_quality")
    names = (
        "chat_multiple_choice",
        "chat_summarize",
        "default",
        "icae",
        *published,
        "multiple_choice",
        "short_answer",
        "summarize",
    )
    for name in names:
        assert Template.packaged(name).name == name
    with pytest.raises(DataError, match=f"'x': use {', '.join(names)}"):
        Template.packaged("x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qestion": "x"}, "unknown key 'qestion'"),
        ({"answer": None}, "answer must be a str"),
        ({"stop": "x"}, "stop must be a list"),
        ({"stop": [1]}, "stop must be a list"),
        ({"stop": [""]}, "empty stop string"),
        ({"add_bos": 1}, "add_bos must be a bool"),
        ({"question": "no place"}, "question must hold {question}"),
        ({"answer": "{answer}{answer}"}, "once"),
        ({"answer": "{question} {answer}"}, "{question} cannot stand in answer"),
        ({"before_context": "{options}"}, "{options} cannot stand in before_context"),
    ],
)
def test_a_wrong_template_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = tmp_path / "t.json"
    file.write_text(json.dumps({**json.loads(DEFAULT_TEMPLATE.to_json()), **change}))
    with pytest.raises(DataError) as refusal:
        Template.load(file)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "JSON"), ("[]", "object"), ('{"name": "x"}', "lacks before_context")]
)
def test_a_file_that_is_no_template_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(DataError, match=message):
        Template.load(tmp_path / "t.json")
    with pytest.raises(DataError, match="cannot be read"):
        Template.load(tmp_path / "missing.json")


def test_reading_an_answer_undoes_its_wording() -> None:
    assert DEFAULT_TEMPLATE.read_answer(" the mayor ") == "the mayor "
    assert DEFAULT_TEMPLATE.read_answer("A") == "A"
    assert replace(DEFAULT_TEMPLATE, answer="<{answer}>").read_answer("<A>") == "A"


def test_left_padding_for_generation() -> None:
    prompts = [Prompt((torch.tensor([5]), torch.ones(2, 3))), Prompt((torch.tensor([6, 7, 8, 9]),))]
    batch = collate(prompts, NamingEmbedder(), padding_side="left")
    assert batch.inputs_embeds[0].tolist() == [[0, 0, 0], [5, 5.25, 5.5], [1, 1, 1], [1, 1, 1]]
    assert torch.equal(batch.inputs_embeds[1], NamingEmbedder().embed(torch.tensor([6, 7, 8, 9])))
    assert batch.attention_mask.tolist() == [[0, 1, 1, 1], [1, 1, 1, 1]]
    assert batch.position_ids.tolist() == [[0, 0, 1, 2], [0, 1, 2, 3]]
    assert batch.labels is None


def test_right_padding_for_training_with_the_answer_as_only_target() -> None:
    prompts = [Prompt((torch.ones(1, 3), torch.tensor([5]))), Prompt((torch.tensor([6, 7]),))]
    batch = collate(prompts, NamingEmbedder(), padding_side="right", targets=[torch.tensor([8, 1]), torch.tensor([1])])
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch.position_ids.tolist()[0] == [0, 1, 2, 3]
    assert batch.position_ids.tolist()[1][:3] == [0, 1, 2]
    assert batch.labels is not None
    assert batch.labels.tolist() == [[-100, -100, 8, 1], [-100, -100, 1, -100]]
    assert batch.inputs_embeds[1].tolist() == [[6, 6.25, 6.5], [7, 7.25, 7.5], [1, 1.25, 1.5], [0, 0, 0]]


def test_embeds_are_cast_and_gradients_reach_the_soft_prompt() -> None:
    soft_prompt = torch.ones(2, 3, requires_grad=True)
    batch = collate([Prompt((soft_prompt, torch.tensor([5])))], NamingEmbedder(torch.bfloat16), padding_side="left")
    assert batch.inputs_embeds.dtype == torch.bfloat16
    batch.inputs_embeds.float().sum().backward()
    assert torch.equal(soft_prompt.grad, torch.ones(2, 3))  # type: ignore[arg-type]


def test_a_soft_prompt_of_another_width_or_with_nan_is_refused() -> None:
    with pytest.raises(MismatchError, match="4 wide, the decoder reads embeddings 3 wide"):
        collate([Prompt((torch.ones(2, 4),))], NamingEmbedder(), padding_side="left")
    for wrong in (float("nan"), float("inf")):
        broken = torch.ones(2, 3)
        broken[1, 2] = wrong
        with pytest.raises(MismatchError, match="2 virtual tokens holds NaN or infinity"):
            collate([Prompt((torch.tensor([1]), broken))], NamingEmbedder(), padding_side="left")


def test_empty_and_misshapen_prompts_are_refused() -> None:
    with pytest.raises(LlocoError, match="the prompt is empty"):
        build_prompt(replace(DEFAULT_TEMPLATE, question="{question}"), TOKENIZER, "")
    with pytest.raises(LlocoError, match="got 0: compress"):
        build_prompt(DEFAULT_TEMPLATE, TOKENIZER, "?", soft_prompts=[torch.ones(0, 8)])
    for piece in (torch.ones(1, 2, 3), torch.ones(4), torch.ones(2, 3, dtype=torch.int64)):
        with pytest.raises(LlocoError, match="without a batch dimension"):
            build_prompt(DEFAULT_TEMPLATE, TOKENIZER, "?", soft_prompts=[piece])
    with pytest.raises(LlocoError, match="0 prompts and no targets"):
        collate([], NamingEmbedder(), padding_side="left")
    with pytest.raises(LlocoError, match="1 prompts and 2 targets"):
        collate([Prompt((torch.tensor([1]),))], NamingEmbedder(), padding_side="right", targets=[torch.tensor([1])] * 2)


def test_training_on_a_tokenizer_without_eos_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(LlocoError, match="needs an EOS token"):
        answer_ids(DEFAULT_TEMPLATE, tokenizer, "x")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_row_gives_the_logits_of_the_row_alone(architecture: str, side: Literal["left", "right"]) -> None:
    decoder = tiny_decoder(tiny_model(architecture))
    generator = torch.Generator().manual_seed(0)
    prompts = [
        Prompt(
            (torch.randn(length, 48, generator=generator), torch.randint(4, 266, (length + 3,), generator=generator))
        )
        for length in (1, 12, 5)
    ]
    batch = collate(prompts, decoder, padding_side=side)
    with torch.no_grad():
        logits = decoder.model(
            inputs_embeds=batch.inputs_embeds, attention_mask=batch.attention_mask, position_ids=batch.position_ids
        ).logits
        for row, prompt in enumerate(prompts):
            alone = torch.cat([prompt.pieces[0], decoder.embed(prompt.pieces[1])])[None]
            wanted = decoder.model(inputs_embeds=alone).logits[0]
            torch.testing.assert_close(logits[row][batch.attention_mask[row].bool()], wanted, atol=1e-4, rtol=1e-4)
