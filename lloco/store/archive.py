"""A corpus as a plain folder, to move it to another store.

    corpus.json                     format, name, compressor, number of documents
    documents.jsonl                 a line per document: id, title, source, text, passages, soft_prompt (its digest)
    soft_prompts/<sha256>.safetensors
    codebooks/<sha256>.safetensors  where soft prompts are stored as pq
    adapter/                        the adapter's own files, where there is one

Nothing that is read decides a path: soft prompts are found by a digest of 64 hex digits and checked against it.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lloco.adapters.digest import adapter_files_digest
from lloco.documents.document import Document
from lloco.errors import StoreError
from lloco.files.durable import fsync_folder, write_durably
from lloco.prompts.provenance import file_digest
from lloco.store.belonging import check_belongs
from lloco.store.corpus import Corpus
from lloco.store.files import CodebookFiles, adapter_base_digest, read_adapter_folder
from lloco.store.passage import Passage, PassageText
from lloco.store.rows import StoredDocument
from lloco.store.store import Store, check_name

if TYPE_CHECKING:
    from lloco.prompts.soft_prompt import SoftPrompt

FORMAT = "lloco-corpus"
FORMAT_VERSION = 1
MAX_TRIES = 3
_DIGEST = re.compile("[0-9a-f]{64}")
_KEYS = {"id", "title", "source", "text", "passages", "soft_prompt"}


def export_corpus(corpus: Corpus, out: Path) -> int:
    """Write the corpus to the folder `out`, which appears whole or not at all; returns the number of documents.

    Raises:
        StoreError: `out` exists, or the corpus's files are damaged.
    """
    if out.exists():
        raise StoreError(f"{out} exists: choose another --out for the export, or remove it")
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "soft_prompts").mkdir(parents=True)
    try:
        lines = [_export_document(corpus, document_id, temporary) for document_id in corpus.document_ids()]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_durably(temporary / "documents.jsonl", text.encode())
        summary = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "name": corpus.name,
            "compressor": corpus.compressor_name,
            "compressor_digest": corpus.compressor_digest,
            "num_documents": len(lines),
        }
        write_durably(temporary / "corpus.json", (json.dumps(summary, indent=2) + "\n").encode())
        adapter = corpus.adapter_folder()
        if adapter is not None:
            shutil.copytree(adapter, temporary / "adapter")
        temporary.replace(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)  # the first error is the one to report
        raise
    fsync_folder(out.parent)
    return len(lines)


def _export_document(corpus: Corpus, document_id: str, folder: Path) -> dict[str, Any]:
    document, soft_prompt, passages = _read_together(corpus, document_id)
    data = soft_prompt.to_bytes()
    digest = file_digest(data)
    if soft_prompt.packed is not None and soft_prompt.packed.codebook is not None:
        _codebooks(folder).write(soft_prompt.packed.codebook)
    write_durably(folder / "soft_prompts" / f"{digest}.safetensors", data)
    return {
        "id": document.id,
        "title": document.title,
        "source": document.source,
        "text": document.text,
        "passages": [[passage.start, passage.end] for passage in passages],
        "soft_prompt": digest,
    }


@lru_cache(maxsize=4)
def _codebooks(folder: Path) -> CodebookFiles:
    """Return the codebooks of an export, which are read once for all documents."""
    return CodebookFiles(folder)


def _read_together(corpus: Corpus, document_id: str) -> "tuple[StoredDocument, SoftPrompt, list[PassageText]]":
    """Read what belongs together, again where the document was replaced meanwhile."""
    for _ in range(MAX_TRIES):
        document, soft_prompt = corpus.document(document_id), corpus.soft_prompt(document_id)
        passages = corpus.document_passages(document_id)
        if soft_prompt.provenance.text_digest == document.digest == corpus.document(document_id).digest:
            return document, soft_prompt, passages
    raise StoreError(
        f"document {document_id!r} of corpus {corpus.name!r} changes while it is read, or has the soft prompt of "
        "another text: run `lloco corpus verify`, then export again"
    )


def import_corpus(store: Store, folder: Path, name: str | None = None, *, replace: bool = False) -> tuple[str, int]:
    """Put an exported corpus into the store; returns the corpus's name and how many documents it has.

    Everything is checked before the first document is added. A killed import is gone on with: a corpus of that name may
    hold a part of the export, and nothing else unless it is to be replaced, which removes it first.

    Raises:
        StoreError: the folder is no export, is damaged or incomplete; or the store has another corpus of that name.
    """
    _check_is_inside(folder)
    summary = _read_summary(folder)
    lines = list(_read_lines(folder))
    if len(lines) != summary.get("num_documents"):
        raise StoreError(
            f"{folder / 'documents.jsonl'} must hold {summary.get('num_documents')} documents, got {len(lines)}: "
            "export or copy the corpus again"
        )
    _check_lines(folder, lines)
    adapter = folder / "adapter"
    files = read_adapter_folder(adapter) if adapter.is_dir() else None
    digest = None if files is None else adapter_files_digest(files)
    if files is not None:
        adapter_base_digest(files)
    name = name or str(summary["name"])
    check_name(name)
    if name in store and replace:
        store.remove_corpus(name)
    elif name in store:
        _check_is_part(store.corpus(name), folder, {line["id"]: line["soft_prompt"] for line in lines}, digest)
    corpus = store.corpus(name)
    for line in lines:
        corpus.add(*_document_of(folder, line))
    if digest is not None:
        corpus.set_adapter(adapter)
    return corpus.name, len(lines)


def _check_is_inside(folder: Path) -> None:
    """Raise `StoreError` where a link leads out of the folder: to files of this machine that nobody named."""
    real = folder.resolve()
    for path in (
        folder / "corpus.json",
        folder / "documents.jsonl",
        *folder.glob("soft_prompts*"),
        *folder.glob("codebooks*"),
        *folder.glob("*/*"),
    ):
        if path.is_symlink() and not path.resolve().is_relative_to(real):
            raise StoreError(f"an exported corpus must hold its files itself, {path} is a link out of the folder")
    if (folder / "adapter").is_symlink():
        raise StoreError(f"an exported corpus must hold its files itself, {folder / 'adapter'} is a link")


def _check_lines(folder: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Raise where a document could not be added, or two of them not to one corpus."""
    made_by, ids = set(), set()
    for line in lines:
        document, soft_prompt, passages = _document_of(folder, line)
        check_belongs(document, soft_prompt, passages)
        made_by.add((soft_prompt.provenance.compressor_digest, soft_prompt.hidden_size))
        ids.add(document.id)
    if len(made_by) > 1 or len(ids) < len(lines):
        fault = f"{len(made_by)} compressors made them" if len(made_by) > 1 else "an id comes twice"
        raise StoreError(f"{folder} must hold documents of one corpus, {fault}: export the corpus again")


def _document_of(folder: Path, line: dict[str, Any]) -> "tuple[Document, SoftPrompt, list[Passage]]":
    document = Document(line["id"], line["text"], line["title"], line["source"])
    return document, _read_soft_prompt(folder, line), [Passage(*span) for span in line["passages"]]


def _check_is_part(corpus: Corpus, folder: Path, soft_prompts: Mapping[str, str], adapter: str | None) -> None:
    """Raise `StoreError` where the corpus holds what the export does not: its soft prompts and adapter by digest."""
    ids = corpus.document_ids()
    others = [
        document_id
        for document_id in ids
        if file_digest(corpus.soft_prompt(document_id).to_bytes()) != soft_prompts.get(document_id)
    ]
    own = [f"{len(others)} documents (first {others[0]!r})"] if others else []
    own += ["an adapter"] if corpus.summary().adapter_digest not in (None, adapter) else []
    if own:
        raise StoreError(
            f"corpus {corpus.name!r} in {corpus.store_folder} is there and has {' and '.join(own)} of its own: give "
            f"the import of {folder} another name with --corpus, or lose these with --replace"
        )


def _read_summary(folder: Path) -> dict[str, Any]:
    try:
        summary = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(
            f"{folder / 'corpus.json'} cannot be read: {error.strerror or error}; name the folder that `lloco corpus "
            "export` wrote"
        ) from error
    except ValueError as error:
        raise StoreError(f"{folder / 'corpus.json'} is not JSON ({error}): export or copy it again") from error
    if not isinstance(summary, dict) or summary.get("format") != FORMAT or not isinstance(summary.get("name"), str):
        raise StoreError(f"{folder / 'corpus.json'} describes no exported corpus: check the folder")
    if summary.get("format_version") != FORMAT_VERSION:
        raise StoreError(
            f"format version must be {FORMAT_VERSION}, {folder} has {summary.get('format_version')}: a newer lloco "
            "may have written it, upgrade this one"
        )
    return summary


def _read_lines(folder: Path) -> Iterator[dict[str, Any]]:
    file = folder / "documents.jsonl"
    try:
        with file.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines, start=1):
                line = json.loads(text)
                if not isinstance(line, dict) or set(line) != _KEYS or not _has_right_types(line):
                    raise ValueError(f"line {number} is not a document with {', '.join(sorted(_KEYS))}")
                yield line
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StoreError(f"{file} cannot be read ({reason}): export again") from error


def _has_right_types(line: dict[str, Any]) -> bool:
    spans = line["passages"]
    return (
        all(isinstance(line[key], str) for key in _KEYS - {"passages"})
        and _DIGEST.fullmatch(line["soft_prompt"]) is not None
        and isinstance(spans, list)
        and all(isinstance(span, list) and len(span) == 2 and all(type(x) is int for x in span) for span in spans)
    )


def _read_soft_prompt(folder: Path, line: dict[str, Any]) -> "SoftPrompt":
    path = folder / "soft_prompts" / f"{line['soft_prompt']}.safetensors"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"soft prompt of document {line['id']!r} cannot be read: {error.strerror or error} ({path}): export again"
        ) from error
    if file_digest(data) != line["soft_prompt"]:
        raise StoreError(
            f"the soft prompt of document {line['id']!r} must have digest {line['soft_prompt'][:12]}, {path} has "
            f"{file_digest(data)[:12]}, it is damaged: export or copy the corpus again"
        )
    from lloco.prompts.soft_prompt import SoftPrompt

    soft_prompt = SoftPrompt.from_bytes(data, str(path), _codebooks(folder).read)
    made_of = soft_prompt.provenance
    if (made_of.document_id, made_of.text_digest) != (line["id"], Document(line["id"], line["text"]).digest):
        raise StoreError(
            f"{path} must be the soft prompt of document {line['id']!r} and its text, it is of "
            f"{made_of.document_id!r} or of another text: export the corpus again"
        )
    return soft_prompt
