"""Folders, files and JSON lines become documents in order, or are reported with the reason."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from reading import read, read_one, refuse

from lloco.documents.document import Document, read_documents
from lloco.errors import DocumentError

# -- the document ------------------------------------------------------------------------------------------------------


def test_the_digest_is_the_sha256_of_the_text_alone() -> None:
    document = Document("a", "größe", title="T", source="s")
    assert document.digest == hashlib.sha256("größe".encode()).hexdigest()
    assert document.digest == Document("b", "größe").digest
    assert document.digest != Document("a", "grösse").digest


def test_the_digest_of_a_lone_surrogate_is_a_document_error_that_says_where() -> None:
    with pytest.raises(DocumentError, match=r"'a'.*character 3.*U\+D800"):
        _ = Document("a", "abc\ud800").digest


def test_importing_documents_loads_no_reader_of_a_foreign_format() -> None:
    code = "import sys, lloco.documents; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "lloco.documents" in loaded
    assert {"pypdf", "pypdfium2", "openpyxl", "striprtf", "lxml", "charset_normalizer"}.isdisjoint(loaded)


# -- folders -----------------------------------------------------------------------------------------------------------


def write(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}")


def test_a_folder_is_read_recursively_in_sorted_order_with_ids_relative_to_it(tmp_path: Path) -> None:
    write(tmp_path, "b.txt", "a/z.txt", "a/b/c.md", "c.txt", "B2.txt")
    documents, skipped = read(tmp_path)
    assert [document.id for document in documents] == ["B2.txt", "a/b/c.md", "a/z.txt", "b.txt", "c.txt"]
    assert [document.text for document in documents][1] == "text of a/b/c.md"
    assert documents[2].source == (tmp_path / "a/z.txt").as_posix()
    assert skipped == []


def test_every_file_is_counted_read_or_not(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "b/c.md", "photo.jpg")
    counts: list[tuple[int, int]] = []
    paths = [tmp_path, tmp_path / "a.txt"]
    with pytest.raises(DocumentError, match="occurs twice"):
        list(read_documents(paths, on_skip=lambda _: None, on_files=lambda now, total: counts.append((now, total))))
    assert counts == [(1, 4)] * 3


def test_a_file_given_alone_has_its_name_as_id_and_paths_keep_their_order(tmp_path: Path) -> None:
    write(tmp_path, "a/x.txt", "a/b.txt", "z.txt")
    documents, _ = read(tmp_path / "z.txt", tmp_path / "a")
    assert [document.id for document in documents] == ["z.txt", "b.txt", "x.txt"]


def test_hidden_files_and_folders_are_left_out_unless_named(tmp_path: Path) -> None:
    write(tmp_path, ".hidden.txt", ".git/notes.txt", "seen.txt")
    assert [document.id for document in read(tmp_path)[0]] == ["seen.txt"]
    assert [document.id for document in read(tmp_path / ".git")[0]] == ["notes.txt"]
    assert [document.id for document in read(tmp_path / ".hidden.txt")[0]] == [".hidden.txt"]


def test_symbolic_link_loops_end_and_are_reported(tmp_path: Path) -> None:
    write(tmp_path, "root/a/x.txt", "root/b/y.txt")
    (tmp_path / "root/a/up").symlink_to(tmp_path / "root", target_is_directory=True)
    (tmp_path / "root/a/above").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "root/a/aside").symlink_to(tmp_path / "root/b", target_is_directory=True)
    (tmp_path / "root/itself").symlink_to("itself")
    (tmp_path / "root/lost.txt").symlink_to("nowhere.txt")
    documents, skipped = read(tmp_path / "root")
    assert [document.id for document in documents] == ["a/x.txt", "b/y.txt"]
    assert [Path(entry.source).name for entry in skipped] == ["above", "aside", "up", "itself", "lost.txt"]
    assert all("read at its own place" in entry.reason for entry in skipped[:3])
    assert all("cannot be read" in entry.reason for entry in skipped[3:])


def test_links_out_of_the_folder_are_not_followed_and_reported(tmp_path: Path) -> None:
    write(tmp_path, "root/a.txt", "outside/o.txt", "single.txt")
    (tmp_path / "outside/back").symlink_to(tmp_path / "outside", target_is_directory=True)
    (tmp_path / "root/link").symlink_to(tmp_path / "outside", target_is_directory=True)
    (tmp_path / "root/file.txt").symlink_to(tmp_path / "single.txt")
    documents, skipped = read(tmp_path / "root")
    assert [document.id for document in documents] == ["a.txt"]
    assert [Path(entry.source).name for entry in skipped] == ["file.txt", "link"]
    assert all("out of the folder" in entry.reason for entry in skipped)
    assert [document.id for document in read(tmp_path / "root/link", tmp_path / "root/file.txt")[0]] == [
        "o.txt",
        "file.txt",
    ]


def test_what_cannot_be_read_in_a_folder_is_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    write(tmp_path, "good.txt", "picture.png", "README")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "blank.md").write_text(" \n\t\n")
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)) * 10)
    os.mkfifo(tmp_path / "pipe.txt")
    documents, skipped = read(tmp_path)
    assert [document.id for document in documents] == ["README", "good.txt"]
    reasons = {Path(entry.source).name: entry.reason for entry in skipped}
    assert set(reasons) == {"picture.png", "empty.txt", "blank.md", "binary.txt", "pipe.txt"}
    assert "unsupported" in reasons["picture.png"] and ".docx" in reasons["picture.png"]
    assert "empty" in reasons["empty.txt"] and "empty" in reasons["blank.md"]
    assert "binary" in reasons["binary.txt"]
    assert "not a regular file" in reasons["pipe.txt"]


@pytest.mark.parametrize("name", ["a.png", "a.txt"])
def test_a_file_named_explicitly_is_reported_in_the_same_way(tmp_path: Path, name: str) -> None:
    assert refuse(tmp_path / name, b"") != ""


def test_a_file_name_that_is_not_utf8_is_reported_printably(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    try:
        path.write_text("text")
    except OSError:
        pytest.skip("this file system has only UTF-8 names")
    documents, skipped = read(tmp_path)
    assert documents == []
    assert "not valid UTF-8" in skipped[0].reason
    assert skipped[0].source.encode().endswith(b"caf\\udce9.txt")


def test_a_folder_or_file_without_permission_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "closed/a.txt", "locked.txt", "open.txt")
    iterdir, open_ = Path.iterdir, Path.open

    def refuse_closed(self: Path) -> object:
        if self.name == "closed":
            raise PermissionError(13, "Permission denied")
        return iterdir(self)

    def refuse_locked(self: Path, *args: object, **options: object) -> object:
        if self.name == "locked.txt":
            raise PermissionError(13, "Permission denied")
        return open_(self, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "iterdir", refuse_closed)
    monkeypatch.setattr(Path, "open", refuse_locked)
    documents, skipped = read(tmp_path)
    assert [document.id for document in documents] == ["open.txt"]
    assert [(Path(entry.source).name, "Permission denied" in entry.reason) for entry in skipped] == [
        ("closed", True),
        ("locked.txt", True),
    ]


@pytest.mark.parametrize("name", ["missing.txt", "missing/", "nul\0byte.txt"])
def test_a_missing_path_is_an_error_before_anything_is_read(tmp_path: Path, name: str) -> None:
    write(tmp_path, "good.txt")
    with pytest.raises(DocumentError, match=r"cannot be found.*check the path"):
        read_documents([tmp_path / "good.txt", tmp_path / name], on_skip=lambda _: None)


def test_ids_that_occur_twice_are_an_error_naming_both_places(tmp_path: Path) -> None:
    write(tmp_path, "a/same.txt", "b/same.txt")
    with pytest.raises(DocumentError) as error:
        read(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a/same.txt").as_posix() in str(error.value)
    assert (tmp_path / "b/same.txt").as_posix() in str(error.value)
    lines = tmp_path / "c.jsonl"
    lines.write_text('{"id": "x", "text": "one"}\n{"id": "same.txt", "text": "two"}\n')
    with pytest.raises(DocumentError, match=r"'same.txt' occurs twice: in .*a/same.txt and in .*c.jsonl:2"):
        read(tmp_path / "a", lines)


# -- JSON lines --------------------------------------------------------------------------------------------------------


def json_lines(*fields: object) -> str:
    return "".join(json.dumps(line) + "\n" for line in fields)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_json_lines_give_a_document_each_and_other_fields_are_ignored(tmp_path: Path, name: str) -> None:
    content = json_lines(
        {"id": "1", "title": "One", "text": "first\r\ntext é", "questions": [{"question": "q"}], "source": 5},
        {"id": "2", "text": "second"},
        {"id": "3", "text": "third", "title": None},
    ).replace("\n", "\n\n", 1)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith("gz") else b"\xef\xbb\xbf" + content.encode())
    documents, skipped = read(path)
    assert documents == [
        Document("1", "first\ntext é", "One", f"{path.as_posix()}:1"),
        Document("2", "second", "", f"{path.as_posix()}:3"),
        Document("3", "third", "", f"{path.as_posix()}:4"),
    ]
    assert skipped == []


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"{broken", "not valid JSON at its column 2 ("),
        (b'{"id": "a", "text": "cut', "not valid JSON at its column 25 ("),
        (b'{"id": "a", "text": "caf\xe9"}', "not UTF-8 at its byte 24"),
        (b"[1, 2]", "a JSON list, not an object"),
        (b'{"text": "t"}', 'field "id" is missing'),
        (b'{"id": "a"}', 'field "text" is missing'),
        (b'{"id": 7, "text": "t"}', 'field "id" is a int, not a string'),
        (b'{"id": " ", "text": "t"}', 'field "id" is empty'),
        (b'{"id": "a", "text": ["t"]}', 'field "text" is a list'),
        (b'{"id": "a", "text": "t", "title": 3}', 'field "title" is a int'),
        (b'{"id": "a", "text": "ab\\ud800"}', 'field "text" has a lone surrogate'),
        (b'{"id": "a\\udfff", "text": "ab"}', 'field "id" has a lone surrogate'),
        (b"[" * 200_000, "not valid JSON"),
        (b"1" * 10_000, "not valid JSON"),
    ],
)
def test_a_broken_line_is_an_error_naming_file_and_line(tmp_path: Path, line: bytes, what: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "ok", "text": "fine"}\n' + line + b"\n")
    for place in (path, tmp_path):
        with pytest.raises(DocumentError) as error:
            read(place)
        assert f"{path}, line 2 must be" in str(error.value) and what in str(error.value)
        assert "repair or remove" in str(error.value)


def test_a_surrogate_pair_in_a_json_string_is_one_character(tmp_path: Path) -> None:
    assert read_one(tmp_path / "a.jsonl", '{"id": "a", "text": "\\ud83d\\ude00"}').text == "\U0001f600"


def test_lines_without_text_or_over_the_limit_are_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [{"id": "a", "text": ""}, {"id": "b", "text": "nul\0"}, {"id": "c", "text": "x" * 300}]
    path.write_text(json_lines(*lines, {"id": "d", "text": "good"}))
    documents, skipped = read(path, max_bytes=200)
    assert [document.id for document in documents] == ["d"]
    assert [entry.source.rpartition(":")[2] for entry in skipped] == ["1", "2", "3"]
    assert "empty" in skipped[0].reason and "NUL" in skipped[1].reason and "200 bytes" in skipped[2].reason


def test_a_json_lines_file_may_be_larger_than_one_document_may(tmp_path: Path) -> None:
    content = json_lines(*({"id": str(i), "text": f"text {i} {random.Random(i).random()}"} for i in range(100)))
    (tmp_path / "a.jsonl").write_text(content)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(content.replace('"id": "', '"id": "b').encode()))
    assert len(read(tmp_path, max_bytes=200)[0]) == 200


def test_a_cut_gzip_of_json_lines_is_an_error_naming_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    lines = json_lines(*({"id": str(i), "text": str(random.Random(i).random())} for i in range(50)))
    path.write_bytes(gzip.compress(lines.encode())[:-200])
    with pytest.raises(DocumentError, match=r"a.jsonl.gz, line \d+ must be .* the gzip file is damaged or cut"):
        read(path)
    path.write_bytes(b"no gzip at all")
    with pytest.raises(DocumentError, match=r"line 1 must be .* the gzip file is damaged"):
        read(path)


@pytest.mark.parametrize("filler", [b"a", b"\n"])
def test_a_gzip_bomb_of_json_lines_is_refused_within_the_limit(tmp_path: Path, filler: bytes) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(filler * (2 << 20)))
    tracemalloc.start()
    try:
        with pytest.raises(DocumentError, match="unpacks to more than"):
            read(path, max_bytes=1 << 12)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
