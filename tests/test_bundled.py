"""The bundled models have learned: they answer from soft prompts of documents and entities that they never saw."""

import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from lloco.compressors.compressor import CompressOptions, Compressor, compress_documents
from lloco.compressors.load import load_compressor, named_folder
from lloco.documents.document import Document
from lloco.engine.transformers_engine import TransformersEngine
from lloco.evals.predict import PredictOptions, predict
from lloco.evals.scorer import score
from lloco.tasks.sample import Sample

sys.path.insert(0, str(Path(__file__).parent.parent / "recipes" / "records"))
from generate import TRAIN_DOMAINS, make_documents

MAX_BUNDLED_BYTES = 20 << 20
NAMES = ("records", "bundled-autocompressor")


def held_out_samples() -> list[Sample]:
    """Two questions about each of 60 documents of known domains, whose entities are in no training data."""
    documents = list(make_documents(TRAIN_DOMAINS, "test", 77, 60, (1, 3)))
    return [
        Sample(
            id=f"{line['id']}-{index}",
            task="jsonl",
            question=pair["question"],
            document=Document(id=line["id"], text=line["text"]),
            references=tuple(pair["answers"]),
        )
        for line in documents
        for index, pair in enumerate(line["questions"][:2])
    ]


def exact_match(compressor: Compressor, samples: list[Sample], mode: str, segment_len: int | None = None) -> float:
    options = PredictOptions(mode=mode, max_tokens=16, batch_size=32)
    chosen = CompressOptions(segment_len=segment_len)
    predictions = predict(
        samples,
        TransformersEngine(compressor.decoder, batch_size=32),
        None,
        options,
        soft_prompt_of=lambda value: next(compress_documents(compressor, [value], chosen)),
    )
    return score("jsonl", samples, {prediction.id: prediction.text for prediction in predictions}).metrics[
        "exact_match"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_soft_prompts_answer_held_out_questions_far_better_than_no_context(name: str) -> None:
    compressor, samples = load_compressor(name, device="cpu"), held_out_samples()
    nothing = exact_match(compressor, samples, "none")
    assert exact_match(compressor, samples, "compressed") > nothing + 40


@pytest.mark.slow
def test_fewer_vectors_answer_less_and_still_far_more_than_none() -> None:
    compressor, samples = load_compressor(device="cpu"), held_out_samples()
    by_ratio = [exact_match(compressor, samples, "compressed", length) for length in sorted(compressor.segment_lens)]
    assert len(by_ratio) == 4 and by_ratio[0] > by_ratio[-1] > exact_match(compressor, samples, "none") + 10


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_model_is_small_and_loads_in_stock_transformers(name: str) -> None:
    folder = named_folder(name)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= MAX_BUNDLED_BYTES
    model, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert model.config.model_type == "llama" and not loading["missing_keys"]
    assert model.config.summary_length == load_compressor(name, device="cpu").summary_length
