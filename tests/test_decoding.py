"""Text is passed on when it is certain, and tokens are drawn as their probabilities say."""

import pytest
import torch

from lloco.engine.decoding import Decoding, next_token_ids
from lloco.engine.engine import SamplingParams
from lloco.prompts.prompt import Prompt
from tests.tiny import tiny_decoder

PROMPT = Prompt((torch.tensor([5]),))


def written(text: str, stop: tuple[str, ...] = ()) -> tuple[list[str], Decoding]:
    """Write a text token by token, a byte each; returns the pieces up to where it ends."""
    decoder = tiny_decoder()
    ids = decoder.require_tokenizer()(text, add_special_tokens=False)["input_ids"]
    decoding = Decoding(decoder, PROMPT, SamplingParams(max_tokens=len(ids), stop=stop))
    pieces = []
    for token_id in ids:
        if decoding.finish_reason is None:
            pieces.append(decoding.add(token_id))
    return pieces, decoding


@pytest.mark.parametrize("text", ["Zoë čte 日本語 🎉🏳️‍🌈 the end", "plain", "🎉", "a\ufffdb", "cut \ufffd"])
def test_pieces_are_whole_characters_and_make_up_the_text(text: str) -> None:
    pieces, decoding = written(text)
    assert "".join(pieces) == decoding.generation.text == text
    assert decoding.generation.finish_reason == "length"
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


def test_text_is_passed_on_as_soon_as_it_is_certain() -> None:
    assert written("xé🎉y")[0] == ["x", "", "é", "", "", "", "🎉", "y"]
    assert written("xSTSTOy", stop=("STOP",))[0] == ["x", "", "", "ST", "", "", "STOy"]


def test_a_stop_string_over_many_tokens_is_never_passed_on() -> None:
    pieces, decoding = written("yes STOP no", stop=("never", "STOP"))
    assert "".join(pieces) == decoding.generation.text == "yes "
    assert decoding.generation.finish_reason == "stop"
    assert len(decoding.token_ids) == len("yes STOP")


def test_the_first_of_overlapping_stop_strings_ends_the_answer() -> None:
    pieces, decoding = written("1 ab<>c", stop=("b<>c", "<>"))
    assert "".join(pieces) == decoding.generation.text == "1 ab"
    assert written("1 é|2", stop=("é|",))[1].generation.text == "1 "


def test_what_was_held_back_is_passed_on_in_the_end() -> None:
    pieces, decoding = written("a ST", stop=("STOP",))
    assert pieces == ["a", " ", "", "ST"]
    assert decoding.generation.text == "a ST"


def test_a_stop_string_of_a_million_characters_holds_up_nobody() -> None:
    assert written("xaaa", stop=("a" * 1_000_000,))[0] == ["x", "", "", "aaa"]


def test_cancelling_passes_on_what_was_held_back() -> None:
    decoder = tiny_decoder()
    ids = decoder.require_tokenizer()("aST", add_special_tokens=False)["input_ids"]
    decoding = Decoding(decoder, PROMPT, SamplingParams(max_tokens=9, stop=("STOP",)))
    pieces = [decoding.add(token_id) for token_id in ids]
    assert [*pieces, decoding.cancel()] == ["a", "", "", "ST"]
    assert decoding.generation.text == "aST"
    assert decoding.generation.finish_reason == "cancelled"


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1.0, 1.0, [0.5, 0.3, 0.15, 0.05]),
        (0.5, 1.0, [0.685, 0.247, 0.062, 0.007]),
        (1.0, 0.6, [0.625, 0.375, 0.0, 0.0]),
        (1.0, 0.4, [1.0, 0.0, 0.0, 0.0]),
        (1e-300, 1.0, [1.0, 0.0, 0.0, 0.0]),
        (1.0, 1e-46, [1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_tokens_are_drawn_as_temperature_and_top_p_say(temperature: float, top_p: float, expected: list[float]) -> None:
    sampling = SamplingParams(temperature=temperature, top_p=top_p, seed=1)
    decoding = Decoding(tiny_decoder(), PROMPT, sampling)
    # The likeliest token is neither the first nor the last one.
    logits = torch.tensor([0.05, 0.5, 0.15, 0.3]).log()[None] + 7.0
    draws = torch.tensor([next_token_ids([decoding], logits)[0] for _ in range(4000)])
    shares = [float((draws == token_id).float().mean()) for token_id in (1, 3, 2, 0)]
    assert shares == pytest.approx(expected, abs=0.03)
    assert [share == 0 for share in shares if share < 0.002] == [True] * expected.count(0.0)
