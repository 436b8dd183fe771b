"""`lloco push`: a compressor, an adapter or a corpus to a folder or to the Hugging Face Hub."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from lloco.cli import options
from lloco.cli.output import Output
from lloco.cli.verb import verb

KINDS = ("compressor", "adapter", "corpus")


@verb(kept="the destination is as it was; the same command starts again")
def push(
    kind: Annotated[str, typer.Argument(parser=options.one_of(KINDS), metavar="|".join(KINDS), help="What it is.")],
    what: Annotated[str, typer.Argument(metavar="NAME|DIR", help="Name of the corpus; folder of the others.")],
    destination: Annotated[str, typer.Argument(metavar="DIR|ID", help="New folder, or hub id such as owner/name.")],
    licence: Annotated[
        str | None, typer.Option("--license", metavar="ID", help="Licence for the card, such as apache-2.0.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", metavar="FILE", help="results.json of lloco evaluate, for the card.")
    ] = None,
    with_text: Annotated[
        bool, typer.Option("--with-text", help="Let the texts of a corpus's documents go along; they stay here else.")
    ] = False,
    is_private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="NAME", help="Branch of the repository [default: main].")
    ] = None,
    store: options.StorePath = None,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Send a compressor, an adapter or a corpus to a folder or the Hub.

    One commit with a card. The Hub's own login is used: hf auth login, or HF_TOKEN. The vectors of a corpus always go
    along; its texts, titles and sources only with --with-text.

    \b
    Examples:
      lloco push adapter finetune-contracts/adapter you/contracts-adapter --license apache-2.0
      lloco push corpus contracts ./contracts-folder --with-text
    """
    from lloco.hub.remote import progress_bars, remote_of
    from lloco.store.store import Store

    remote = remote_of(destination, revision=revision, is_private=is_private)
    with ExitStack() as stack:
        # What is not there is said before anything slow is imported.
        found = stack.enter_context(Store(store)).corpus(what, create=False) if kind == "corpus" else what
        from lloco.hub.push import PushOptions
        from lloco.hub.push import push as push_artifact

        stack.enter_context(progress_bars(is_on=not quiet))
        artifact, is_new = push_artifact(found, kind, remote, PushOptions(licence, results, with_text))
    output = Output(is_json, quiet)
    values = {"kind": kind, "destination": destination, "num_files": len(artifact.files), "is_new": is_new}
    state = "pushed to" if is_new else "unchanged in"
    output.result(
        {**values, "num_bytes": artifact.num_bytes, **artifact.summary},
        f"{kind} {state} {destination}: {len(artifact.files):,} files, {artifact.num_bytes:,} bytes",
    )
    if kind == "corpus" and not with_text:
        output.say("without the texts: whoever pulls it names the same files with --documents, or push --with-text")
    texts = " --documents PATH" if kind == "corpus" and not with_text else ""
    output.say(f"next: lloco pull {destination}{texts}")
