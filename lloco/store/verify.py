"""Compare what the store's database says with what is on the disk.

Reads without holding anybody up; only the search for files that no row names takes the write lock, since files are
written and removed under it.
"""

import hashlib
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lloco.adapters.digest import adapter_files_digest
from lloco.errors import StoreError
from lloco.prompts.provenance import file_digest
from lloco.store.catalogue import Catalogue
from lloco.store.files import AdapterFiles, CodebookFiles, SoftPromptFiles, orphan_temps, read_adapter_folder
from lloco.store.passage import Passage
from lloco.store.rows import active_adapter, named_codebooks, passages_digest


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the store that is not as it should be."""

    kind: str
    """database, missing_file, digest_mismatch, row_mismatch, adapter_missing, orphan_file or orphan_temp."""
    where: str
    """The document and corpus, or the path."""
    message: str
    is_repaired: bool = False


def verify(store_folder: Path, catalogue: Catalogue, repair: bool) -> list[Problem]:
    """List every problem; `repair` removes orphans, which are marked as repaired, and damaged soft prompt files.

    A document whose soft prompt is damaged or gone is never marked: only compressing or removing it mends that.
    """
    problems = list(_check_database(catalogue))
    with catalogue.read() as connection:
        keys = [row[0] for row in connection.execute("SELECT key FROM documents ORDER BY key")]
    files, codebooks = SoftPromptFiles(store_folder), CodebookFiles(store_folder)
    for key in keys:
        problems += _check_document(catalogue, files, codebooks, key, repair)
    problems += _check_codebooks(catalogue, CodebookFiles(store_folder), repair)
    problems += _check_adapters(catalogue, AdapterFiles(store_folder))
    return problems + _check_orphans(store_folder, catalogue, repair)


def _check_database(catalogue: Catalogue) -> Iterator[Problem]:
    with catalogue.read() as connection:
        results = [str(row[0]) for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        results += [f"{row[0]} row {row[1]} points nowhere" for row in connection.execute("PRAGMA foreign_key_check")]
    for result in results:
        yield Problem("database", str(catalogue.path), f"{result}: restore it from a copy or compress again")


def _check_document(
    catalogue: Catalogue, files: SoftPromptFiles, codebooks: CodebookFiles, key: int, repair: bool
) -> list[Problem]:
    while True:
        row, passages = _read_document(catalogue, key)
        if row is None:
            return []
        found = _check_file(files, codebooks, row) or _check_text(row, passages)
        if not found:
            return []
        again, _ = _read_document(catalogue, key)
        if again is not None and again["soft_prompt"] == row["soft_prompt"]:
            break  # not replaced while it was being read
    kind, message = found
    advice = _advice(row, kind)
    if kind == "digest_mismatch" and repair:
        with catalogue.write("remove a damaged soft prompt"):
            found = _check_file(files, codebooks, row)
            if found is None:
                return []  # it was written again meanwhile
            if found[0] == kind:
                files.remove(str(row["soft_prompt"]))
                message, advice = f"{message}, it has been removed", _advice(row, "missing_file")
    return [Problem(kind, f"document {row['id']!r} of corpus {row['corpus_name']!r}", f"{message}; {advice}")]


def _advice(row: dict[str, object], kind: str) -> str:
    """Say how the document is mended; `lloco compress` passes over one whose row and file size are as they were."""
    remove = f"lloco corpus remove {row['corpus_name']} --document {shlex.quote(str(row['id']))}"
    if kind == "missing_file":
        return f"compress the document again, or take it out with `{remove}`"
    if kind == "digest_mismatch":
        return f"after `lloco corpus verify --repair` compress the document again, or take it out with `{remove}`"
    return f"take the document out with `{remove}`, then compress it again"


def _read_document(catalogue: Catalogue, key: int) -> tuple[dict[str, object] | None, list[Passage]]:
    with catalogue.read() as connection:
        row = connection.execute(
            "SELECT documents.*, corpora.name AS corpus_name, corpora.compressor_digest AS corpus_compressor "
            "FROM documents JOIN corpora ON corpora.key = corpus WHERE documents.key = ?",
            (key,),
        ).fetchone()
        spans = connection.execute('SELECT start, "end" FROM passages WHERE document = ? ORDER BY position', (key,))
        return (None if row is None else dict(row)), [Passage(*span) for span in spans]


def _check_file(files: SoftPromptFiles, codebooks: CodebookFiles, row: dict[str, object]) -> tuple[str, str] | None:
    path = files.path(str(row["soft_prompt"]))
    try:
        data = path.read_bytes()
    except OSError as error:
        return "missing_file", f"{path}: {error.strerror or error}"
    if file_digest(data) != row["soft_prompt"]:
        return "digest_mismatch", f"{path} is damaged: its content has digest {file_digest(data)}"
    try:
        from lloco.prompts.soft_prompt import SoftPrompt

        if row["codebook"] is not None and _codebook_fault(codebooks, str(row["codebook"])):
            return None  # reported once, with the codebook
        soft_prompt = SoftPrompt.from_bytes(data, str(path), codebooks.read)
    except StoreError as error:
        return "row_mismatch", str(error)
    made_by = soft_prompt.provenance
    in_file = {
        "id": made_by.document_id,
        "text_digest": made_by.text_digest,
        "num_tokens": made_by.num_document_tokens,
        "num_virtual_tokens": soft_prompt.num_virtual_tokens,
        "segment_len": made_by.segment_len,
        "compressor_digest": made_by.compressor_digest,
        "corpus_compressor": made_by.compressor_digest,
        "dtype": made_by.dtype,
        "num_bytes": len(data),
        "codebook": made_by.codebook or None,
    }
    wrong = [f"{name} {row[name]!r} but {value!r} in the file" for name, value in in_file.items() if row[name] != value]
    return ("row_mismatch", f"the database says {', '.join(wrong)}") if wrong else None


def _codebook_fault(codebooks: CodebookFiles, digest: str) -> str:
    try:
        codebooks.read(digest)
    except StoreError as error:
        return str(error)
    return ""


def _check_codebooks(catalogue: Catalogue, files: CodebookFiles, repair: bool) -> list[Problem]:
    """Report each codebook that is named and cannot be read; `repair` removes damaged ones."""
    with catalogue.read() as connection:
        named = sorted(named_codebooks(connection))
    problems = []
    for digest in [digest for digest in named if _codebook_fault(files, digest)]:
        with catalogue.write("check a codebook") if repair else catalogue.read() as connection:
            fault = _codebook_fault(files, digest)
            count = connection.execute("SELECT count(*) FROM documents WHERE codebook = ?", (digest,)).fetchone()[0]
            if not fault or not count:
                continue  # it was written again or given up meanwhile
            kind = "digest_mismatch" if files.path(digest).is_file() else "missing_file"
            if repair:
                files.path(digest).unlink(missing_ok=True)
        message = f"{fault}; {count} documents need it"
        problems.append(Problem(kind, f"codebook {digest[:12]}", message))
    return problems


def _check_text(row: dict[str, object], passages: list[Passage]) -> tuple[str, str] | None:
    text = str(row["text"])
    if hashlib.sha256(text.encode()).hexdigest() != row["text_digest"]:
        return "row_mismatch", "its text does not have the digest beside it"
    if passages_digest(passages) != row["passages_digest"]:
        return "row_mismatch", "its passages do not have the digest beside them"
    return None


def _check_adapters(catalogue: Catalogue, files: AdapterFiles) -> list[Problem]:
    problems = []
    with catalogue.read() as connection:
        corpora = connection.execute("SELECT key, name FROM corpora ORDER BY name").fetchall()
    for key, name in corpora:
        with catalogue.read() as connection:
            digest = active_adapter(connection, key)
        if digest is None:
            continue
        try:
            found = adapter_files_digest(read_adapter_folder(files.path(name, digest)))
        except (StoreError, OSError) as error:
            problems.append(Problem("adapter_missing", f"corpus {name!r}", f"{error}"))
            continue
        if found != digest:
            message = f"adapter {files.path(name, digest)} has digest {found}: finetune again"
            problems.append(Problem("digest_mismatch", f"corpus {name!r}", message))
    return problems


def _check_orphans(store_folder: Path, catalogue: Catalogue, repair: bool) -> list[Problem]:
    """Find files that no row names. On a read-only store nobody writes, so reading alone is enough."""
    soft_prompts, adapters = SoftPromptFiles(store_folder), AdapterFiles(store_folder)
    is_alone = repair or not catalogue.is_read_only
    transaction = catalogue.write("verify the store") if is_alone else catalogue.read()
    with transaction as connection:
        named = {row[0] for row in connection.execute("SELECT soft_prompt FROM documents")}
        corpora = connection.execute("SELECT key, name FROM corpora").fetchall()
        active = {(name, (active_adapter(connection, key) or "")[:12]) for key, name in corpora}
        names = {name for _, name in corpora}
        found = [("orphan_temp", path) for path in orphan_temps(store_folder)]
        found += [
            ("orphan_file", soft_prompts.path(digest)) for digest in soft_prompts.digests() if digest not in named
        ]
        codebooks, known = CodebookFiles(store_folder), named_codebooks(connection)
        found += [("orphan_file", codebooks.path(digest)) for digest in codebooks.digests() if digest not in known]
        found += [("orphan_file", path) for name, path in adapters.folders() if (name, path.name) not in active]
        indexes = sorted(path for path in (store_folder / "index").glob("*") if path.is_dir())
        found += [("orphan_file", path) for path in indexes if path.name not in names]
        if repair:
            for _, path in found:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    message = "no row names it; a crash left it, `lloco corpus verify --repair` removes it"
    return [Problem(kind, str(path), message, is_repaired=repair) for kind, path in found]
