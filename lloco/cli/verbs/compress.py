"""`lloco compress`: files and folders into a corpus of soft prompts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from lloco.cli import options
from lloco.cli.allocator import keep_freed_memory
from lloco.cli.output import Output, printable, table_text
from lloco.cli.threads import fit_threads
from lloco.cli.verb import verb
from lloco.compressors.choices import LongDocuments
from lloco.errors import DocumentError
from lloco.models.named import default_model, english_hint

if TYPE_CHECKING:
    from lloco.compression.run import CompressReport
    from lloco.compressors.compressor import Compressor
    from lloco.documents.document import Document, Skipped
    from lloco.store.corpus import Corpus
    from lloco.store.store import Store


ENGINES = ("local", "ray")
SUPPORTED = "; supported are "
"""What a reason says before it lists the types that can be read."""
MUCH_LOST = 0.3
"""Relative error of stored vectors from which answers suffer: pq at low ratios."""


@dataclass(frozen=True, slots=True)
class CompressFlags:
    """The flags that say what compresses the documents and how."""

    model: options.Model = None
    compressor: options.CompressorName = None
    ratio: Annotated[
        float | None,
        typer.Option("--ratio", metavar="R", help="Document tokens per virtual token; chooses --segment-len."),
    ] = None
    segment_len: Annotated[
        int | None,
        typer.Option("--segment-len", parser=options.at_least(1), metavar="N", help="Tokens the compressor reads at "
                     "once [default: as the corpus has it, else the compressor's own]."),
    ] = None  # fmt: skip
    long_documents: Annotated[
        LongDocuments,
        options.choice("--long-documents", get_args(LongDocuments), "What to do beyond the compressor's reach."),
    ] = "windows"
    storage_dtype: Annotated[
        options.StorageDtype | None,
        options.choice(
            "--storage-dtype",
            get_args(options.StorageDtype),
            "Type to store vectors in [default: as the corpus has it, else the type they are computed in].",
        ),
    ] = None
    refine: Annotated[
        int | None,
        typer.Option("--refine", parser=options.at_least(0), metavar="N", help="Gradient steps on each document's "
                     "vectors, so that they repeat it better; 0 for none [default: as the corpus has it, else 0]."),
    ] = None  # fmt: skip
    device: options.Device = None
    dtype: options.DtypeName = None
    max_positions: options.MaxPositions = None
    batch_size: options.BatchSize = 8
    engine: Annotated[
        str,
        options.choice(
            "--engine",
            ENGINES,
            "This process, or the workers of a Ray cluster: that of RAY_ADDRESS, else one on this machine.",
        ),
    ] = "local"
    workers: Annotated[
        int | None,
        typer.Option("--workers", parser=options.at_least(1), metavar="N", help="Processes that compress, with "
                     "--engine ray [default: one for each GPU, or two CPUs]."),
    ] = None  # fmt: skip


@verb(kept="the documents compressed so far are in the store; the same command goes on from there")
def compress(
    *,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Files or folders: txt, md, html, pdf, docx, xlsx, pptx, odt, epub, eml, rtf, csv, jsonl (.gz).",
        ),
    ],
    corpus: options.CorpusName,
    flags: CompressFlags,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove documents of the corpus that are no longer among the files.")
    ] = False,
    store: options.StorePath = None,
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
      lloco compress contracts/ --corpus contracts --refine 16
      lloco compress archive/ --corpus archive --engine ray --workers 8
    """
    output = Output(is_json, quiet)
    keep_freed_memory()
    name, report, removed = compress_paths(paths, corpus, flags, output, store=store, prune=prune)
    if report.quantisation_error > MUCH_LOST:
        output.warn(
            f"storing changed vectors by up to {report.quantisation_error:.0%}, so answers will be worse: measure it "
            "with `lloco evaluate`, or choose --storage-dtype int4 or int8"
        )
    output.result(_values(name, report, removed), _text(name, report, removed))
    output.say(f'next: lloco ask --corpus {name} "your question"')


def compress_paths(
    paths: Sequence[Path], corpus: str, flags: CompressFlags, output: Output, *, store: Path | None, prune: bool
) -> "tuple[str, CompressReport, list[str]]":
    """Compress into the corpus; returns its name, what became of all files, and the documents that were removed."""
    if flags.ratio is not None and flags.segment_len is not None:
        raise typer.BadParameter("--ratio chooses the segment length: give --ratio or --segment-len, not both")
    if flags.workers is not None and flags.engine != "ray":
        raise typer.BadParameter("they are Ray's: give --engine ray too", param_hint="'--workers'")
    skipped: list[Skipped] = []
    documents = _read(paths, skipped, output)
    fit_threads()
    from lloco.compression.prune import remove_absent
    from lloco.store.store import Store

    with Store(store) as opened, _corpus_to_fill(opened, corpus) as target:
        report = _compress(target, documents, flags, output)
        report = replace(report, skipped=(*skipped, *report.skipped))
        if not report.num_new and not report.num_unchanged:
            raise DocumentError(
                f"none of the {len(documents):,} documents can be compressed, nothing was stored: do what is said of "
                f"each{_reasons(report.skipped)}"
            )
        return target.name, report, remove_absent(target, documents, skipped) if prune else []


@contextmanager
def _corpus_to_fill(store: "Store", name: str) -> "Iterator[Corpus]":
    """Open the corpus; one that is new and gets no document is gone again after the block, however that ends."""
    is_new = name not in store
    corpus = store.corpus(name)
    try:
        yield corpus
    finally:
        if is_new:
            store.remove_if_empty(corpus)


def _compress(corpus: "Corpus", documents: "list[Document]", flags: CompressFlags, output: Output) -> "CompressReport":
    from lloco.compression.corpus_compressor import check_made_for, load_corpus_compressor
    from lloco.compression.plan import plan_documents, segment_len_for
    from lloco.compression.run import compress_planned
    from lloco.compressors.compressor import CompressOptions

    if (hint := english_hint(flags.compressor or corpus.compressor_name or default_model())) is not None:
        output.warn(hint)
    compressor = load_corpus_compressor(
        corpus, flags.compressor, device=flags.device, dtype=flags.dtype, max_positions=flags.max_positions
    )
    if flags.model is not None:
        check_made_for(compressor, flags.model)
    segment_len = flags.segment_len if flags.ratio is None else segment_len_for(flags.ratio, compressor)
    _tell_of_segments(output, compressor, segment_len, flags.ratio)
    _tell_of_corpus(output, corpus, compressor, segment_len, flags)
    chosen = CompressOptions(segment_len, flags.batch_size, flags.long_documents, flags.refine)
    with output.progress("tokenising", "characters") as advance:
        plan = plan_documents(
            corpus, documents, compressor, chosen, storage_dtype=flags.storage_dtype, on_characters=advance
        )
    with output.progress(
        "compressing and refining" if plan.options.refine_steps else "compressing", "tokens"
    ) as advance:
        if flags.engine == "ray":
            from lloco.compression.ray_workers import compress_with_ray

            return compress_with_ray(
                corpus, plan, compressor, num_workers=flags.workers, device=flags.device, on_tokens=advance
            )
        return compress_planned(corpus, plan, compressor, on_tokens=advance)


def _read(paths: Sequence[Path], skipped: "list[Skipped]", output: Output) -> "list[Document]":
    """Read everything first: a broken line at the end of the last file is found before hours of work, not after."""
    from lloco.documents.document import read_documents

    with output.progress("reading", "files") as advance:
        documents = list(read_documents(paths, on_skip=skipped.append, on_files=advance))
    if documents:
        return documents
    places = ", ".join(str(path) for path in paths)
    raise DocumentError(
        f"{places} holds no document that can be read: give text, HTML, PDF, Office files, e-books, e-mails or JSON "
        f"lines{_reasons(skipped)}"
    )


def _told_once(skipped: "Sequence[Skipped]") -> list[str]:
    """Return a line for each; a list of the types that can be read stands in the first one only."""
    lines, told = [], set[str]()
    for document in skipped:
        reason, separator, types = document.reason.partition(SUPPORTED)
        lines.append(printable(f"{document.source}: {reason if types in told else reason + separator + types}"))
        told.add(types)
    return lines


def _reasons(skipped: "Sequence[Skipped]") -> str:
    """Return a line for each of the first twenty, and how many more there are."""
    lines = [f"\n  {line}" for line in _told_once(skipped[:20])]
    return "".join(lines) + (f"\n  and {len(skipped) - 20:,} more" if len(skipped) > 20 else "")


def _tell_of_segments(output: Output, compressor: "Compressor", segment_len: int | None, ratio: float | None) -> None:
    """Say where the segments that were chosen are not those that were asked for, or that the compressor learned."""
    if segment_len is None:
        return
    if ratio is not None and abs(segment_len / compressor.summary_length - ratio) > 0.005 * ratio:
        output.say(f"the nearest ratio to {ratio:g}: segments of {_segments(segment_len, compressor)}")
    if segment_len not in compressor.segment_lens and compressor.reach(segment_len):
        learned = ", ".join(_segments(length, compressor) for length in sorted(compressor.segment_lens))
        output.warn(
            f"{compressor.name} was trained on segments of {learned}, these have {_segments(segment_len, compressor)}: "
            "measure what that costs with `lloco evaluate`"
        )


def _tell_of_corpus(
    output: Output, corpus: "Corpus", compressor: "Compressor", segment_len: int | None, flags: CompressFlags
) -> None:
    """Say where documents are made as the corpus's are, or are compressed again because they are made otherwise."""
    from lloco.models.decoder import dtype_name

    before, steps = corpus.summary(), corpus.refine_steps()
    name, own_len = corpus.name, compressor.segment_len
    is_other_input = before.compressor_digest not in (None, compressor.digest)
    if before.segment_len is not None:
        had = _segments(before.segment_len, compressor)
        if segment_len is None and before.segment_len != own_len:
            output.say(f"segments of {had}, as corpus {name} has them; the compressor's own have {own_len}")
        if segment_len is not None and segment_len != before.segment_len:
            now = _segments(segment_len, compressor)
            output.warn(
                f"corpus {name} has segments of {had}, these documents are compressed again in segments of {now}"
            )
            is_other_input = True
        if flags.refine is None and steps:
            output.say(f"refining in {steps} steps, as corpus {name} has it; --refine 0 for none")
        if flags.refine not in (None, steps):
            output.warn(
                f"corpus {name} is refined in {steps} steps, these documents are compressed again and refined in "
                f"{flags.refine}"
            )
            is_other_input = True
        if flags.storage_dtype is None and before.storage_dtype != dtype_name(compressor.decoder.dtype):
            output.say(f"storing vectors as {before.storage_dtype}, as corpus {name} has them")
        if flags.storage_dtype not in (None, before.storage_dtype):
            output.warn(
                f"corpus {name} has vectors stored as {before.storage_dtype}, these documents are compressed again and "
                f"stored as {flags.storage_dtype}"
            )
    if before.adapter_digest is not None and is_other_input:
        output.warn(
            f"the adapter of corpus {name} was trained on what was there before: run `lloco finetune --corpus {name}` "
            "again"
        )


def _segments(length: int, compressor: "Compressor") -> str:
    return f"{length} tokens (ratio {length / compressor.summary_length:g})"


def _values(corpus: str, report: "CompressReport", removed: list[str]) -> dict[str, Any]:
    return {
        "corpus": corpus,
        "num_new": report.num_new,
        "num_unchanged": report.num_unchanged,
        "num_removed": len(removed),
        "skipped": [{"source": document.source, "reason": document.reason} for document in report.skipped],
        "num_document_tokens": report.num_document_tokens,
        "num_virtual_tokens": report.num_virtual_tokens,
        "compression_ratio": report.compression_ratio,
        "seconds": report.seconds,
        "tokens_per_second": report.tokens_per_second,
        "quantisation_error": report.quantisation_error,
        "num_codewords": report.num_codewords,
    }


def _few(num_codewords: int) -> str:
    """Say what a small codebook means; it is the number of vectors it was learned from."""
    advice = ", from as many vectors: documents added later lose more; int4 suits a small corpus"
    return advice if num_codewords < 256 else ""


def _text(corpus: str, report: "CompressReport", removed: list[str]) -> str:
    rows = [["compressed now", f"{report.num_new:,}"], ["unchanged", f"{report.num_unchanged:,}"]]
    rows += [["removed", f"{len(removed):,}"]] if removed else []
    rows += [["skipped, in full or in part", f"{len(report.skipped):,}"]] if report.skipped else []
    if report.compression_ratio is not None:
        rows.append(["document tokens", f"{report.num_document_tokens:,}"])
        rows.append(["virtual tokens", f"{report.num_virtual_tokens:,}"])
        rows.append(["ratio", f"{report.compression_ratio:.1f}"])
    if report.tokens_per_second is not None:
        rows.append(["tokens per second", f"{report.tokens_per_second:,.0f}"])
    if report.quantisation_error:
        rows.append(["loss of storing, at most (relative L2)", f"{report.quantisation_error:.2%}"])
    if report.num_codewords is not None:
        rows.append(["codewords of the codebook", f"{report.num_codewords}{_few(report.num_codewords)}"])
    lines = [f"skipped {line}" for line in _told_once(report.skipped)]
    return "\n".join([table_text(f"corpus {corpus}", ["documents", ""], rows), *lines])
