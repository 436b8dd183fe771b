"""Rows beyond the positions that a model declares: as the public code reads them, said once, or as the user says."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from lloco.answer.ask import ask
from lloco.answer.budget import Room
from lloco.compression.plan import plan_documents, segment_len_for
from lloco.compression.run import compress_into
from lloco.compressors.autocompressor import AutoCompressor, load_autocompressor
from lloco.compressors.compressor import CompressOptions
from lloco.compressors.load import load_compressor
from lloco.documents.document import Document
from lloco.engine.decoding import Decoding
from lloco.engine.engine import SamplingParams
from lloco.engine.transformers_engine import TransformersEngine
from lloco.errors import CheckpointError, DataError, DocumentError, LlocoError
from lloco.evals.predict import PredictOptions, predict
from lloco.models.decoder import Decoder, load_decoder, with_max_positions
from lloco.prompts.prompt import Prompt
from lloco.prompts.template import DEFAULT_TEMPLATE
from lloco.server.engines import EngineOptions, Engines
from lloco.store.store import Store
from lloco.tasks.sample import Sample
from lloco.training.finetune.example import Example
from lloco.training.finetune.examples import SoftPrompts, measure_examples
from tests.command import QUICK, Run, write_lines
from tests.corpora import SEGMENT_LEN, SUMMARY_LENGTH, VOYAGE, save_compressor
from tests.test_autocompressor import CASES, Golden, largest_difference, naive_vectors, random_ids, tiny_compressor
from tests.tiny import tiny_decoder, tiny_model

DECLARED = 64
LONG = " ".join(f"On day {number} nothing was written in the log." for number in range(30)) + f" {VOYAGE}"
"""Far more segments than `DECLARED` positions hold, and fewer than the public code reads at once."""
TASK_LINE = {"id": "a", "text": LONG, "questions": [{"question": "Who?", "answers": ["Crane"]}]}


def declaring(case: str, folder: Path, positions: int) -> Golden:
    """The golden checkpoint with a config that declares fewer positions: its numbers stay the public code's."""
    golden = Golden(case)
    shutil.copytree(golden.folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": positions}))
    golden.compressor = load_autocompressor(folder, device="cpu")
    return golden


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("positions", [21, 40])
def test_rows_beyond_the_declared_positions_equal_the_published_code(
    case: str, positions: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """21 positions are fewer than a segment of 32 tokens has; in 40 one segment fits, and three or four are read."""
    golden = declaring(case, tmp_path / "model", positions)
    vectors = golden.compress()
    assert largest_difference(vectors, golden.expected["summary_vectors"]) < 5e-5
    prompt_ids, wanted = golden.expected["prompt_ids"], golden.expected["greedy_ids"]
    prompt = Prompt((vectors, prompt_ids), num_virtual_tokens=len(vectors))
    logits = golden.logits(vectors, prompt_ids)
    assert largest_difference(logits, golden.expected["prompt_logits"]) < 1e-4
    engine = TransformersEngine(golden.compressor.decoder)
    [made] = engine.generate([prompt], SamplingParams(max_tokens=len(wanted)))
    assert list(made.token_ids) == wanted.tolist()
    assert len(caplog.records) == 1, "one line, whatever was read"
    assert f"declares {positions} positions and is read beyond them" in caplog.text
    assert f"--max-positions {positions} keeps to what it declares" in caplog.text


def test_eighty_segments_are_read_in_one_recursion_at_any_declared_length() -> None:
    compressor = tiny_compressor(segment_len=10, max_position_embeddings=40, initializer_range=0.1)
    assert compressor.max_document_tokens == 800
    ids = random_ids(800)[0]
    [vectors] = compressor.compress_ids([ids])
    assert len(vectors) == 240
    torch.testing.assert_close(vectors, naive_vectors(compressor, ids, 10), atol=1e-3, rtol=1e-3)
    [longer] = compressor.compress_ids([ids[:90]], segment_len=90)
    torch.testing.assert_close(longer, naive_vectors(compressor, ids[:90], 90), atol=1e-4, rtol=1e-4)
    with pytest.raises(DocumentError, match="at most 800 tokens, got 801"):
        compressor.compress_ids([random_ids(801)[0]])


@pytest.mark.parametrize("accumulate", [True, False])
def test_the_longest_row_is_foreseen(accumulate: bool) -> None:
    model = tiny_model()
    model.config.accumulate_summary = accumulate
    compressor = AutoCompressor(tiny_decoder(model), torch.ones(3, 48), segment_len=10)
    for num_tokens in (1, 10, 11, 25, 30, 400, 900):
        lens: list[int] = []
        hook = compressor.model.get_decoder().register_forward_hook(
            lambda _, args, kwargs, output, lens=lens: lens.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
        )
        compressor.compress_ids(random_ids(num_tokens), long_documents="windows")
        hook.remove()
        # A short last segment of a batch takes less than a whole one would.
        assert max(lens) <= compressor.longest_row(num_tokens) <= max(lens) + 10
    assert compressor.longest_row(400) == (39 * 3 if accumulate else 3) + 13


def test_max_positions_say_otherwise_lower_and_higher() -> None:
    assert tiny_compressor(segment_len=10, max_positions=40).max_document_tokens == 100
    assert tiny_compressor(segment_len=10, max_positions=100, max_position_embeddings=40).max_document_tokens == 300
    higher = with_max_positions(tiny_decoder(tiny_model(max_position_embeddings=40)), 90)
    assert (higher.max_len, higher.declared_len, higher.num_vectors_beyond) == (90, 40, 0)
    Decoding(higher, Prompt((random_ids(80)[0],)), SamplingParams(max_tokens=10))
    with pytest.raises(LlocoError, match="80 tokens and the answer may take 11, tiny reads 90"):
        Decoding(higher, Prompt((random_ids(80)[0],)), SamplingParams(max_tokens=11))
    for few in (with_max_positions(higher, 20), replace(higher, max_positions=20)):
        with pytest.raises(LlocoError, match="tiny reads 20"):
            Decoding(few, Prompt((random_ids(15)[0],)), SamplingParams(max_tokens=6))
    short = tiny_compressor(segment_len=16, max_positions=12)
    assert short.max_document_tokens == 0 and len(short.compress_ids(random_ids(9), segment_len=9)[0]) == 3
    with pytest.raises(DocumentError, match="segment_len must be between 1 and 9, got 16"):
        short.compress_ids(random_ids(9))


def test_text_beyond_what_is_declared_is_what_the_model_computes() -> None:
    model = tiny_model(max_position_embeddings=40, initializer_range=0.1)
    decoder = with_max_positions(tiny_decoder(model), 200)
    ids = random_ids(150)[0]
    [made] = TransformersEngine(decoder).generate([Prompt((ids,))], SamplingParams(max_tokens=4))
    row = ids[None]
    with torch.no_grad():
        for token_id in made.token_ids:
            assert int(model(input_ids=row).logits[0, -1].argmax()) == token_id
            row = torch.cat([row, torch.tensor([[token_id]])], dim=1)


def ends() -> dict[str, Decoder]:
    gpt2 = AutoModelForCausalLM.from_config(
        GPT2Config(vocab_size=272, n_embd=48, n_layer=1, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=1)
    )
    factors = {"short_factor": [1.0] * 6, "long_factor": [2.0] * 6}
    longrope = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 32, **factors}
    dynamic = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    return {
        "learned": tiny_decoder(gpt2.eval()),
        "longrope": tiny_decoder(tiny_model(max_position_embeddings=64, rope_parameters=longrope)),
        "dynamic": tiny_decoder(tiny_model(max_position_embeddings=64, rope_parameters=dynamic)),
    }


@pytest.mark.parametrize("kind", ["learned", "longrope", "dynamic"])
def test_positions_that_end_stay_a_wall(kind: str) -> None:
    decoder = ends()[kind]
    assert decoder.max_len == 64 and not decoder.is_endless and decoder.num_vectors_beyond == 0
    with pytest.raises(CheckpointError, match=f"between 1 and 64 for tiny, whose {kind} positions end there, got 65"):
        with_max_positions(decoder, 65)
    assert with_max_positions(decoder, 32).max_len == 32
    compressor = AutoCompressor(decoder, torch.ones(4, 48), segment_len=20)
    assert compressor.max_document_tokens == 11 * 20
    with pytest.raises(DocumentError, match="segment_len must be between 1 and 60, got 61"):
        compressor.compress_ids(random_ids(8), segment_len=61)
    with pytest.raises(DocumentError, match="ratio must be above 1 and at most 15"):
        segment_len_for(16, compressor)
    with pytest.raises(CheckpointError, match="segments of 61 tokens and 4 summary tokens do not fit the 64 positions"):
        AutoCompressor(decoder, torch.ones(4, 48), segment_len=61)


# What reads the vectors.


@pytest.fixture
def narrow(tmp_path: Path) -> Path:
    return save_compressor(tmp_path / "narrow", max_position_embeddings=DECLARED)


def test_vectors_are_read_beyond_what_is_declared_and_text_is_not(
    narrow: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compressor = load_compressor(narrow)
    decoder = compressor.decoder
    assert decoder.num_vectors_beyond == 80 * SUMMARY_LENGTH
    assert (decoder.vectors_beside(30), decoder.vectors_beside(64), decoder.vectors_beside(65)) == (320, 320, -1)
    engine = TransformersEngine(decoder)
    with Store(tmp_path / "store") as store:
        corpus = store.corpus("c")
        compress_into(corpus, [Document("log", LONG), Document("log-2", f"{LONG} again")], compressor)
        answer = ask(corpus, "brig?", engine=engine, max_tokens=4)
        assert answer.is_whole and answer.num_virtual_tokens > 2 * DECLARED
        with pytest.raises(LlocoError, match="are left of the 64 positions"):
            ask(corpus, "brig?", engine=engine, max_tokens=60)
        few = ask(corpus, "brig?", engine=engine, max_tokens=4, max_virtual_tokens=8)
        assert few.num_virtual_tokens == 8
        limited = TransformersEngine(load_compressor(narrow, max_positions=DECLARED).decoder)
        part = ask(corpus, "brig?", engine=limited, max_tokens=4)
        assert not part.is_whole and part.num_virtual_tokens < DECLARED
    assert len(caplog.records) == 1


def test_a_rows_room_for_vectors() -> None:
    room = Room("tiny", 64, 20, 0, 8, None, 320)
    assert (room.for_text, room.for_vectors) == (36, 320)
    assert replace(room, max_virtual_tokens=10).for_vectors == 10
    assert replace(room, answer_len=60).for_vectors == replace(room, answer_len=60).for_text == -16
    assert replace(room, num_vectors_beyond=12).for_vectors == 36
    assert "10 may be read: raise --max-virtual-tokens" in str(replace(room, max_virtual_tokens=10).error("16 rows"))


def test_prediction_and_training_read_them_whole_too(narrow: Path) -> None:
    compressor = load_compressor(narrow)
    document = Document("log", LONG)
    sample = Sample(id="a", task="jsonl", question="Who?", document=document, references=("Crane",))
    chosen = PredictOptions("compressed", max_tokens=4)
    soft_prompt = compressor.compress(document)
    [made] = predict(
        [sample], TransformersEngine(compressor.decoder), None, chosen, soft_prompt_of=lambda _: soft_prompt
    )
    assert not made.is_cut and made.num_virtual_tokens == len(soft_prompt.embeds) > DECLARED
    limited = load_compressor(narrow, max_positions=DECLARED)
    [cut] = predict([sample], TransformersEngine(limited.decoder), None, chosen, soft_prompt_of=lambda _: soft_prompt)
    assert cut.is_cut and cut.num_virtual_tokens < DECLARED
    vectors = SoftPrompts(lambda _: soft_prompt.embeds, compressor.decoder.device)
    examples = [Example("log", "Who?", "Crane")]
    measured = measure_examples(examples, vectors, DEFAULT_TEMPLATE, compressor.decoder)
    assert measured.examples[0].seq_len > DECLARED
    with pytest.raises(DataError, match="reads 64: compress the document"):
        measure_examples(examples, vectors, DEFAULT_TEMPLATE, limited.decoder)


def test_a_plan_says_it_before_anything_is_compressed(
    narrow: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compressor = load_compressor(narrow)
    with Store(tmp_path / "store") as store:
        corpus = store.corpus("c")
        plan_documents(corpus, [Document("short", VOYAGE[:80])], compressor)
        assert not caplog.records
        plan_documents(corpus, [Document("log", LONG), Document("two", LONG * 2)], compressor)
        [record] = caplog.records
        longest = compressor.longest_row(10**6)
        assert f"read beyond them, to {longest}:" in record.getMessage() and record.levelno == logging.WARNING
        limited = load_compressor(narrow, max_positions=SEGMENT_LEN)
        with pytest.raises(DocumentError, match=r"must be one that .* can read, of 20 tokens at most, got 24"):
            plan_documents(corpus, [Document("log", LONG)], limited)
        plan_documents(corpus, [Document("log", LONG)], limited, CompressOptions(segment_len=12))


def test_a_server_reads_as_many_positions_as_it_is_told(narrow: Path, tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        corpus = store.corpus("c")
        compress_into(corpus, [Document("log", LONG)], load_compressor(narrow))
        engines = Engines(EngineOptions(max_positions=99))
        try:
            assert engines.engine(corpus, None).decoder.max_len == 99
            assert engines.compressor(corpus).decoder.max_positions == 99
        finally:
            engines.close()


def test_the_command_line_warns_once_and_keeps_to_the_positions_that_it_is_given(
    run: Run, home: Path, narrow: Path, tmp_path: Path
) -> None:
    for number in range(3):
        (tmp_path / f"log{number}.txt").write_text(f"{number} {LONG}")
    files = sorted(tmp_path.glob("log*.txt"))
    argv = ["compress", *files, "--corpus", "c", "--compressor", narrow]
    assert run(*argv, "--batch-size", "1") == 0
    assert run.err.count("warning: ") == 1 and "declares 64 positions and is read beyond them" in run.err
    questions = write_lines(tmp_path / "q.jsonl", {"question": "Who?", "answer": "Crane", "document": "log1.txt"})
    asked = ["ask", "--corpus", "c", "--document", "log1.txt", "Who?", "--max-tokens", "2"]
    for verb in (asked, ["finetune", "--corpus", "c", "--data", questions, "--out", tmp_path / "run", *QUICK]):
        assert run(*verb) == 0, run.err
        assert run.err.count("declares 64 positions") == 1
    assert run(*asked, "--max-positions", "64") == 0
    assert "declares" not in run.err and "in part" in run.out
    assert run("compress", *files, "--corpus", "d", "--compressor", narrow, "--max-positions", "64") == 0
    assert "declares" not in run.err
    with Store() as store:
        whole, windows = (store.corpus(name).soft_prompt("log1.txt").embeds for name in ("c", "d"))
    assert whole.shape == windows.shape and not torch.equal(whole, windows)
    data = write_lines(tmp_path / "t.jsonl", TASK_LINE)
    read = ["--task", "jsonl", "--data", data, "--max-tokens", "2", "--compressor", narrow]
    for verb in (["predict", *read, "--mode", "full"], ["evaluate", *read, "--modes", "full"]):
        out = tmp_path / verb[0]
        assert run(*verb, "--out", out) == 0, run.err
        assert "1 of 1 contexts were cut" in run.err
        assert run(*verb, "--out", tmp_path / f"{verb[0]}-long", "--max-positions", "4000") == 0, run.err
        assert "were cut" not in run.err and run.err.count("declares 64 positions") == 1


def test_a_model_whose_positions_end_is_refused_more_of_them_by_name(run: Run, home: Path, tmp_path: Path) -> None:
    ends()["learned"].model.save_pretrained(tmp_path / "gpt2")
    data = write_lines(tmp_path / "t.jsonl", TASK_LINE)
    argv = ["predict", "--task", "jsonl", "--data", data, "--mode", "full", "--model", tmp_path / "gpt2"]
    assert "whose learned positions end there, got 65" in run.fails(*argv, "--max-positions", "65")
    assert load_decoder(tmp_path / "gpt2", max_positions=10).max_len == 10
