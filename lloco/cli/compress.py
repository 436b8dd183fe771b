"""`lloco compress`: files and folders into a corpus of soft prompts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lloco.cli import options
from lloco.cli.output import Output, printable, table_text
from lloco.cli.verb import verb
from lloco.errors import DocumentError

if TYPE_CHECKING:
    from lloco.compress import CompressReport
    from lloco.compressors.compressor import Compressor
    from lloco.documents import Document, Skipped


@verb(kept="the documents compressed so far are in the store; the same command goes on from there")
def compress(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Files or folders: txt, md, html, pdf, docx, jsonl (.gz).")
    ],
    corpus: options.CorpusName,
    model: options.Model = None,
    compressor: options.CompressorName = None,
    ratio: Annotated[
        float | None,
        typer.Option("--ratio", metavar="R", help="Document tokens per virtual token; chooses --segment-len."),
    ] = None,
    segment_len: options.SegmentLen = None,
    long_documents: Annotated[
        options.LongDocuments, typer.Option("--long-documents", help="What to do beyond the compressor's reach.")
    ] = "windows",
    storage_dtype: Annotated[
        options.StorageDtype | None,
        typer.Option("--storage-dtype", help="Type to store vectors in [default: the type they were computed in]."),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove documents of the corpus that are no longer among the files.")
    ] = False,
    store: options.StorePath = None,
    device: options.Device = None,
    dtype: options.DtypeName = None,
    batch_size: options.BatchSize = 8,
    is_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compress files and folders into a corpus of soft prompts.

    What the corpus holds already, unchanged, is skipped; a run that was killed goes on where it was.

    \b
    Examples:
      lloco compress contracts/ --corpus contracts
      lloco compress a.pdf b.docx notes.jsonl.gz --corpus mixed --storage-dtype int8
      lloco compress contracts/ --corpus contracts --prune
    """
    if ratio is not None and segment_len is not None:
        raise typer.BadParameter("--ratio chooses the segment length: give --ratio or --segment-len, not both")
    output = Output(is_json, quiet)
    skipped: list[Skipped] = []
    documents = _read(paths, skipped)
    from lloco.compress import compress_into, remove_absent, segment_len_for
    from lloco.compressors.compressor import CompressOptions
    from lloco.corpus_models import check_made_for, load_corpus_compressor
    from lloco.store.store import Store

    with Store(store) as opened:
        target = opened.corpus(corpus)
        loaded = load_corpus_compressor(target, compressor, device=device, dtype=dtype)
        if model is not None:
            check_made_for(loaded, model)
        if ratio is not None:
            segment_len = segment_len_for(ratio, loaded)
        _warn_of_other_segments(output, loaded, segment_len, ratio)
        chosen = CompressOptions(segment_len=segment_len, batch_size=batch_size, long_documents=long_documents)
        with output.progress("compressing", "tokens") as advance:
            report = compress_into(target, documents, loaded, chosen, storage_dtype=storage_dtype, on_tokens=advance)
        removed = remove_absent(target, documents, skipped) if prune else []
    left_out = [*skipped, *report.skipped]
    output.result(_values(target.name, report, left_out, removed), _text(target.name, report, left_out, removed))
    if report.num_new or report.num_unchanged:
        output.say(f'next: lloco ask --corpus {target.name} "your question"')


def _read(paths: list[Path], skipped: "list[Skipped]") -> "list[Document]":
    """Read everything first: a broken line at the end of the last file is found before hours of work, not after."""
    from lloco.documents import read_documents

    documents = list(read_documents(paths, on_skip=skipped.append))
    if documents:
        return documents
    places = ", ".join(str(path) for path in paths)
    reasons = "".join(f"\n  {one.source}: {one.reason}" for one in skipped[:20])
    rest = f"\n  and {len(skipped) - 20} more" if len(skipped) > 20 else ""
    raise DocumentError(
        f"documents were wanted, {places} holds none that can be read: give text, Markdown, HTML, PDF, Word or JSON "
        f"lines{reasons}{rest}"
    )


def _warn_of_other_segments(
    output: Output, compressor: "Compressor", segment_len: int | None, ratio: float | None
) -> None:
    if segment_len is None:
        return
    reached = segment_len / compressor.summary_length
    if ratio is not None and abs(reached - ratio) > 0.005 * ratio:
        output.say(f"the nearest ratio to {ratio:g} is {reached:.2f}: segments of {segment_len} tokens")
    if segment_len != compressor.segment_len:
        output.warn(
            f"{compressor.name} was trained on segments of up to {compressor.segment_len} tokens (ratio "
            f"{compressor.segment_len / compressor.summary_length:g}), these have {segment_len} (ratio {reached:g}): "
            "measure what that costs with `lloco evaluate`"
        )


def _values(corpus: str, report: "CompressReport", skipped: "list[Skipped]", removed: list[str]) -> dict[str, Any]:
    return {
        "corpus": corpus,
        "num_new": report.num_new,
        "num_unchanged": report.num_unchanged,
        "num_removed": len(removed),
        "skipped": [{"source": one.source, "reason": one.reason} for one in skipped],
        "num_document_tokens": report.num_document_tokens,
        "num_virtual_tokens": report.num_virtual_tokens,
        "compression_ratio": report.compression_ratio,
        "seconds": report.seconds,
        "tokens_per_second": report.tokens_per_second,
        "quantisation_error": report.quantisation_error,
    }


def _text(corpus: str, report: "CompressReport", skipped: "list[Skipped]", removed: list[str]) -> str:
    rows = [["compressed now", f"{report.num_new:,}"], ["unchanged", f"{report.num_unchanged:,}"]]
    rows += [["removed", f"{len(removed):,}"]] if removed else []
    rows += [["skipped, in full or in part", f"{len(skipped):,}"]] if skipped else []
    if report.compression_ratio is not None:
        rows.append(["document tokens", f"{report.num_document_tokens:,}"])
        rows.append(["virtual tokens", f"{report.num_virtual_tokens:,}"])
        rows.append(["ratio", f"{report.compression_ratio:.1f}"])
    if report.tokens_per_second is not None:
        rows.append(["tokens per second", f"{report.tokens_per_second:,.0f}"])
    if report.quantisation_error:
        rows.append(["loss of storing, at most (relative L2)", f"{report.quantisation_error:.2%}"])
    lines = [printable(f"skipped {one.source}: {one.reason}") for one in skipped]
    return "\n".join([table_text(f"corpus {corpus}", ["documents", ""], rows), *lines])
