"""Which prompts share what stands before their questions, and what an engine keeps of that."""

import pytest
import torch
from torch import Tensor

from lloco.adapters.base_model import BASE_ADAPTER
from lloco.engine.decode_batch import DecodeBatch
from lloco.engine.last_prefix import LastPrefix, num_shared
from lloco.prompts.prompt import Prompt
from tests.test_engine_contract import soft_prompt
from tests.tiny import tiny_decoder

WORDING = torch.tensor([4, 5])
TEXT = torch.arange(10, 60)


def asked(*context: Tensor, length: int = 3) -> Prompt:
    """A prompt about a context, with a question of some length."""
    return Prompt((WORDING, *context, torch.arange(100, 100 + length)))


@pytest.mark.parametrize("context", [TEXT, soft_prompt(50)])
def test_questions_about_one_document_share_all_that_stands_before_them(context: Tensor) -> None:
    assert num_shared(asked(context, length=9), asked(context.clone())) == 52


def test_a_document_that_was_cut_to_another_length_is_shared_as_far_as_both_go() -> None:
    assert num_shared(asked(TEXT), asked(TEXT[:45])) == 47
    assert num_shared(asked(TEXT[:45]), asked(TEXT)) == 47


def test_documents_that_only_open_alike_share_nothing() -> None:
    other = torch.cat([TEXT[:40], TEXT[:10]])
    assert num_shared(asked(other), asked(TEXT)) == 0
    assert num_shared(asked(soft_prompt(50)), asked(soft_prompt(50, seed=1))) == 0
    assert num_shared(asked(soft_prompt(50)), asked(TEXT)) == 0
    assert num_shared(asked(TEXT, TEXT + 50), asked(TEXT, TEXT + 51)) == 0
    assert num_shared(asked(TEXT), asked(TEXT[:20])) == 0, "less than half is not worth a read of its own"


def test_vectors_that_are_no_numbers_are_never_shared() -> None:
    broken = torch.full((50, 48), torch.nan)
    assert num_shared(asked(broken), asked(broken)) == 0


def test_questions_without_context_share_nothing() -> None:
    assert num_shared(Prompt((TEXT,)), Prompt((TEXT,))) == 0


def test_only_the_prefix_that_was_read_last_is_kept_for_its_adapter_and_tenant() -> None:
    decoder = tiny_decoder()
    last = LastPrefix()
    assert last.num_bytes == 0 and last.find("", asked(TEXT), BASE_ADAPTER) is None
    for context in (TEXT, TEXT + 1):
        batch, _ = DecodeBatch.read(decoder, [asked(context)], [BASE_ADAPTER])
        last.keep("", asked(context), BASE_ADAPTER, batch.prefix(0, 52))
        config = decoder.model.config
        assert last.num_bytes == 52 * 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
        found = last.find("", asked(context[:45]), BASE_ADAPTER)
        assert found is not None and found.length == 47
    assert last.find("", asked(TEXT), BASE_ADAPTER) is None
    assert last.find("a", asked(TEXT + 1), BASE_ADAPTER) is None
    assert last.find("", asked(TEXT + 1), "tales") is None
