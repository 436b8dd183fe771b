"""`lloco questions`: checked pairs from documents without a label, whoever writes them, whatever happens meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lloco.errors import LlocoError
from lloco.retrieval.retriever import Retriever
from lloco.self_study.endpoint import Endpoint
from lloco.self_study.run import Study, StudyOptions, plan_questions
from lloco.self_study.wording import answer_ask
from lloco.store.store import Store
from lloco.tasks.task import load_samples
from tests.chat_stand_in import ChatStandIn, Reply, chat_stand_in, said
from tests.command import QUICK, Run
from tests.corpora import LEASE, VOYAGE

pytestmark = pytest.mark.usefixtures("home")
FACTS = [
    ("Who signed the lease of the mill in Harrow Lane?", "Agnes Webb", "Agnes Webb"),
    ("Who was the master of the brig Petrel?", "Edmund Crane", "Edmund Crane"),
    ("What is the rent of the mill in Harrow Lane?", "forty crowns a quarter", "forty crowns"),
    ("What was the cargo of the brig Petrel?", "slate", "slate"),
]


def scholar(body: dict[str, Any], number: int) -> Reply:
    """A generator that asks about what stands in the text and answers from it alone."""
    asked = body["messages"][-1]["content"]
    if "Question:" in asked:
        known = [answer for question, answer, _ in FACTS if question in asked and asked.startswith("Text:")]
        return said(known[0] if known else "unknown")
    pairs = [(question, answer) for question, answer, mark in FACTS if mark in asked]
    system = body["messages"][0]["content"]
    question, answer = pairs[0 if "who did what" in system else 1]
    return said(f"Question: {question}\nAnswer: {answer}")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ask_endpoint(run: Run, stand_in: ChatStandIn, *flags: object) -> dict[str, Any]:
    return run.json("questions", "--corpus", "c", "--generator", stand_in.url, "--generator-model", "m", *flags)


def test_templates_alone_make_questions_that_finetune_and_evaluate_read(filled: Run, compressor: Path) -> None:
    value = filled.json("questions", "--corpus", "c", "--generator", "templates", "--per-span", "3")
    path = Path("questions-c.jsonl")
    assert value["num_questions"] == value["num_wanted"] == 6 and value["num_documents"] == 2
    for line in lines_of(path):
        for pair in line["questions"]:
            start, end = pair["span"]
            assert pair["answers"][0] in line["text"][start:end] and pair["checks"]
    assert len(load_samples("jsonl", str(path))) == 6
    assert filled.json("finetune", "--corpus", "c", "--data", path, *QUICK)["n"] == 6
    evaluated = filled.json(
        "evaluate", "--task", "jsonl", "--data", path, "--corpus", "c", "--modes", "compressed", "--max-tokens", "2"
    )
    assert evaluated["rows"][0]["n"] == 6


def test_the_next_command_runs_as_it_is_printed(filled: Run) -> None:
    assert filled("questions", "--corpus", "c", "--generator", "templates") == 0
    assert filled.err.startswith("questions for corpus c, written by templates\n")
    [command] = [line.removeprefix("next: lloco ") for line in filled.err.splitlines() if line.startswith("next: ")]
    assert filled(*command.split(), *QUICK) == 0
    assert "thrown away" in filled.out or filled.out


def test_an_endpoint_writes_questions_that_are_checked_and_counted(
    filled: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLOCO_GENERATOR_KEY", "secret")
    with chat_stand_in(scholar) as stand_in:
        value = ask_endpoint(filled, stand_in, "--per-span", "2")
    assert value["made_by"]["m"] == 4 and value["num_requests"] == len(stand_in.bodies)
    assert set(stand_in.keys) == {"Bearer secret"} and "secret" not in filled.out + filled.err
    assert {body["temperature"] for body in stand_in.bodies} == {0}
    pairs = [pair for line in lines_of(Path("questions-c.jsonl")) for pair in line["questions"]]
    assert {pair["question"] for pair in pairs} == {question for question, _, _ in FACTS}
    assert all(len(pair["checks"]) == 7 for pair in pairs)
    assert not Path("questions-c.jsonl.replies").exists()


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        ("Question: Who signed the lease of the mill in Harrow Lane?\nAnswer: Maud Finch", "stand in the text"),
        ("Question: When did the lease of the mill begin?\nAnswer: 3 May 1871", "stand in the text"),
        ("Question: Who was it that signed it?\nAnswer: Agnes Webb", "says what it is about"),
        ("Question: Did Agnes Webb sign the lease of the mill?\nAnswer: Agnes Webb", "does not give away"),
        ("Question: Who signed the lease of the mill in Harrow Lane?\nAnswer: forty crowns", "answered alike"),
        ("I am sorry, I cannot do that.", "no question and answer"),
        ("", "no question and answer"),
    ],
)
def test_what_fails_a_check_is_thrown_away_and_counted_under_its_name(filled: Run, pair: str, reason: str) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        return scholar(body, number) if "Question:" in body["messages"][-1]["content"] else said(pair)

    with chat_stand_in(reply) as stand_in:
        value = ask_endpoint(filled, stand_in)
    assert any(reason in name for name in value["discarded"]), value["discarded"]
    assert "m" not in value["made_by"] and value["num_questions"] == 4, "templates fill what the generator leaves"


def test_a_question_that_is_answered_without_the_passage_is_thrown_away(filled: Run) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        asked = body["messages"][-1]["content"]
        known = [answer for question, answer, _ in FACTS if question in asked]
        return said(known[0]) if "Question:" in asked else scholar(body, number)

    with chat_stand_in(reply) as stand_in:
        value = ask_endpoint(filled, stand_in)
    assert value["discarded"]["not answered without the passage"] >= 4 and "m" not in value["made_by"]


def test_a_busy_server_is_asked_again_and_nothing_is_lost(filled: Run) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        if number % 2 == 0:
            return (429, {"error": {"message": "slow down"}}, {"retry-after": "0"}) if number % 4 else (503, "", {})
        return scholar(body, number)

    with chat_stand_in(reply) as stand_in:
        value = ask_endpoint(filled, stand_in, "--concurrency", "1")
    assert value["made_by"]["m"] == 4
    assert "waiting" in filled.err and "429: slow down" in filled.err


def test_a_request_that_is_too_long_is_left_out_and_others_are_asked(filled: Run) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        return scholar(body, number) if number else (400, {"error": {"message": "too long"}}, {})

    with chat_stand_in(reply) as stand_in:
        value = ask_endpoint(filled, stand_in, "--concurrency", "1")
    assert value["made_by"]["m"] >= 3 and value["discarded"]["no question and answer in the reply"] == 1
    assert "leaves a request out: it answered 400: too long" in filled.err


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((401, {"error": {"message": "bad key"}}, {}), ["refused a request", "401: bad key"]),
        ((404, {"error": {"message": "no model m"}}, {}), ["refused a request", "no model m"]),
    ],
)
def test_a_refusal_ends_the_run_at_once_with_the_servers_reason(filled: Run, reply: Reply, words: list[str]) -> None:
    with chat_stand_in(lambda body, number: reply) as stand_in:
        message = filled.fails("questions", "--corpus", "c", "--generator", stand_in.url, "--generator-model", "m")
    assert all(word in message for word in words)
    assert len(stand_in.bodies) <= 4


def test_a_server_that_is_away_or_slow_is_tried_a_bounded_number_of_times() -> None:
    asks = [answer_ask("Who?", "")]
    away = Endpoint("http://127.0.0.1:9/v1", "m", retry_seconds=(0.0, 0.0))
    with pytest.raises(LlocoError, match="no reply in 3 tries; at last it cannot be reached"):
        list(away.replies(asks))
    away.close()

    def slow(body: dict[str, Any], number: int) -> Reply:
        time.sleep(0.5)
        return said("late")

    with chat_stand_in(slow) as stand_in:
        endpoint = Endpoint(stand_in.url, "m", timeout_seconds=0.1, retry_seconds=(0.0,))
        with pytest.raises(LlocoError, match="2 tries; at last it did not answer in time"):
            list(endpoint.replies(asks))
        endpoint.close()


def test_a_run_that_failed_goes_on_without_asking_again_and_gives_the_same_file(filled: Run) -> None:
    with chat_stand_in(scholar) as stand_in:
        whole = ask_endpoint(filled, stand_in, "--out", "whole.jsonl", "--concurrency", "1")
        num_asked = len(stand_in.bodies)
    assert num_asked == whole["num_requests"]

    def failing(body: dict[str, Any], number: int) -> Reply:
        return scholar(body, number) if number < 5 else (402, {"error": {"message": "out of credit"}}, {})

    argv = ["--generator-model", "m", "--out", "parts.jsonl", "--concurrency", "1"]
    with chat_stand_in(failing) as stand_in:
        message = filled.fails("questions", "--corpus", "c", "--generator", stand_in.url, *argv)
        assert "out of credit" in message
    with chat_stand_in(scholar) as stand_in:
        value = filled.json("questions", "--corpus", "c", "--generator", stand_in.url, *argv)
        assert len(stand_in.bodies) == num_asked - 5
    assert Path("parts.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert {**value, "out": 0, "num_requests": 0} == {**whole, "out": 0, "num_requests": 0}


def test_a_killed_run_goes_on_to_the_same_file(filled: Run, home: Path) -> None:
    with chat_stand_in(scholar) as stand_in:
        ask_endpoint(filled, stand_in, "--out", "whole.jsonl", "--concurrency", "1")
        num_asked = len(stand_in.bodies)

    def slow(body: dict[str, Any], number: int) -> Reply:
        time.sleep(0.1 if number < 4 else 60)
        return scholar(body, number)

    with chat_stand_in(slow) as stand_in:
        flags = ["--generator", stand_in.url, "--generator-model", "m", "--out", "parts.jsonl", "--concurrency", "1"]
        command = [sys.executable, "-m", "lloco", "questions", "--corpus", "c", *flags]
        process = subprocess.Popen(command, env={**os.environ}, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 120
            while len(stand_in.bodies) < 5:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        stand_in.reply = scholar
        before = len(stand_in.bodies)
        with Path("parts.jsonl.replies").open("ab") as torn:
            torn.write(b'["half a li')
        filled.json("questions", "--corpus", "c", *flags)
        assert len(stand_in.bodies) - before == num_asked - 4
    assert Path("parts.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


def test_a_torn_last_line_is_made_again_and_another_file_is_left_alone(filled: Run) -> None:
    argv = ["questions", "--corpus", "c", "--generator", "templates"]
    filled.json(*argv)
    path = Path("questions-c.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert filled.json(*argv)["num_unchanged"] == 1
    assert path.read_bytes() == whole
    for other in ('{"question": "Who?"}', '{"question": "Who?"}\n', "notes"):
        Path("mine.jsonl").write_text(other)
        assert filled(*argv, "--out", "mine.jsonl") == 1
        assert Path("mine.jsonl").read_text() == other
    assert "made with per_span" in filled.fails(*argv, "--per-span", "7")


def test_edited_added_and_removed_documents_alone_are_done_again(filled: Run, docs: Path, compressor: Path) -> None:
    argv = ["questions", "--corpus", "c", "--generator", "templates"]
    filled.json(*argv)
    (docs / "lease.txt").write_text(LEASE.replace("Agnes Webb", "Maud Finch"))
    (docs / "voyage.md").unlink()
    (docs / "note.txt").write_text(
        "The clock of Elmham was made by Peter Vance in 1788 and strikes every hour of the day."
    )
    filled.json("compress", docs, "--corpus", "c", "--compressor", compressor, "--prune", "--quiet")
    value = filled.json(*argv)
    assert (value["num_dropped"], value["num_unchanged"], value["num_documents"]) == (2, 0, 2)
    lines = {line["id"]: line for line in lines_of(Path("questions-c.jsonl"))}
    assert set(lines) == {"lease.txt", "note.txt"} and "Maud Finch" in lines["lease.txt"]["text"]


def test_a_document_too_short_for_questions_is_counted(run: Run, tmp_path: Path, compressor: Path) -> None:
    (tmp_path / "short.txt").write_text("Closed on Monday.")
    (tmp_path / "long.txt").write_text(VOYAGE)
    run.json("compress", tmp_path / "short.txt", tmp_path / "long.txt", "--corpus", "c", "--compressor", compressor)
    value = run.json("questions", "--corpus", "c", "--generator", "templates")
    assert value["num_documents_without"] == 1 and value["num_documents"] == 2
    assert "without a question" in (run("questions", "--corpus", "c", "--generator", "templates") or run.out)


@pytest.mark.parametrize("generator", [None, "m"])
def test_progress_counts_every_reply_and_ends_at_the_total(filled: Run, home: Path, generator: str | None) -> None:
    told: list[tuple[int, int]] = []
    with chat_stand_in(scholar) as stand_in, Store(home) as store:
        corpus = store.corpus("c", create=False)
        endpoint = None if generator is None else Endpoint(stand_in.url, generator)
        search, plan = Retriever.of_corpus(corpus).search, plan_questions(corpus, StudyOptions())
        Study(corpus, endpoint, search, plan, Path("q.jsonl"), lambda now, total: told.append((now, total))).run()
        if endpoint is not None:
            endpoint.close()
        num_asked = len(stand_in.bodies)
    assert {total for _, total in told} == {sum(now for now, _ in told)}
    assert generator is None or len(told) > num_asked / 2


def test_questions_are_spread_over_the_whole_corpus(run: Run, tmp_path: Path, compressor: Path) -> None:
    paragraphs = [
        f"The harbour of Port {name} was dredged in {1800 + number} by the firm of Captain {name} Holt, and it has "
        f"{number + 12} berths for ships. " * 3
        for number, name in enumerate(["Aldo", "Brin", "Cora", "Dell", "Egon", "Fenn", "Gale", "Hilt"])
    ]
    (tmp_path / "ports.txt").write_text("\n\n".join(paragraphs))
    run.json("compress", tmp_path / "ports.txt", "--corpus", "c", "--compressor", compressor, "--quiet")
    value = run.json("questions", "--corpus", "c", "--generator", "templates", "--num", "4")
    [line] = lines_of(Path("questions-c.jsonl"))
    starts = [pair["span"][0] for pair in line["questions"]]
    assert value["num_questions"] == value["num_wanted"] == 4
    assert starts[-1] > len(line["text"]) / 2 and len(set(starts)) == min(4, line["num_spans"])


def test_what_it_takes_is_said_before_and_wrong_flags_are_refused(filled: Run) -> None:
    url = "http://127.0.0.1:9/v1"
    argv = ["questions", "--corpus", "c", "--generator", url]
    estimate = filled.json(*argv, "--generator-model", "m", "--num", "10", "--estimate")
    assert estimate["num_wanted"] == 10 and estimate["num_tokens_in"] > 0
    assert "--generator-model" in filled.fails(*argv, code=2)
    assert "--generator URL" in filled.fails("questions", "--corpus", "c", "--generator-model", "m", code=2)
    assert "no corpus" in filled.fails("questions", "--corpus", "d").lower() or "'d'" in filled.err


def test_a_generator_that_never_writes_a_question_is_given_up(run: Run, tmp_path: Path, compressor: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.txt").write_text(VOYAGE.replace("Petrel", f"Petrel {number}"))
    run.json("compress", *tmp_path.glob("*.txt"), "--corpus", "c", "--compressor", compressor, "--quiet")
    with chat_stand_in(lambda body, number: said("0 0 0 0")) as stand_in:
        argv = ["--corpus", "c", "--generator", stand_in.url, "--generator-model", "m"]
        message = run.fails("questions", *argv)
    assert "wrote no question in its first" in message and "templates" in message
