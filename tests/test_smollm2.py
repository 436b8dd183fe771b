"""The default model: it reads ordinary English, from the text and from vectors."""

import json
from pathlib import Path

import pytest

from lloco.compressors.compressor import compress_documents
from lloco.compressors.load import AnyCompressor, load_compressor
from lloco.engine.streaming import embedded_engine
from lloco.evals.predict import PredictOptions, predict
from lloco.evals.scorer import score
from lloco.models.named import SMOLLM2_FOLDER, is_smollm2_installed
from lloco.tasks.sample import Sample
from lloco.tasks.task import load_samples

ROOT = Path(__file__).parent.parent
OFFICE = ROOT / "recipes" / "office" / "office.jsonl"
MAX_DELTA_BYTES = 40_000_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_smollm2_installed(), reason="the wheel of smollm2 could not be installed"),
]


@pytest.fixture(scope="module")
def smollm2() -> AnyCompressor:
    return load_compressor("smollm2", device="cpu")


def answer_f1(compressor: AnyCompressor, samples: list[Sample], mode: str) -> float:
    predictions = predict(
        samples,
        embedded_engine(compressor.decoder, 10),
        None,
        PredictOptions(mode=mode, max_tokens=16, batch_size=10),
        soft_prompt_of=lambda document: next(compress_documents(compressor, [document])),
    )
    return score("jsonl", samples, {prediction.id: prediction.text for prediction in predictions}).metrics["answer_f1"]


def test_it_answers_about_office_documents_from_the_text_and_from_vectors(smollm2: AnyCompressor) -> None:
    samples = load_samples("jsonl", OFFICE)
    full, compressed, nothing = (answer_f1(smollm2, samples, mode) for mode in ("full", "compressed", "none"))
    # The first version shipped with 71, 35 and 4; its card says that 60 % of full text is the aim.
    assert full >= 60
    assert compressed >= 0.4 * full
    assert compressed >= nothing + 20


def test_the_delta_is_small_and_the_office_documents_are_short() -> None:
    assert sum(file.stat().st_size for file in SMOLLM2_FOLDER.iterdir()) <= MAX_DELTA_BYTES
    lines = [json.loads(line) for line in OFFICE.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 12 and sum(len(line["questions"]) for line in lines) == 60
    assert all(any(answer in line["text"] for answer in pair["answers"] if answer) or pair["answers"]
               for line in lines for pair in line["questions"])  # fmt: skip
