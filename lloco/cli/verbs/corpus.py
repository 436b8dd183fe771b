"""`lloco corpus`: what is in the store, and taking it out, checking it, moving it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lloco.cli import options
from lloco.cli.output import Output, table_text
from lloco.cli.panels import PanelCommand
from lloco.cli.verb import verb

if TYPE_CHECKING:
    from lloco.store.rows import CorpusSummary, StoredDocument

corpus_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=(
        "List, show, remove, verify, export and import corpora.\n\n"
        "\b\nExamples:\n"
        "  lloco corpus list\n"
        "  lloco corpus show contracts\n"
        "  lloco corpus remove contracts --document lease.pdf"
    ),
)

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Corpus; or give it with --corpus.")]
NameFlag = Annotated[str | None, typer.Option("--corpus", metavar="NAME", help="Corpus in the store.")]
NOTHING = "nothing was changed"


@corpus_app.command("list", cls=PanelCommand)
@verb(kept=NOTHING)
def list_corpora(store: options.StorePath = None, is_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """List the corpora of the store.

    \b
    Example:
      lloco corpus list
    """
    from lloco.store.store import Store

    with Store(store) as opened:
        found = opened.corpora()
        path = str(opened.path)
    rows = [
        [
            summary.name,
            f"{summary.num_documents:,}",
            f"{summary.num_document_tokens:,}",
            f"{summary.num_virtual_tokens:,}",
            _ratio(summary.num_document_tokens, summary.num_virtual_tokens),
            _megabytes(summary.num_bytes),
            (summary.adapter_digest or "-")[:12],
        ]
        for summary in found
    ]
    columns = ["corpus", "documents", "document tokens", "virtual tokens", "ratio", "MB", "adapter"]
    empty = f"the store {path} holds no corpus yet: lloco compress PATH... --corpus NAME makes one"
    text = table_text(f"store {path}", columns, rows) if rows else empty
    Output(is_json, quiet).result({"store": path, "corpora": [asdict(summary) for summary in found]}, text)


@corpus_app.command("show", cls=PanelCommand, no_args_is_help=True)
@verb(kept=NOTHING)
def show(
    name: Name = None,
    corpus: NameFlag = None,
    document: Annotated[str | None, typer.Option("--document", metavar="ID", help="Show this document alone.")] = None,
    store: options.StorePath = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show a corpus and its documents.

    \b
    Examples:
      lloco corpus show contracts
      lloco corpus show contracts --document lease.pdf --json
    """
    from lloco.store.store import Store

    with Store(store) as opened:
        found = opened.corpus(_chosen(name, corpus), create=False)
        documents = list(found.documents()) if document is None else [found.document(document)]
        summary, refine_steps = found.summary(), found.refine_steps()
    listed = [{key: value for key, value in asdict(document).items() if key != "text"} for document in documents]
    values = {**asdict(summary), "refine_steps": refine_steps, "documents": listed}
    Output(is_json, quiet).result(values, _documents_text(summary, documents, refine_steps))


def _documents_text(summary: "CorpusSummary", documents: "list[StoredDocument]", refine_steps: int) -> str:
    """Return a table of documents; of one that was truncated also how many tokens were read."""
    rows = []
    for document in documents:
        num_read = document.num_compressed_tokens
        tokens = (
            f"{document.num_tokens:,}"
            if num_read == document.num_tokens
            else f"{num_read:,} read of {document.num_tokens:,}"
        )
        ratio = _ratio(num_read, document.num_virtual_tokens)
        rows.append([document.id, document.title, tokens, f"{document.num_virtual_tokens:,}", ratio, document.dtype])
    adapter = "no adapter yet" if summary.adapter_digest is None else f"adapter {summary.adapter_digest[:12]}"
    refined = f", refine steps {refine_steps:,}" if refine_steps else ""
    title = f"corpus {summary.name}: compressor {summary.compressor or 'not chosen yet'}, {adapter}{refined}"
    return table_text(title, ["document", "title", "tokens", "virtual tokens", "ratio", "dtype"], rows, num_left=2)


@corpus_app.command("remove", cls=PanelCommand, no_args_is_help=True)
@verb(kept="what was removed before is gone, the rest is kept")
def remove(
    name: Name = None,
    corpus: NameFlag = None,
    document: Annotated[
        list[str] | None, typer.Option("--document", metavar="ID", help="Remove this document only; repeat it.")
    ] = None,
    store: options.StorePath = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove a corpus, or some of its documents.

    Its soft prompts and adapter go with it; the files that it was made from are not touched.

    \b
    Examples:
      lloco corpus remove contracts
      lloco corpus remove contracts --document lease.pdf
    """
    from lloco.store.store import Store

    chosen = _chosen(name, corpus)
    with Store(store) as opened:
        found = opened.corpus(chosen, create=False)
        ids = found.document_ids() if document is None else list(dict.fromkeys(document))
        if document is None:
            opened.remove_corpus(found.name)
        else:
            for document_id in ids:
                found.document(document_id)
            for document_id in ids:
                found.remove_document(document_id)
    what = f"corpus {found.name} and its {len(ids):,} documents" if document is None else f"{len(ids):,} documents"
    values = {"corpus": found.name, "is_corpus_removed": document is None, "num_documents": len(ids)}
    Output(is_json, quiet).result(values, f"removed {what}")


@corpus_app.command("verify", cls=PanelCommand)
@verb(kept=NOTHING)
def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove damaged soft prompts, and what a crash left behind.")
    ] = False,
    store: options.StorePath = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Check every file of the store against its database.

    Exits with 1 when something is wrong and was not repaired. Only compressing again mends a soft prompt: each
    document that needs it is named.

    \b
    Examples:
      lloco corpus verify
      lloco corpus verify --repair
    """
    from lloco.store.store import Store

    with Store(store) as opened:
        problems = opened.verify(repair)
        num_documents = sum(corpus.num_documents for corpus in opened.corpora())
    lines = [
        f"{'repaired: ' if problem.is_repaired else ''}{problem.kind}: {problem.where}: {problem.message}"
        for problem in problems
    ]
    num_repaired = sum(problem.is_repaired for problem in problems)
    summary = f"{num_documents:,} documents checked, {len(problems)} problems, {num_repaired} repaired"
    values = {"num_documents": num_documents, "problems": [asdict(problem) for problem in problems]}
    Output(is_json, quiet).result(values, "\n".join([*lines, summary]))
    if num_repaired < len(problems):
        raise typer.Exit(1)


@corpus_app.command("export", cls=PanelCommand, no_args_is_help=True)
@verb(kept="nothing of the export is left")
def export(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to make; it must not exist.")],
    name: Name = None,
    corpus: NameFlag = None,
    store: options.StorePath = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a corpus as a plain folder.

    Texts, soft prompts and adapter, to copy to another machine.

    \b
    Example:
      lloco corpus export contracts --out contracts-export
    """
    from lloco.store.archive import export_corpus
    from lloco.store.store import Store

    with Store(store) as opened:
        found = opened.corpus(_chosen(name, corpus), create=False)
        num_documents = export_corpus(found, out)
    values = {"corpus": found.name, "out": str(out), "num_documents": num_documents}
    Output(is_json, quiet).result(values, f"{num_documents:,} documents of corpus {found.name} in {out}")


@corpus_app.command("import", cls=PanelCommand, no_args_is_help=True)
@verb(kept="the documents imported so far are in the store; the same command goes on from there")
def import_folder(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `lloco corpus export` wrote.")],
    corpus: Annotated[
        str | None, typer.Option("--corpus", metavar="NAME", help="Name to give it [default: its own].")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove the corpus of that name first, adapter included.")
    ] = False,
    store: options.StorePath = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Put an exported corpus into the store.

    Everything is checked before the first document is added. A corpus of that name that has anything of its own is
    kept and the import refused.

    \b
    Examples:
      lloco corpus import contracts-export --corpus contracts
      lloco corpus import contracts-export --replace
    """
    from lloco.store.archive import import_corpus
    from lloco.store.store import Store

    with Store(store) as opened:
        found, num_documents = import_corpus(opened, folder, corpus, replace=replace)
    values = {"corpus": found, "num_documents": num_documents}
    output = Output(is_json, quiet)
    output.result(values, f"{num_documents:,} documents imported into corpus {found}")
    output.say(f'next: lloco ask --corpus {found} "your question"')


def _chosen(name: str | None, corpus: str | None) -> str:
    chosen = name or corpus
    if chosen is None or (name and corpus and name != corpus):
        raise typer.BadParameter("name one corpus: lloco corpus list shows them")
    return chosen


def _ratio(num_tokens: int, num_virtual_tokens: int) -> str:
    return f"{num_tokens / num_virtual_tokens:.1f}" if num_virtual_tokens else "-"


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.3f}" if num_bytes < 1e5 else f"{num_bytes / 1e6:,.1f}"
