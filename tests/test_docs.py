"""What the pages say to type exists, runs, and prints what they say it prints; their links lead somewhere."""

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from lloco.cli.main import main
from lloco.models.named import is_smollm2_installed
from tests import pages
from tests.pages import PAGES, ROOT, SCRIPTS

DOCS = {path.name: path for path in PAGES if path.parent == ROOT / "docs"}
NOT_RUN = {
    r"\b(docker|kubectl|make|vllm|torchrun|accelerate|caddy|curl|hf|pip) ": "another program, or several processes",
    r"^(export|cd|source) ": "belongs to such a program",
    r"\b(princeton-nlp|HuggingFaceTB|mistralai|minishlab|rajpurkar|xiuyul|owner|you)/": "the hub",
    r"--engine (ray|vllm)|--device cuda|RAY_ADDRESS=": "a GPU, a cluster or vLLM",
    r"lloco (serve|demo|pretrain)\b": "stays, or takes minutes; tests of their own run them",
    r"lloco bench (compress|finetune|serve)|runs/\w+\.sh|runs/(sizing|results_pages|refine)\.py": "minutes",
    r"lloco chat --corpus contracts$": "asks a person",
    r"lloco import |\bicae\b": "files of others",
    r"--self-study": "minutes; tests/test_cli_self_study.py",
    r"--task (quality|qasper|fairytaleqa)\b|OTHER": "files of a benchmark",
}
"""Commands that are checked to parse, and not run."""
NOT_RUN_PAGES = {
    "serve.md": "questions to a server: tests/server and tests/with_clients ask them",
    "security.md": "a server",
    "pretrain.md": "hours",
    "vllm.md": "a vLLM server",
    "deploy.md": "machines and images; tests/test_deploy.py",
    "demo.md": "minutes; tests/test_cli_evaluate.py",
}
PYTHON_NOT_RUN = re.compile(r"openai|langchain|minishlab|llama_index")
LEASE = "The lease of Mill Lane 4 is signed by Anna Berg. It ends on 31 March 2031."
LOAN = "The loan of 9,000 euros is signed by Paul Lindt. It is paid back by 2029."
QUESTION = {"question": "Who signs the lease?", "answer": "Anna Berg", "document": "lease.txt"}
SALE = {"question": "Who signs the sale?", "answers": ["Ruth Ode"]}
HELD_OUT = {"id": "sale", "text": "The sale of the van is signed by Ruth Ode.", "questions": [SALE]}
FLAGS_OF_OTHERS = {"--enable-prompt-embeds", "--api-key", "--no-deps", "--split"}
PAGES_OF_OTHER_PROGRAMS = {"vllm.md", "deploy.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_blocks_parse(page: Path) -> None:
    for block in pages.blocks(page.read_text()):
        for statement in pages.statements(block.code) if block.is_shell else ():
            for program, argv in pages.calls(statement):
                pages.check_parses(program, argv)
        if block.language == "json":
            json.loads(block.code)
        if block.language == "python":
            compile(block.code, f"{page}:{block.line}", "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_flags_in_sentences_exist(page: Path) -> None:
    known = pages.all_flags() | FLAGS_OF_OTHERS
    flagged = [path for name, path in DOCS.items() if name not in PAGES_OF_OTHER_PROGRAMS]
    for code in pages.INLINE.findall(pages.prose(page.read_text())):
        for program, argv in pages.calls(code):
            if not set(argv) & {"...", "VERB"}:
                pages.check_flags(program, [word for word in argv if "|" not in word])
        if page in flagged and re.fullmatch(r"--[a-z-]+( \S+)?", code):
            assert code.split()[0] in known, code


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_call_verbs_with_flags_that_exist(script: Path) -> None:
    for statement in pages.statements(script.read_text()):
        for program, argv in pages.calls(statement):
            pages.check_flags(program, [word for word in argv if not word.startswith("$")])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", pages.prose(page.read_text())):
        if target.startswith(("http", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else page.parent / path
        assert file.exists(), target
        assert not anchor or anchor in pages.anchors(file.read_text()), target


def test_what_is_not_run_is_still_there() -> None:
    written = "\n".join(
        statement for page in PAGES for block in pages.blocks(page.read_text()) if block.is_shell
        for statement in pages.statements(block.code)
    )  # fmt: skip
    assert [pattern for pattern in NOT_RUN if not re.search(pattern, written, re.MULTILINE)] == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("lloco wibble contracts", "has no wibble"),
        ("lloco ask --wibble 3 question", "wibble"),
        ("lloco compress contracts --corpus c --storage-dtype int3", "int3"),
        ("lloco compress contracts", "--corpus"),
        ("lloco model list more", "more"),
        ("python -m benchmarks store --max-documents few", "few"),
    ],
)
def test_a_command_that_is_wrong_is_found(command: str, reason: str) -> None:
    [(program, argv)] = pages.calls(command)
    with pytest.raises(Exception, match=re.escape(reason)):
        pages.check_parses(program, argv)


def test_prompts_tell_what_is_typed_from_what_is_printed() -> None:
    text = "A.\n\n```\n$ lloco ask \\\n  --corpus c x\nyes\n$ ls\na b\n```\n\n```sh\nls  # all\n```\n\n```\na  b\n```\n"
    console, block = pages.blocks(text)
    assert pages.statements(console.code) == ["lloco ask   --corpus c x", "ls"] and console.output == "yes\na b"
    assert pages.statements(block.code) == ["ls"] and block.output == "a  b\n"
    assert_printed("a  b\nread ... tokens\n", "hello\na b\nread 3 of 9 tokens\n")
    with pytest.raises(AssertionError, match="a b"):
        assert_printed("b\na b", "a b\nb")


class Reader:
    """Types what a page says, in a folder that looks like a clone with the documents of the README."""

    def __init__(self, folder: Path, lloco: Callable[[list[str]], str]) -> None:
        self.folder = folder
        self.lloco = lloco
        self.printed = ""

    def follow(self, page: Path) -> None:
        for block in pages.blocks(page.read_text()):
            self.printed = ""
            if block.language == "python" and not PYTHON_NOT_RUN.search(block.code):
                self._run_python(block.code)
            elif block.is_shell:
                self._run_shell(block)
            if block.output and self.printed and is_smollm2_installed():
                assert_printed(block.output, self.printed)

    def _run_python(self, code: str) -> None:
        said = io.StringIO()
        with redirect_stdout(said):
            exec(compile(code, "page", "exec"), {})
        self.printed = said.getvalue()

    def _run_shell(self, block: pages.Block) -> None:
        for statement in pages.statements(block.code):
            if not any(re.search(pattern, statement.strip()) for pattern in NOT_RUN):
                self.printed += self._typed(statement.strip())

    def _typed(self, statement: str) -> str:
        if statement.startswith("lloco ") and not re.search(r"[<>|&;]", statement):
            [(_, argv)] = pages.calls(statement)
            return self.lloco(argv)
        command = re.sub(r"^lloco\b", "python -m lloco", statement)
        command = re.sub(r"^python\b", sys.executable, command)
        done = subprocess.run(["bash", "-ec", command], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (statement, done.stderr)
        return done.stdout + done.stderr


def assert_printed(expected: str, printed: str) -> None:
    """Raise where a line of the page was not printed, in its order; a run of spaces is one, `...` is anything."""
    lines = [re.sub(r"\s+", " ", line).strip() for line in printed.splitlines()]
    for line in filter(None, (re.sub(r"\s+", " ", line).strip() for line in expected.splitlines())):
        wanted = re.compile(".*".join(map(re.escape, line.split("..."))))
        at = next((index for index, found in enumerate(lines) if wanted.fullmatch(found)), None)
        assert at is not None, (line, printed)
        lines = lines[at + 1 :]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a clone's root, with two documents, questions about them, and their corpus in `home`."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("recipes", "runs", "lloco", "benchmarks", "results"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "contracts").mkdir()
    (folder / "contracts" / "lease.txt").write_text(LEASE + "\n")
    (folder / "contracts" / "loan.txt").write_text(LOAN + "\n")
    (folder / "questions.jsonl").write_text(json.dumps(QUESTION) + "\n")
    (folder / "more.jsonl").write_text(json.dumps(QUESTION) + "\n")
    (folder / "held_out.jsonl").write_text(json.dumps(HELD_OUT) + "\n")
    (folder / "questions.txt").write_text("Who signs the lease?\n")
    return folder


@pytest.fixture
def reader(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[bool], Reader]:
    if is_smollm2_installed():
        monkeypatch.delenv("LLOCO_MODEL", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def lloco(argv: list[str]) -> str:
        capsys.readouterr()
        code = main(argv)
        out, err = capsys.readouterr()
        assert code == 0, (argv, err)
        return out + err

    def made(is_filled: bool) -> Reader:
        folder = tmp_path / "clone"
        monkeypatch.setenv("LLOCO_HOME", str(folder / "home"))
        shutil.copytree(clone, folder, symlinks=True)
        if not is_filled:
            shutil.rmtree(folder / "contracts")
        monkeypatch.chdir(folder)
        if is_filled and not (clone / "home").exists():
            lloco(["compress", "contracts", "--corpus", "contracts", "--quiet"])
            shutil.copytree(folder / "home", clone / "home")
        return Reader(folder, lloco)

    return made


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:.*unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_readme_runs_as_typed(reader: Callable[[bool], Reader]) -> None:
    reader(False).follow(ROOT / "README.md")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(set(DOCS) - set(NOT_RUN_PAGES)))
def test_a_page_runs_as_typed(name: str, reader: Callable[[bool], Reader]) -> None:
    if any(block.is_shell or block.language == "python" for block in pages.blocks(DOCS[name].read_text())):
        reader(True).follow(DOCS[name])
