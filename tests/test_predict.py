"""Prediction in every mode with a tiny random model: what is read, what is cut, and what a killed run leaves."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lloco.adapters.attach import attach_adapter
from lloco.adapters.folder import LoraOptions, save_adapter
from lloco.answer.budget import Room
from lloco.answer.evidence import find_evidence
from lloco.answer.question import Question
from lloco.answer.text import max_words_of
from lloco.answer.vectors import read_vectors
from lloco.compression.run import compress_into
from lloco.compressors.autocompressor import AutoCompressor
from lloco.documents.document import Document
from lloco.engine.engine import Engine, Generation, SamplingParams
from lloco.engine.prefix_cache import prefix_length
from lloco.engine.streaming import StreamingEngine, embedded_engine
from lloco.engine.transformers_engine import TransformersEngine
from lloco.errors import DataError, DocumentError, LlocoError, MismatchError
from lloco.evals.context import DocumentContext
from lloco.evals.mode import MODES
from lloco.evals.predict import PredictOptions, predict
from lloco.evals.run.log import Prediction
from lloco.prompts.prompt import Prompt, build_prompt
from lloco.prompts.soft_prompt import SoftPrompt
from lloco.prompts.template import DEFAULT_TEMPLATE, Template
from lloco.store.store import Store
from lloco.tasks.sample import Sample
from lloco.tasks.wording import kind_of
from tests.command import write_lines
from tests.test_engine_contract import save_random_adapter
from tests.tiny import CHAT_TEMPLATE, tiny_decoder, tiny_llama, tiny_tokenizer

NUM_DOCUMENTS = 3
PLACES = ("harbour", "orchard", "station", "library", "bakery", "chapel", "meadow", "quarry")


def document(number: int, num_sentences: int = 8) -> Document:
    sentences = [
        f"The {PLACES[(number + item) % 8]} keeper number {number} is person {item}." for item in range(num_sentences)
    ]
    return Document(id=f"story-{number}", text=" ".join(sentences))


def samples(num_documents: int = NUM_DOCUMENTS, num_questions: int = 3) -> list[Sample]:
    """Questions in turn over the documents, so that a document's questions do not stand together."""
    documents = [document(number, 8 + 2 * number) for number in range(num_documents)]
    return [
        Sample(
            id=f"{item.id}-{question}",
            task="jsonl",
            question=f"Who keeps the {PLACES[question]}{'?' * (1 + question)}",
            document=item,
            references=("person",),
        )
        for question in range(num_questions)
        for item in documents
    ]


def compressor(max_position_embeddings: int = 1024) -> AutoCompressor:
    decoder = tiny_decoder(tiny_llama(max_position_embeddings=max_position_embeddings))
    summaries = torch.randn(8, 48, generator=torch.Generator().manual_seed(3)) * 0.3
    return AutoCompressor(decoder, summaries, segment_len=32).eval()


@pytest.fixture(scope="module")
def tiny() -> AutoCompressor:
    return compressor()


@pytest.fixture(scope="module")
def engine(tiny: AutoCompressor) -> TransformersEngine:
    return TransformersEngine(tiny.decoder)


class CountingEngine:
    """The engine, with a note of every prompt; stops the process's work after some batches if asked."""

    name = "transformers"

    def __init__(self, engine: Engine, *, fail_after: int | None = None) -> None:
        self.decoder = engine.decoder
        self.prompts: list[Prompt] = []
        self.num_read = 0
        """Positions of prompts that were read."""
        self._engine, self._fail_after, self._num_batches = engine, fail_after, 0

    def add_adapter(self, name: str, folder: Path) -> None:
        self._engine.add_adapter(name, folder)
        self.decoder = self._engine.decoder

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingParams, *, adapters: Sequence[str | None] | None = None
    ) -> list[Generation]:
        if self._num_batches == self._fail_after:
            raise KeyboardInterrupt
        self._num_batches += 1
        self.prompts += prompts
        made = self._engine.generate(prompts, sampling, adapters=adapters)
        self.num_read += sum(item.num_prompt_tokens - item.num_cached_tokens for item in made)
        return made


def options(mode: str, **changes: object) -> PredictOptions:
    return replace(PredictOptions(mode=mode, max_tokens=6, batch_size=4), **changes)  # type: ignore[arg-type]


def texts(predictions: Sequence[Prediction]) -> dict[str, str]:
    return {prediction.id: prediction.text for prediction in predictions}


def num_tokens(tiny: AutoCompressor, text: str) -> int:
    return len(tiny.decoder.require_tokenizer()(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("mode", MODES)
def test_batched_predictions_equal_one_at_a_time(tiny: AutoCompressor, engine: TransformersEngine, mode: str) -> None:
    asked = samples()
    batched = predict(asked, engine, DEFAULT_TEMPLATE, options(mode, batch_size=8), soft_prompt_of=tiny.compress)
    single = predict(asked, engine, DEFAULT_TEMPLATE, options(mode, batch_size=1), soft_prompt_of=tiny.compress)
    assert texts(batched) == texts(single)
    assert [item.id for item in batched] == [sample.id for sample in asked]
    assert len(set(texts(batched).values())) > 1


def test_every_mode_reads_what_it_says(tiny: AutoCompressor, engine: TransformersEngine) -> None:
    asked = samples()
    for mode in MODES:
        for sample, one in zip(
            asked,
            predict(asked, engine, DEFAULT_TEMPLATE, options(mode), soft_prompt_of=tiny.compress),
            strict=True,
        ):
            length = num_tokens(tiny, sample.document.text)
            budget = tiny.num_virtual_tokens(length)
            assert budget < length
            read = (one.num_context_tokens, one.num_virtual_tokens)
            if mode == "hybrid":
                text, vectors = read
                assert 0 < text <= round(budget / 2) and vectors > 0 and budget - 4 <= text + vectors <= budget
                continue
            wanted = {
                "compressed": [(0, budget)],
                "compressed_head": [(0, budget)],
                "full": [(length, 0)],
                "truncated": [(budget, 0)],
                "none": [(0, 0)],
                "retrieval": [(budget - 1, 0), (budget, 0)],
            }
            assert read in wanted[mode]
            assert one.num_document_tokens == length
            assert not one.is_cut


def read_anew_and_once(
    asked: Sequence[Sample], tiny: AutoCompressor, chosen: PredictOptions
) -> tuple[CountingEngine, CountingEngine]:
    """Answer with a document read for each of its questions, then once for all; the answers are the same."""
    inner = embedded_engine(tiny.decoder, chosen.batch_size)
    assert isinstance(inner, StreamingEngine)
    anew, once = CountingEngine(inner), CountingEngine(inner)
    answers: list[dict[str, str]] = []
    for engine in (anew, once):
        inner.use_prefix_cache(engine is once)
        made = predict(asked, engine, DEFAULT_TEMPLATE, chosen, soft_prompt_of=tiny.compress)
        answers.append(texts(made))
    assert answers[0] == answers[1] and len(set(answers[0].values())) > 1
    return anew, once


@pytest.mark.parametrize("mode", ["compressed", "full", "truncated"])
@pytest.mark.parametrize("has_adapter", [False, True])
def test_a_document_is_read_once_for_all_its_questions(mode: str, has_adapter: bool, tmp_path: Path) -> None:
    adapter = save_random_adapter(tmp_path / "adapter", 1) if has_adapter else None
    asked = samples(2, num_questions=7)
    anew, once = read_anew_and_once(asked, compressor(), options(mode, adapter=adapter))
    assert anew.num_read == sum(prompt.length for prompt in anew.prompts)
    documents = {prefix_length(prompt) for prompt in once.prompts}
    # A batch reads as much of every question as of its longest.
    longest = max(len(prompt.pieces[-1]) for prompt in once.prompts)
    assert len(documents) == 2 and once.num_read <= sum(documents) + longest * len(asked) < anew.num_read / 2


def test_modes_that_read_something_else_for_every_question_read_no_more_than_before() -> None:
    for mode in ("retrieval", "none"):
        anew, once = read_anew_and_once(samples(2, num_questions=7), compressor(), options(mode))
        assert once.num_read <= anew.num_read


def test_a_document_that_is_cut_is_read_once_too() -> None:
    asked = [replace(sample, document=document(1, 40)) for sample in samples(1, num_questions=6)]
    _, once = read_anew_and_once(asked, compressor(max_position_embeddings=320), options("full"))
    assert len({prefix_length(prompt) for prompt in once.prompts}) > 1
    assert once.num_read < 320 + 6 * 60


def test_prompts_are_those_of_build_prompt(tiny: AutoCompressor, engine: TransformersEngine) -> None:
    sample, tokenizer = samples()[0], tiny.decoder.require_tokenizer()
    counting = CountingEngine(engine)
    for mode in ("compressed", "truncated", "none"):
        predict([sample], counting, DEFAULT_TEMPLATE, options(mode, context_budget=40), soft_prompt_of=tiny.compress)
    ids = torch.tensor(tokenizer(sample.document.text, add_special_tokens=False)["input_ids"])[:40]
    wanted = [
        build_prompt(
            DEFAULT_TEMPLATE, tokenizer, sample.question, soft_prompts=[tiny.compress(sample.document).embeds]
        ),
        build_prompt(DEFAULT_TEMPLATE, tokenizer, sample.question, context_ids=ids),
        build_prompt(DEFAULT_TEMPLATE, tokenizer, sample.question),
    ]
    for came, one in zip(counting.prompts, wanted, strict=True):
        assert len(came.pieces) == len(one.pieces)
        assert all(torch.equal(left, right) for left, right in zip(came.pieces, one.pieces, strict=True))


def passages_read(tiny: AutoCompressor, sample: Sample, budget: int) -> torch.Tensor:
    context = DocumentContext(
        sample.document, tiny.decoder.require_tokenizer(), lambda: tiny.compress(sample.document), lambda: budget
    ).context("retrieval", sample.question, room=10_000)
    assert context.token_ids is not None
    return context.token_ids


@pytest.mark.parametrize("budget", [1, 2, 7, 33, 64, 100, 150, 10_000])
def test_retrieval_never_exceeds_its_budget_and_uses_it(tiny: AutoCompressor, budget: int) -> None:
    for sample in samples():
        length = num_tokens(tiny, sample.document.text)
        read = len(passages_read(tiny, sample, budget))
        assert min(budget, length) - 1 <= read <= min(budget, length)


def test_retrieval_reads_the_best_passages_in_the_order_of_the_document(tiny: AutoCompressor) -> None:
    filler = "Rain fell on the hills all week without reaching the valley below them, and nobody in town complained. "
    text = filler * 4 + "The silver kettle belongs to Ursula. " + filler * 6 + "Ursula sold the kettle to Victor. "
    sample = replace(samples()[0], document=Document("long", text + filler * 3), question="Where is Ursula's kettle?")
    read = tiny.decoder.require_tokenizer().decode(passages_read(tiny, sample, 300))
    assert "belongs to Ursula" in read and "to Victor" in read
    assert read.index("belongs to Ursula") < read.index("to Victor")
    assert len(read) < len(text) / 2


def test_retrieval_reads_on_where_no_word_of_the_question_occurs(tiny: AutoCompressor) -> None:
    sample = replace(samples()[0], question="Zyzzyva?")
    read = tiny.decoder.require_tokenizer().decode(passages_read(tiny, sample, 60))
    assert sample.document.text.startswith(read.split("\n")[0])


def test_passages_are_short_where_the_budget_is_small() -> None:
    assert [max_words_of(num_words) for num_words in (1, 64, 200, 4000)] == [16, 16, 50, 100]


def test_context_that_does_not_fit_is_cut_and_marked() -> None:
    small = compressor(max_position_embeddings=160)
    asked = [replace(sample, document=document(1, 40)) for sample in samples(1)]
    engine = CountingEngine(TransformersEngine(small.decoder))

    def soft_prompt_of(one: Document) -> SoftPrompt:
        return next(iter([small.compress(one)]))

    for mode in ("full", "compressed", "truncated", "retrieval"):
        for item in predict(asked, engine, DEFAULT_TEMPLATE, options(mode), soft_prompt_of=soft_prompt_of):
            assert item.is_cut, mode
            assert item.num_context_tokens + item.num_virtual_tokens > 80
            whole = small.num_virtual_tokens(item.num_document_tokens)
            assert item.num_soft_prompt_tokens == (whole if mode == "compressed" else 0)
            assert whole > item.num_virtual_tokens
    # Text fills the room; vectors are read by whole segments of 8.
    assert all(154 - 8 < prompt.length <= 154 for prompt in engine.prompts)


def test_a_soft_prompt_that_does_not_fit_is_read_as_for_a_users_question(tmp_path: Path) -> None:
    small, asked = compressor(), document(1, 60)
    with Store(tmp_path / "store") as store:
        corpus = store.corpus("c")
        compress_into(corpus, [asked], small)
        question = "Which library keeper is person 59?"
        evidence = find_evidence(corpus, Question(question))
        room = Room("tiny", 60, question_len=10, history_len=0, answer_len=10)
        [vectors], _ = read_vectors(corpus, evidence, small.decoder, room)
        soft_prompt = corpus.soft_prompt(asked.id)
    reading = DocumentContext(asked, tiny_tokenizer(), lambda: soft_prompt, lambda: 20)
    read = reading.context("compressed", question, room.for_vectors)
    assert read.is_cut and torch.equal(read.soft_prompts[0], vectors)
    head = reading.context("compressed_head", question, room.for_vectors)
    assert head.is_cut and torch.equal(head.soft_prompts[0], soft_prompt.embeds[: room.for_vectors])
    assert not torch.equal(vectors, head.soft_prompts[0][: len(vectors)])


def test_a_budget_below_the_document_is_no_cut(tiny: AutoCompressor, engine: TransformersEngine) -> None:
    for mode in ("truncated", "retrieval"):
        assert not any(item.is_cut for item in predict(samples(), engine, None, options(mode, context_budget=9)))


def test_soft_prompts_are_fetched_once_a_document(tiny: AutoCompressor, engine: TransformersEngine) -> None:
    fetched: list[str] = []

    def soft_prompt_of(one: Document) -> SoftPrompt:
        fetched.append(one.id)
        return tiny.compress(one)

    for mode in ("compressed", "truncated", "retrieval"):
        predict(samples(), engine, DEFAULT_TEMPLATE, options(mode, batch_size=2), soft_prompt_of=soft_prompt_of)
        assert fetched == [f"story-{number}" for number in range(NUM_DOCUMENTS)]
        fetched.clear()
    for mode in ("full", "none"):
        predict(samples(), engine, DEFAULT_TEMPLATE, options(mode), soft_prompt_of=soft_prompt_of)
    predict(samples(), engine, None, options("retrieval", context_budget=20), soft_prompt_of=soft_prompt_of)
    predict(samples(), engine, None, options("truncated"), soft_prompt_of=soft_prompt_of, budget_of=lambda _: 20)
    assert fetched == []


def test_a_resumed_run_writes_the_same_file_and_repeats_nothing(
    tiny: AutoCompressor, engine: TransformersEngine, tmp_path: Path
) -> None:
    run: Callable[..., list[Prediction]] = lambda value, out, done=None: predict(  # noqa: E731
        samples(),
        value,
        DEFAULT_TEMPLATE,
        options("compressed"),
        soft_prompt_of=tiny.compress,
        out=out,
        on_progress=done,
    )
    whole = run(engine, tmp_path / "whole.json")
    out = tmp_path / "new folder" / "killed.json"
    with pytest.raises(KeyboardInterrupt):
        run(CountingEngine(engine, fail_after=1), out)
    assert not out.exists()
    with out.with_name("killed.json.partial.jsonl").open("ab") as log:
        log.write(b'{"id": "story-1-2", "text": "half a li')
    counting, done = CountingEngine(engine), list[int]()
    resumed = run(counting, out, done.append)
    assert out.read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert json.loads(out.read_text()) == texts(whole)
    assert len(counting.prompts) == 5 and done == [4, 4, 1]
    assert [replace(item, seconds=0.0) for item in resumed] == [replace(item, seconds=0.0) for item in whole]
    again = CountingEngine(engine)
    assert run(again, out) == resumed
    assert again.prompts == []


def test_another_run_on_an_unfinished_log_is_refused(
    tiny: AutoCompressor, engine: TransformersEngine, tmp_path: Path
) -> None:
    out, asked = tmp_path / "out.json", samples()
    with pytest.raises(KeyboardInterrupt):
        predict(asked, CountingEngine(engine, fail_after=1), None, options("full"), out=out)
    other_wording = replace(DEFAULT_TEMPLATE, question="{question}")
    for template, chosen, others, what in (
        (None, options("none"), asked, "mode full"),
        (None, options("full", max_tokens=7), asked, "max_tokens 6"),
        (None, options("full", seed=1), asked, "seed 0"),
        (other_wording, options("full"), asked, "template"),
        (None, options("full"), asked[:5], "samples"),
    ):
        with pytest.raises(DataError, match=f"belong to another run, which had {what}"):
            predict(others, engine, template, chosen, out=out)
    other = compressor()
    other.decoder.model.lm_head.weight.data += 1
    stranger = TransformersEngine(replace(other.decoder, digest="other"))
    with pytest.raises(DataError, match="model"):
        predict(asked, stranger, None, options("full"), out=out)
    assert len(predict(asked, engine, None, options("full"), out=out)) == len(asked)
    assert predict(asked, engine, None, options("none"), out=out)[0].num_context_tokens == 0


@pytest.mark.parametrize("mode", ["truncated", "retrieval"])
def test_a_budget_from_soft_prompts_that_are_made_otherwise_makes_it_another_run(
    tiny: AutoCompressor, engine: TransformersEngine, tmp_path: Path, mode: str
) -> None:
    def run(one: Engine, budget: int | None = None, **made_as: object) -> list[Prediction]:
        def soft_prompt_of(document: Document) -> SoftPrompt:
            made = tiny.compress(document)
            return replace(made, provenance=replace(made.provenance, **made_as))  # type: ignore[arg-type]

        chosen = options(mode, context_budget=budget)
        return predict(samples(), one, None, chosen, soft_prompt_of=soft_prompt_of, out=tmp_path / "out.json")

    with pytest.raises(KeyboardInterrupt):
        run(CountingEngine(engine, fail_after=1))
    with pytest.raises(DataError, match=r"had soft_prompts \S+ segment_len 32 .*\(now \S+ segment_len 16 "):
        run(engine, segment_len=16)
    with pytest.raises(DataError, match=r"\(now other segment_len 32 "):
        run(engine, compressor_digest="other")
    assert len(run(engine)) == len(samples())
    with pytest.raises(KeyboardInterrupt):
        run(CountingEngine(engine, fail_after=1), budget=9)
    assert len(run(engine, budget=9, segment_len=16)) == len(samples())


def test_a_log_that_does_not_tell_of_whole_soft_prompts_is_gone_on_with(
    tiny: AutoCompressor, engine: TransformersEngine, tmp_path: Path
) -> None:
    out, asked = tmp_path / "out.json", samples()
    with pytest.raises(KeyboardInterrupt):
        predict(
            asked, CountingEngine(engine, fail_after=1), None, options("compressed"), soft_prompt_of=tiny.compress,
            out=out,
        )  # fmt: skip
    log = out.with_name("out.json.partial.jsonl")
    begun, *lines = map(json.loads, log.read_text().splitlines())
    for line in lines:
        del line["num_soft_prompt_tokens"]
    write_lines(log, begun, *lines)
    counting = CountingEngine(engine)
    resumed = predict(asked, counting, None, options("compressed"), soft_prompt_of=tiny.compress, out=out)
    assert len(counting.prompts) == 5
    assert all(item.num_soft_prompt_tokens == item.num_virtual_tokens > 0 for item in resumed)


def test_a_damaged_log_is_refused(engine: TransformersEngine, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    with pytest.raises(KeyboardInterrupt):
        predict(samples(), CountingEngine(engine, fail_after=1), None, options("none"), out=out)
    log = out.with_name("out.json.partial.jsonl")
    lines = log.read_bytes().splitlines(keepends=True)
    for damaged in (b"garbage\n", b'{"id": 1}\n'):
        log.write_bytes(b"".join([lines[0], damaged, *lines[2:]]))
        with pytest.raises(DataError, match="line 2"):
            predict(samples(), engine, None, options("none"), out=out)
    log.write_bytes(lines[0][:20])
    assert len(predict(samples(), engine, None, options("none"), out=out)) == len(samples())


KILLED = """
    import sys, time
    from pathlib import Path
    import tests.test_predict as t
    tiny = t.compressor()
    def wait(num_done):
        print(num_done, flush=True)
        if sys.argv[2] == "slow":
            time.sleep(60)
    t.predict(t.samples(), t.TransformersEngine(tiny.decoder), None, t.options("compressed"),
              soft_prompt_of=tiny.compress, out=Path(sys.argv[1]), on_progress=wait)
"""


def test_kill_9_then_the_same_command_gives_the_same_file(
    tiny: AutoCompressor, engine: TransformersEngine, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    script = [sys.executable, "-c", textwrap.dedent(KILLED), str(out)]
    with subprocess.Popen([*script, "slow"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "4\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not out.exists()
    counting = CountingEngine(engine)
    predict(samples(), counting, None, options("compressed"), soft_prompt_of=tiny.compress, out=out)
    assert len(counting.prompts) == 5
    unbroken = predict(samples(), engine, None, options("compressed"), soft_prompt_of=tiny.compress)
    assert json.loads(out.read_text()) == texts(unbroken)


def test_two_processes_do_not_write_one_file_of_predictions(
    tiny: AutoCompressor, engine: TransformersEngine, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    script = [sys.executable, "-c", textwrap.dedent(KILLED), str(out), "slow"]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "4\n"
        with pytest.raises(DataError, match=r"another process is writing .*out\.json"):
            predict(samples(), engine, None, options("compressed"), soft_prompt_of=tiny.compress, out=out)
        os.kill(process.pid, signal.SIGKILL)
    predict(samples(), engine, None, options("compressed"), soft_prompt_of=tiny.compress, out=out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.json.details.jsonl"]


def test_a_soft_prompt_that_was_refined_meanwhile_makes_it_another_run(
    tiny: AutoCompressor, engine: TransformersEngine, tmp_path: Path
) -> None:
    def refined(document: Document) -> SoftPrompt:
        made = tiny.compress(document)
        return replace(made, provenance=replace(made.provenance, refine_steps=4))

    asked, out = samples(), tmp_path / "out.json"
    predict(asked, engine, None, options("compressed"), soft_prompt_of=tiny.compress, out=out)
    again = predict(asked, engine, None, options("compressed"), soft_prompt_of=refined, out=out)
    assert "refine_steps 4" in (tmp_path / "out.json.details.jsonl").read_text() and len(again) == len(asked)


def test_options_are_worded_as_multiple_choice_and_others_are_not(engine: TransformersEngine) -> None:
    plain = samples(1)
    choice = [replace(plain[0], id="choice", options=("yes", "no"), gold_letter="A")]
    counting = CountingEngine(engine)
    predict([*choice, *plain], counting, None, options("none"))
    tokenizer = engine.decoder.require_tokenizer()
    worded = [tokenizer.decode(prompt.pieces[0]) for prompt in counting.prompts]
    assert "(A) yes\n(B) no\n" in worded[0]
    assert worded[1].endswith("Answer:") and "(A)" not in worded[1]
    with pytest.raises(LlocoError, match=r"no place for \{options\}"):
        predict(choice, engine, DEFAULT_TEMPLATE, options("none"))


def test_what_tasks_ask_for() -> None:
    assert kind_of("quality") == "multiple choice"
    assert kind_of("qmsum") == "summary"
    assert kind_of("narrativeqa") == "short answer"
    report = replace(samples()[0], task="longbench", dataset="gov_report")
    assert kind_of("longbench", report) == "summary"
    assert kind_of("longbench", replace(report, dataset="qasper")) == "short answer"
    with pytest.raises(DataError, match="no task"):
        kind_of("nothing")


def test_a_chat_model_is_asked_in_its_chat_template(tmp_path: Path) -> None:
    chat = tiny_decoder(tokenizer=tiny_tokenizer(chat_template=CHAT_TEMPLATE))
    plain = samples(1)[0]
    choice = replace(plain, id="choice", options=("yes", "no"), gold_letter="A")
    summary = replace(plain, id="summary", task="qmsum")
    counting = CountingEngine(TransformersEngine(chat))
    predict([plain, choice], counting, None, options("full"), out=tmp_path / "out.json")
    predict([summary], counting, None, options("full"))
    texts = [chat.require_tokenizer().decode(torch.cat(prompt.pieces)) for prompt in counting.prompts]
    names = ("short_answer", "chat_multiple_choice", "chat_summarize")
    for text, wording in zip(texts, map(Template.packaged, names), strict=True):
        assert text.startswith(f"<s><system>\n{wording.system}<end_of_turn>\n<user>\n{plain.document.text[:10]}")
        assert text.endswith("<end_of_turn>\n<model>\n")
    begun = json.loads((tmp_path / "out.json.details.jsonl").read_text().splitlines()[0])
    assert begun["run"]["template"] != "by sample"


def test_answers_that_were_cut_are_marked_and_older_logs_are_read(engine: TransformersEngine, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    made = predict(samples(2), engine, None, options("none", max_tokens=1), out=out)
    assert all(prediction.is_answer_cut for prediction in made)
    details = tmp_path / "out.json.details.jsonl"
    first, *lines = details.read_text().splitlines()
    older = [{key: value for key, value in json.loads(line).items() if key != "is_answer_cut"} for line in lines]
    details.write_text("\n".join([first, *map(json.dumps, older)]) + "\n")
    counting = CountingEngine(engine)
    again = predict(samples(2), counting, None, options("none", max_tokens=1), out=out)
    assert not counting.prompts and not any(prediction.is_answer_cut for prediction in again)


def test_answer_lengths_and_stop_strings_are_the_tasks_and_the_templates(engine: TransformersEngine) -> None:
    seen: list[SamplingParams] = []

    class Noting(CountingEngine):
        def generate(
            self, prompts: Sequence[Prompt], sampling: SamplingParams, *, adapters: Sequence[str | None] | None = None
        ) -> list[Generation]:
            seen.append(sampling)
            return [Generation(" the answer \n", (), prompt.length, "stop") for prompt in prompts]

    asked = [replace(item, task="longbench", dataset=name) for item, name in zip(samples(), ("qasper", "musique") * 9)]  # noqa: B905
    stopping = Template("stopping", "", "", "{question}", " {answer} \n", stop=("\n\n",))
    predictions = predict(asked, Noting(engine), stopping, PredictOptions("none", batch_size=100))
    assert {item.max_tokens for item in seen} == {128, 32}
    assert {item.stop for item in seen} == {("\n\n",)}
    assert {prediction.text for prediction in predictions} == {"the answer"}


def test_an_adapter_answers_and_is_part_of_the_run(tmp_path: Path) -> None:
    small = compressor()
    model = attach_adapter(small.decoder, LoraOptions(r=4, alpha=8))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)) * 0.5
    save_adapter(model, tmp_path / "adapter", decoder=small.decoder, template=DEFAULT_TEMPLATE)
    small = compressor()
    engine = TransformersEngine(small.decoder)
    asked, out = samples(), tmp_path / "out.json"
    without = predict(asked, engine, None, options("compressed"), soft_prompt_of=small.compress)
    with_adapter = options("compressed", adapter=tmp_path / "adapter")
    adapted = predict(asked, engine, None, with_adapter, soft_prompt_of=small.compress)
    assert texts(without) != texts(adapted)
    again = predict(asked, engine, None, options("compressed"), soft_prompt_of=small.compress)
    assert texts(again) == texts(without)
    with pytest.raises(KeyboardInterrupt):
        predict(
            asked,
            CountingEngine(engine, fail_after=1),
            None,
            options("compressed"),
            soft_prompt_of=small.compress,
            out=out,
        )
    with pytest.raises(DataError, match="adapter None"):
        predict(asked, engine, None, with_adapter, soft_prompt_of=small.compress, out=out)


def test_what_cannot_be_predicted_is_said(tiny: AutoCompressor, engine: TransformersEngine) -> None:
    asked = samples()
    with pytest.raises(LlocoError, match="no mode 'fulll'"):
        PredictOptions(mode="fulll")
    with pytest.raises(LlocoError, match="context_budget is 0"):
        PredictOptions(mode="truncated", context_budget=0)
    with pytest.raises(LlocoError, match="name a compressor"):
        predict(asked, engine, None, options("compressed"))
    with pytest.raises(LlocoError, match="context budget"):
        predict(asked, engine, None, options("retrieval"))
    with pytest.raises(DataError, match="no samples to predict"):
        predict([], engine, None, options("none"))
    with pytest.raises(DataError, match="occurs twice"):
        predict([asked[0], asked[0]], engine, None, options("none"))
    with pytest.raises(LlocoError, match="no room is left"):
        predict(asked, engine, None, options("full", max_tokens=1020))
    with pytest.raises(MismatchError, match="compress the document again"):
        predict(asked, engine, None, options("compressed"), soft_prompt_of=lambda _: tiny.compress(document(7)))
    empty = replace(asked[0], document=Document("empty", ""))
    with pytest.raises(DocumentError, match="'empty' has no text"):
        predict([empty], engine, None, options("full"))
