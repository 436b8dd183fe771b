"""`lloco ask` and `lloco chat`: answers with their sources, and models and adapters that do not fit."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
import torch

from lloco.answer.corpus_decoder import load_corpus_decoder
from lloco.cli.output import Output, printable
from lloco.engine.streaming import StreamingEngine
from lloco.models.named import MINILM_WHEEL
from lloco.prompts.prompt import Prompt
from tests.command import QUICK, Run, raiser, write_lines
from tests.corpora import LEASE, VOYAGE, save_chat_model, save_compressor
from tests.embedders import save_synonym_embedder
from tests.tiny import tiny_tokenizer

pytestmark = pytest.mark.usefixtures("home")
VOYAGE_IDS = tiny_tokenizer()(VOYAGE)["input_ids"]


def test_ask_answers_and_says_what_it_read(filled: Run) -> None:
    assert filled("ask", "--corpus", "c", "Who was master of the Petrel?", "--max-tokens", "4") == 0
    assert "from voyage.md" in filled.out
    assert "virtual tokens instead of" in filled.out
    value = filled.json("ask", "--corpus", "c", "Who was master of the Petrel?", "--max-tokens", "4")
    assert value["documents"][0]["document_id"] == "voyage.md"
    assert value["num_virtual_tokens"] < value["num_document_tokens"]
    pinned = filled.json("ask", "--corpus", "c", "Who?", "--document", "lease.txt", "--max-tokens", "4")
    assert pinned["documents"][0]["document_id"] == "lease.txt"


def test_ask_finds_by_meaning_with_an_embedder(filled: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["ask", "--corpus", "c", "Which vessel?", "--max-tokens", "2"]
    assert "has a word of" in filled.fails(*argv)
    embedder = save_synonym_embedder(tmp_path / "embedder")
    [found] = filled.json(*argv, "--embedder", embedder)["documents"]
    assert found["document_id"] == "voyage.md" and "brig" in found["text"]
    [found] = filled.json(*argv, "--embedder", embedder, "--retrieval", "dense", "--document", "voyage.md")["documents"]
    assert "brig" in found["text"] and found["score"] > 0.5
    monkeypatch.setattr("lloco.models.unpacked.MINILM_WHEEL", replace(MINILM_WHEEL, package="nowhere"))
    monkeypatch.setenv("LLOCO_CACHE", str(tmp_path / "cache"))
    assert "minilm is not installed" in filled.fails(*argv, "--retrieval", "dense")
    assert "words alone" in filled.fails(*argv, "--retrieval", "bm25", "--embedder", embedder, code=2)
    assert "cannot be read as a sentence-transformers or model2vec model" in filled.fails(*argv, "--embedder", tmp_path)


def test_ask_reads_no_more_virtual_tokens_than_it_may(filled: Run) -> None:
    argv = ["ask", "--corpus", "c", "Who was master of the Petrel?", "--max-tokens", "2"]
    whole = filled.json(*argv)
    part = filled.json(*argv, "--max-virtual-tokens", whole["num_virtual_tokens"] - 1)
    assert whole["is_whole"] and not part["is_whole"]
    assert 0 < part["num_virtual_tokens"] < whole["num_virtual_tokens"]
    passage = filled.json(*argv, "--unit", "passage")
    assert [document["text"] for document in passage["documents"]] == [
        document["text"] for document in whole["documents"]
    ]
    assert "--unit" in filled.fails(*argv, "--unit", "page", code=2)
    assert "raise --max-virtual-tokens" in filled.fails(*argv, "--max-virtual-tokens", 1)


@pytest.fixture
def moved(filled: Run, compressor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The corpus, made by a compressor that is gone."""
    gone = tmp_path / "gone"
    shutil.copytree(compressor, gone)
    filled.json("compress", tmp_path / "docs", "--corpus", "text", "--compressor", gone, "--quiet")
    shutil.rmtree(gone)
    monkeypatch.setattr("lloco.models.named.RECORDS_FOLDER", gone)
    return filled


def test_text_is_read_by_any_model_without_a_compressor(moved: Run, tmp_path: Path) -> None:
    model = save_chat_model(tmp_path / "chat")
    argv = ["ask", "--corpus", "text", "Who was master of the Petrel?", "--max-tokens", "2"]
    assert "if it has moved" in moved.fails(*argv)
    for mode in ("full", "retrieval"):
        value = moved.json(*argv, "--mode", mode, "--model", model)
        assert (value["mode"], value["num_virtual_tokens"], value["adapter"]) == (mode, 0, None)
        assert value["num_context_tokens"] > 0 and value["documents"][0]["document_id"] == "voyage.md"
    assert moved.json(*argv, "--mode", "retrieval", "--budget", 9, "--model", model)["num_context_tokens"] == 9
    assert moved(*argv, "--mode", "full", "--model", model) == 0
    assert f"read {len(VOYAGE_IDS)} tokens of text (the whole text), without an adapter" in moved.out
    assert moved(*argv, "--mode", "retrieval", "--budget", 9, "--model", model) == 0
    assert f"read 9 tokens of text (passages of {len(VOYAGE_IDS)} document tokens)" in moved.out
    refused = moved.fails(*argv, "--mode", "full", "--budget", 9, code=2)
    assert "it is for --mode hybrid and retrieval, got --mode full" in refused
    assert "choose one of compressed, hybrid, full, retrieval" in moved.fails(*argv, "--mode", "none", code=2)


def test_chat_reads_text_by_any_model_with_earlier_turns_as_turns(
    moved: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[Prompt] = []
    submit = StreamingEngine.submit

    def noting(engine: StreamingEngine, prompt: Prompt, *args: Any, **kwargs: Any) -> Any:
        prompts.append(prompt)
        return submit(engine, prompt, *args, **kwargs)

    monkeypatch.setattr(StreamingEngine, "submit", noting)
    lines = iter(["Who signed the lease?", "And the Petrel?", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    model = save_chat_model(tmp_path / "chat")
    argv = ["chat", "--corpus", "text", "--mode", "full", "--model", model, "--turns", "1", "--max-tokens", "4"]
    assert moved(*argv, "--json") == 0
    first, second = [json.loads(line) for line in moved.out.splitlines()]
    texts = [str(tiny_tokenizer().decode(torch.cat(prompt.pieces))) for prompt in prompts]
    assert "error" not in second and first["answer"]
    begin, turns = texts[1].split("Who signed the lease?")
    assert begin == f"<s><system>\nAnswer in a few words.<end_of_turn>\n<user>\n{VOYAGE}\n\n"
    answer = first["answer"].strip()
    assert (
        turns == f"<end_of_turn>\n<assistant>\n{answer}<end_of_turn>\n<user>\nAnd the Petrel?<end_of_turn>\n<model>\n"
    )


def test_an_adapter_of_another_model_is_left_out_of_reading_text_and_that_is_said(filled: Run, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    digest = filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)["adapter_digest"]
    argv = ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2", "--mode", "full"]
    assert filled.json(*argv)["adapter"] == digest
    model = save_chat_model(tmp_path / "chat")
    assert filled.json(*argv, "--model", model)["adapter"] is None
    assert f"corpus c's adapter was not trained on {model}: text is read without it" in filled.err
    named = filled.fails(*argv, "--model", model, "--adapter", Path("finetune-c") / "adapter")
    assert "was made for" in named


def test_a_wording_that_the_adapter_did_not_learn_is_told_of(filled: Run, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)
    argv = ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2", "--template"]
    assert filled(*argv, "summarize") == 0
    assert "was trained with wording 'default', --template summarize is another" in filled.err
    assert filled(*argv, "default") == 0
    assert "warning" not in filled.err
    assert "asks for a chat template" in filled.fails(*argv, "short_answer")


def test_ask_says_whether_an_adapter_read(filled: Run, tmp_path: Path) -> None:
    argv = ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2"]
    assert filled(*argv) == 0
    assert "without an adapter" in filled.out and filled.err.count("records") == 0
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    digest = filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)["adapter_digest"]
    assert filled(*argv) == 0
    assert f"with adapter {digest[:12]}" in filled.out


def test_answers_of_the_records_model_come_with_a_hint_of_what_it_is(
    run: Run, docs: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lloco.models.named.RECORDS_FOLDER", compressor)
    run.json("compress", docs, "--corpus", "c")
    argv = ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2"]
    assert run(*argv) == 0
    [hint] = [line for line in run.err.splitlines() if "records cannot read ordinary English" in line]
    assert "tiny" in hint and "--compressor" in hint
    assert run(*argv, "--quiet") == 0
    assert run.err == ""
    lines = iter(["Who signed?", "Who was lost?"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines, "/quit"))
    assert run("chat", "--corpus", "c", "--max-tokens", "2") == 0
    assert run.err.count("ordinary English") == 1


def test_an_adapter_of_the_hub_is_named_by_its_id(
    filled: Run, tmp_path: Path, qa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    digest = filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)["adapter_digest"]
    repository = tmp_path / "models--owner--adapter"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(Path("finetune-c") / "adapter", repository / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2", "--adapter"]
    assert filled.json(*asked, "owner/adapter")["adapter"] == digest
    predicted = ["predict", "--task", "jsonl", "--data", qa, "--corpus", "c", "--max-tokens", "2", "--adapter"]
    assert filled.json(*predicted, "owner/adapter")["adapter"] is not None
    assert "the hub did not give owner/absent" in filled.fails(*asked, "owner/absent")
    assert "give an existing folder or a hub id" in filled.fails(*asked, "nowhere")


def test_ask_explains_what_it_cannot_find(filled: Run, tmp_path: Path) -> None:
    assert "has c:" in filled.fails("ask", "--corpus", "nope", "Who?")
    assert "has no document" in filled.fails("ask", "--corpus", "c", "Who?", "--document", "nope.txt")
    assert "has a word of" in filled.fails("ask", "--corpus", "c", "Xyzzy?")
    wide = save_compressor(tmp_path / "wide", hidden_size=64, head_dim=16)
    assert "64 wide" in filled.fails("ask", "--corpus", "c", "Who signed?", "--model", wide)
    (tmp_path / "adapter").mkdir()
    assert "adapter" in filled.fails("ask", "--corpus", "c", "Who signed?", "--adapter", tmp_path / "adapter")


def test_ask_holds_models_of_the_same_width_to_the_corpuss(filled: Run, compressor: Path, tmp_path: Path) -> None:
    argv = ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2"]
    other = save_compressor(tmp_path / "other", seed=1)
    assert str(other) in filled.fails(*argv, "--model", other)
    assert str(other) in filled.fails(*argv, "--compressor", other)
    there = tmp_path / "there"
    shutil.copytree(compressor, there)
    assert filled(*argv, "--compressor", there) == filled(*argv, "--model", there) == 0


def test_an_adapter_of_another_model_is_refused_by_its_names_and_widths_before_that_model_is_looked_for(
    filled: Run, docs: Path, tmp_path: Path
) -> None:
    wide = save_compressor(tmp_path / "wide", hidden_size=64, head_dim=16)
    filled.json("compress", docs, "--corpus", "w", "--compressor", wide)
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    filled.json("finetune", "--corpus", "w", "--data", lines, *QUICK)
    adapter = Path("finetune-w") / "adapter"
    origin = json.loads((adapter / "lloco.json").read_text())
    (adapter / "lloco.json").write_text(json.dumps({**origin, "base_model": "owner/elsewhere"}))
    argv = ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2", "--adapter", adapter]
    message = filled.fails(*argv)
    assert "was made for owner/elsewhere (64 wide), corpus 'c' holds soft prompts of" in message
    assert "(48 wide): use an adapter of that model, or make one with `lloco finetune --corpus c`" in message
    (adapter / "lloco.json").write_text(json.dumps({**origin, "base_model": "owner/elsewhere", "hidden_size": 48}))
    assert "; the adapter that is to read it was made with it: if it has moved" in filled.fails(*argv)


def test_an_adapter_that_names_another_model_of_its_shapes_is_told_of(filled: Run, tmp_path: Path, qa: Path) -> None:
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)
    adapter = Path("finetune-c") / "adapter"
    (adapter / "lloco.json").unlink()
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "owner/other"}))
    reading = ["--task", "jsonl", "--data", qa, "--corpus", "c", "--max-tokens", "2", "--adapter", adapter]
    for argv in (
        ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2", "--adapter", adapter],
        ["predict", *reading],
        ["evaluate", *reading, "--modes", "compressed"],
        ["finetune", "--corpus", "c", "--data", lines, "--adapter", adapter, "--out", "again", *QUICK],
    ):
        assert filled(*argv) == 0, filled.err
        [warning] = [line for line in filled.err.splitlines() if "warning" in line]
        assert "names owner/other as its model" in warning


def test_an_adapter_without_its_wording_is_told_of_and_takes_a_template(
    filled: Run, tmp_path: Path, qa: Path, compressor: Path
) -> None:
    lines = write_lines(tmp_path / "f.jsonl", {"question": "Who?", "answer": "Webb", "document": "lease.txt"})
    filled.json("finetune", "--corpus", "c", "--data", lines, *QUICK)
    adapter = Path("finetune-c") / "adapter"
    given = (adapter / "template.json").rename(tmp_path / "given.json")
    reading = ["--task", "jsonl", "--data", qa, "--compressor", compressor, "--max-tokens", "2", "--adapter", adapter]
    for argv in (
        ["ask", "--corpus", "c", "Who signed?", "--max-tokens", "2", "--adapter", adapter],
        ["predict", *reading],
        ["evaluate", *reading, "--modes", "compressed"],
    ):
        assert filled(*argv) == 0, filled.err
        assert "has no template.json" in filled.err
        for name in (given, "default"):
            again = ["--out", f"again-{argv[0]}-{Path(name).stem}"] if argv[0] != "ask" else []
            assert filled(*argv, "--template", name, *again) == 0, filled.err
            assert "has no template.json" not in filled.err
    assert "no template is named 'nope'" in filled.fails("predict", *reading, "--template", "nope")


def test_nothing_in_an_answer_or_a_title_reaches_the_terminal_as_a_command() -> None:
    assert printable("a\x1b[2Jb\rc\x07\td\n\x9bé水") == "a�[2Jb�c�\td\n�é水"
    turned = "\N{RIGHT-TO-LEFT OVERRIDE}\N{LEFT-TO-RIGHT ISOLATE}\ud800"
    assert printable(turned) == "�" * 3


def test_spaces_and_joiners_of_any_script_are_printed() -> None:
    text = "100\N{NO-BREAK SPACE}€ 水\N{IDEOGRAPHIC SPACE}火 نمی\N{ZERO WIDTH NON-JOINER}خواهم co\N{SOFT HYPHEN}op"
    assert printable(text) == text


def test_an_id_that_holds_commands_is_printed_without_them(run: Run, compressor: Path, tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "d.jsonl", {"id": "a\x1b[2Jb", "title": "", "text": LEASE})
    run.json("compress", lines, "--corpus", "c", "--compressor", compressor)
    assert run("ask", "--corpus", "c", "Who signed?", "--max-tokens", "2") == 0
    assert "from a�[2Jb" in run.out and "\x1b" not in run.out


def test_as_many_documents_as_there_are_are_read_however_many_are_asked_for(filled: Run) -> None:
    argv = ["ask", "--corpus", "c", "Who signed the lease of the brig?", "--max-tokens", "2", "--top-k"]
    assert filled.json(*argv, 2**31 - 1)["documents"] == filled.json(*argv, 2)["documents"]


def test_a_question_that_is_no_text_is_refused_and_chat_goes_on_after_it(
    filled: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is not valid Unicode" in filled.fails("ask", "--corpus", "c", "caf\udce9?")
    typed = "Qui a signé?\n".encode("latin-1") + b"Who signed the lease?\n"
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(typed), encoding="utf-8"))
    assert filled("chat", "--corpus", "c", "--max-tokens", "2", "--json") == 0
    failed, answered = [json.loads(line) for line in filled.out.splitlines()]
    assert "is not valid Unicode" in failed["error"] and answered["corpus"] == "c"


def test_chat_finds_what_another_process_adds_meanwhile(
    filled: Run, docs: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def typed() -> Iterator[str]:
        yield "Where is the zeppelin?"
        (docs / "new.txt").write_text("The zeppelin is moored in Bremen.")
        arguments = [sys.executable, "-m", "lloco", "compress", docs, "--corpus", "c", "--compressor", compressor]
        subprocess.run(arguments, check=True, capture_output=True)
        yield "Where is the zeppelin?"
        yield "/quit"

    lines = typed()
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert filled("chat", "--corpus", "c", "--max-tokens", "2", "--json") == 0
    before, after = [json.loads(line) for line in filled.out.splitlines()]
    assert "has a word of" in before["error"] and after["documents"][0]["document_id"] == "new.txt"


def test_corpora_of_one_decoder_share_it(
    filled: Run, docs: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.json("compress", docs / "voyage.md", "--corpus", "ships", "--compressor", compressor)
    loaded: list[str] = []
    monkeypatch.setattr(
        "lloco.answer.corpus_decoder.load_corpus_decoder",
        lambda corpus, *args, **kwargs: loaded.append(corpus.name) or load_corpus_decoder(corpus, *args, **kwargs),
    )
    lines = iter(["/corpus ships", "Who was lost?", "/corpus c", "Who signed the lease?", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert filled("chat", "--max-tokens", "2") == 0
    assert filled.out.count("corpus ships") and loaded == ["ships"]


def test_chat_answers_until_it_is_told_to_quit(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter(["/sources", "", "Who signed the lease?", "/sources", "/shout", "Xyzzy?", "/quit", "never"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert filled("chat", "--corpus", "c", "--max-tokens", "4") == 0
    assert filled.out.startswith("nothing has been read yet")
    for words in ("from lease.txt", "there is no /shout", "error: no document of corpus 'c' has a word of 'Xyzzy?'"):
        assert words in filled.out
    assert next(lines) == "never"


def test_chat_for_machines_prints_an_object_per_question_and_nothing_else(
    filled: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter(["/sources", "", "Who signed the lease?", "/sources", "/shout", "Xyzzy?"])
    prompts: list[str] = []

    def typed(prompt: str) -> str:
        prompts.append(prompt)
        return next(lines, "/quit")

    monkeypatch.setattr("builtins.input", typed)
    assert filled("chat", "--corpus", "c", "--max-tokens", "4", "--json") == 0
    answered, failed = [json.loads(line) for line in filled.out.splitlines()]
    asked = filled.json("ask", "--corpus", "c", "--max-tokens", "4", "Who signed the lease?")
    assert answered == asked
    assert failed["question"] == "Xyzzy?" and "has a word of" in failed["error"]
    assert set(prompts) == {""}


def test_chat_reads_what_was_said_before_only_as_far_as_it_is_told_to(
    filled: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(*flags: object) -> list[dict[str, Any]]:
        lines = iter(["Who signed the lease?", "Who is Crane?", "/new", "Who is Crane?", "/quit"])
        monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
        assert filled("chat", "--corpus", "c", "--max-tokens", "12", "--json", *flags) == 0
        return [json.loads(line) for line in filled.out.splitlines()]

    _, second, again = answers()
    assert second == again
    _, second, again = answers("--turns", 2)
    assert second["answer"] != again["answer"]
    assert second["documents"] == again["documents"]


def test_chat_about_one_document_stays_in_its_corpus(
    filled: Run, docs: Path, compressor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.json("compress", docs / "voyage.md", "--corpus", "ships", "--compressor", compressor)
    lines = iter(["/corpus c ships", "Who signed?", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert filled("chat", "--corpus", "c", "--document", "lease.txt", "--max-tokens", "2") == 0
    assert "error: --document is in one corpus" in filled.out and "read 24 virtual tokens" in filled.err


def test_chat_shows_and_chooses_the_corpora(filled: Run, docs: Path, compressor: Path, monkeypatch: Any) -> None:
    filled.json("compress", docs / "voyage.md", "--corpus", "ships", "--compressor", compressor)
    lines = iter(["/corpus ships", "Who was lost?", "/corpus nope", "/corpus all", "Who signed the lease?", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert filled("chat", "--corpus", "c", "--max-tokens", "2") == 0
    shown = filled.out.splitlines()
    assert shown[0] == "corpus ships: 1 documents"
    assert any(line.startswith("error: ") and "nope" in line for line in shown)
    assert shown.count("corpus ships: 1 documents") == 2 and "corpus c: 2 documents" in shown
    assert "by the passages found" in filled.err


def test_an_answer_is_printed_as_it_grows_and_an_interrupt_ends_it_alone(
    filled: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = filled.json("ask", "--corpus", "c", "Who signed the lease?", "--max-tokens", "40")["answer"]
    pieces: list[str] = []
    monkeypatch.setattr(Output, "piece", lambda self, text: pieces.append(text))
    assert filled("ask", "--corpus", "c", "Who signed the lease?", "--max-tokens", "40") == 0
    assert len(pieces) > 4 and "".join(pieces) == whole

    def interrupt(self: Output, text: str) -> None:
        pieces.append(text)
        if len(pieces) == 3:
            raise KeyboardInterrupt

    pieces.clear()
    monkeypatch.setattr(Output, "piece", interrupt)
    lines = iter(["Who signed the lease?", "Who signed the lease?", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert filled("chat", "--corpus", "c", "--max-tokens", "40") == 0
    assert "(interrupted)" in filled.out
    assert "".join(pieces[3:]) == whole


def test_chat_ends_with_its_input(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", raiser(EOFError()))
    assert filled("chat", "--corpus", "c") == 0


def test_a_chat_too_long_to_be_read_again_says_how_to_go_on(filled: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    question = "Who was master of the Petrel? " * 12
    lines = iter([question, question, "/new", question, "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert filled("chat", "--corpus", "c", "--turns", "5", "--json", "--max-tokens", "2") == 0
    first, second, third = map(json.loads, filled.out.splitlines())
    assert ("error" in first, "error" in third) == (False, False)
    assert "--turns" in second["error"] and "/new" in second["error"]
