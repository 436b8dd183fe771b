"""`lloco pull`: what `lloco push` sent, from a folder or from the Hugging Face Hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lloco.cli import options
from lloco.cli.output import Output
from lloco.cli.verb import verb
from lloco.errors import DocumentError

if TYPE_CHECKING:
    from lloco.documents.document import Document


@verb(kept="nothing half-written is left; the same command goes on")
def pull(
    source: Annotated[str, typer.Argument(metavar="DIR|ID", help="Folder, or hub id such as owner/name.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="New folder for a compressor or adapter [default: the source's name]."
        ),
    ] = None,
    corpus: Annotated[
        str | None, typer.Option("--corpus", metavar="NAME", help="Name to give a corpus [default: its own].")
    ] = None,
    documents: Annotated[
        list[Path] | None,
        typer.Option(
            "--documents", metavar="PATH", help="Texts of a corpus pushed without them: a file or folder; repeat."
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove the corpus of that name first, adapter included.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="NAME", help="Branch, tag or commit [default: main].")
    ] = None,
    max_gigabytes: Annotated[
        int, typer.Option("--max-gigabytes", parser=options.at_least(1), metavar="N", help="Refuse what is larger.")
    ] = 200,
    store: options.StorePath = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch a compressor, an adapter or a corpus that was pushed.

    Every file is checked against its digest first; pickles and code are never fetched. What is here already, unchanged,
    is left alone.

    \b
    Examples:
      lloco pull you/contracts-adapter --out contracts-adapter
      lloco pull you/contracts --documents contracts/
    """
    from lloco.hub.pull import find_artifact, pull_corpus, pull_folder
    from lloco.hub.remote import progress_bars, remote_of
    from lloco.store.store import Store

    remote = remote_of(source, revision=revision)
    artifact = find_artifact(remote, max_gigabytes << 30)
    output = Output(is_json, quiet)
    values = {"kind": artifact.kind, "source": source, **artifact.summary}
    if artifact.kind != "corpus":
        if corpus is not None or documents or replace:
            raise typer.BadParameter(
                f"--corpus, --documents and --replace are for a corpus, {source} is of kind {artifact.kind}; an "
                "adapter in a folder becomes a corpus's own by `lloco import adapter DIR --corpus NAME`"
            )
        folder = out or Path(Path(source).resolve().name if Path(source).is_dir() else source.rpartition("/")[2])
        with progress_bars(is_on=not quiet):
            is_new = pull_folder(artifact, remote, folder)
        output.result({**values, "out": str(folder), "is_new": is_new}, f"{artifact.kind} in {folder}{_state(is_new)}")
        return
    if out is not None:
        raise typer.BadParameter("a corpus goes into the store: name it with --corpus, or leave --out away")
    texts = _read(documents or [], output)
    with Store(store) as opened, progress_bars(is_on=not quiet):
        name, num_documents, is_new = pull_corpus(artifact, remote, opened, corpus, texts, replace=replace)
    values |= {"corpus": name, "num_documents": num_documents, "is_new": is_new}
    output.result(values, f"{num_documents:,} documents in corpus {name}{_state(is_new)}")
    output.say(f'next: lloco ask --corpus {name} "your question"')


def _state(is_new: bool) -> str:
    return "" if is_new else ", unchanged"


def _read(paths: list[Path], output: Output) -> "list[Document]":
    from lloco.documents.document import read_documents

    found = list(
        read_documents(paths, on_skip=lambda skipped: output.warn(f"{skipped.source} not read: {skipped.reason}"))
    )
    if paths and not found:
        raise DocumentError(f"{', '.join(map(str, paths))} holds no texts: check the path")
    return found
