"""The bundled model has learned: it answers from soft prompts of documents and entities that it never saw."""

import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from lloco.compressors.load import BUNDLED_FOLDER, load_compressor
from lloco.documents import Document
from lloco.engine.transformers_engine import TransformersEngine
from lloco.evals.predict import PredictOptions, predict
from lloco.evals.sample import Sample
from lloco.evals.scorer import score

sys.path.insert(0, str(Path(__file__).parent.parent / "recipes" / "records"))
from generate import TRAIN_DOMAINS, make_documents

MAX_BUNDLED_BYTES = 20 << 20


def held_out_samples() -> list[Sample]:
    """Two questions about each of 60 documents of known domains, whose entities are in no training data."""
    documents = list(make_documents(TRAIN_DOMAINS, "test", 77, 60, (1, 3)))
    return [
        Sample(
            id=f"{line['id']}-{place}",
            task="jsonl",
            question=pair["question"],
            document=Document(id=line["id"], text=line["text"]),
            references=tuple(pair["answers"]),
        )
        for line in documents
        for place, pair in enumerate(line["questions"][:2])
    ]


@pytest.mark.slow
def test_soft_prompts_answer_held_out_questions_far_better_than_no_context() -> None:
    compressor = load_compressor(device="cpu")
    samples = held_out_samples()
    engine = TransformersEngine(compressor.decoder, batch_size=32)

    def exact_match(mode: str) -> float:
        options = PredictOptions(mode=mode, max_tokens=16, batch_size=32)
        predictions = predict(samples, engine, None, options, soft_prompt_of=lambda one: compressor.compress(one))
        return score("jsonl", samples, {one.id: one.text for one in predictions}).metrics["exact_match"]

    assert exact_match("compressed") > exact_match("none") + 40


def test_the_bundled_model_is_small_and_loads_in_stock_transformers() -> None:
    assert sum(file.stat().st_size for file in BUNDLED_FOLDER.iterdir()) <= MAX_BUNDLED_BYTES
    model = AutoModelForCausalLM.from_pretrained(BUNDLED_FOLDER)
    assert model.config.model_type == "llama"
    assert model.config.summary_length == load_compressor(device="cpu").summary_length
