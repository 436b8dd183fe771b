"""The columns of a bench's table, for people: what a terminal and a page show of its rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lloco.report.axis import number_text

if TYPE_CHECKING:
    from lloco.bench.show.results import Row

Cell = Callable[["Row"], str]


def table_of(bench: str, rows: "Sequence[Row]") -> tuple[list[str], list[list[str]]]:
    """Return the column names, and the cells of the rows that were measured."""
    columns = _COLUMNS[bench]
    return list(columns), [[cell(row) for cell in columns.values()] for row in rows if row.get("skipped") is None]


def skipped_rows(rows: "Sequence[Row]") -> list[str]:
    """Return a line for every way and reason that rows were not measured for, with all of those rows."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.get("skipped") is not None:
            found.setdefault((row["mode"], row["skipped"]), []).append(row)
    return [
        f"{', '.join(filter(None, (_places(own), mode)))}: not measured: {reason}"
        for (mode, reason), own in found.items()
    ]


def column_note(bench: str) -> str:
    """Return what columns mean whose names do not say it."""
    return _NOTES.get(bench, "")


def machine_line(machine: Mapping[str, Any]) -> str:
    """Return what the rows were measured on, and what it can do at most."""
    return (
        f"{machine['cpu']}, {machine['threads']} threads, {machine['device']}, {machine['dtype']}: "
        f"{machine['matmul_flops_per_second'] / 1e9:,.1f} GFLOP/s in a matrix product, "
        f"{machine['copy_bytes_per_second'] / 1e9:,.1f} GB/s in a copy"
    )


def with_error(row: "Row", name: str) -> str:
    """Return a mean and its standard error."""
    error = row[f"{name}_stderr"]
    return number_text(row[name]) + ("" if error is None else f" ± {error:.1f}")


def _count(name: str) -> Cell:
    return lambda row: f"{row[name]:,}"


def _text(name: str) -> Cell:
    return lambda row: str(row[name])


def _scaled(name: str, scale: float = 1.0) -> Cell:
    """A figure that may not have been measured."""
    return lambda row: "–" if row[name] is None else number_text(row[name] * scale)


def _spread(name: str, scale: float = 1.0) -> Cell:
    def cell(row: "Row") -> str:
        if row[name] is None:
            return "–"
        middle, low, high = (number_text(row[key] * scale) for key in (name, f"{name}_min", f"{name}_max"))
        return f"{middle} ({low}-{high})"

    return cell


def _error(name: str) -> Cell:
    return lambda row: with_error(row, name)


def _times(name: str) -> Cell:
    return lambda row: "–" if row[name] is None else f"{row[name]:.2f}x"


_COLUMNS: Mapping[str, Mapping[str, Cell]] = {
    "latency": {
        "context tokens": _count("context_tokens"),
        "mode": _text("mode"),
        "first token, ms": _spread("first_token_seconds", 1e3),
        "per token, ms": _spread("per_token_seconds", 1e3),
        "floor, ms": _scaled("floor_per_token_seconds", 1e3),
        "of floor": _scaled("floor_fraction", 1.0),
        "peak memory, MB": _scaled("peak_memory_bytes", 1e-6),
        "ratio": _times("ratio"),
        "first token": _times("ratio_first_token"),
        "whole answer": _times("ratio_answer"),
    },
    "compress": {
        "document tokens": _count("document_tokens"),
        "way": _text("mode"),
        "tokens/s": _spread("tokens_per_second"),
        "floor, tokens/s": _scaled("floor_tokens_per_second"),
        "of floor": _scaled("floor_fraction"),
        "peak above weights, MB": _scaled("working_memory_bytes", 1e-6),
        "ratio": _times("ratio"),
        "memory": _times("ratio_working_memory"),
    },
    "finetune": {
        "context tokens": _count("context_tokens"),
        "mode": _text("mode"),
        "samples/s": _spread("samples_per_second"),
        "floor, samples/s": _scaled("floor_samples_per_second"),
        "of floor": _scaled("floor_fraction"),
        "peak memory, MB": _scaled("peak_memory_bytes", 1e-6),
        "ratio": _times("ratio"),
        "memory": _times("ratio_working_memory"),
    },
    "serve": {
        "clients": _count("clients"),
        "mode": _text("mode"),
        "answers/s": _spread("answers_per_second"),
        "of floor": _scaled("floor_fraction"),
        "prompt tokens": _scaled("prompt_tokens"),
        "first token, ms": _spread("first_token_seconds", 1e3),
        "95 %, ms": _scaled("first_token_seconds_p95", 1e3),
        "answer, ms": _spread("answer_seconds", 1e3),
        "memory, MB": _scaled("working_memory_bytes", 1e-6),
        "ratio": _times("ratio"),
        "first token": _times("ratio_first_token"),
    },
    "open_loop": {
        "mode": _text("mode"),
        "offered/s": _scaled("offered_per_second"),
        "served/s": _spread("served_per_second"),
        "n": _count("n"),
        "refused": _count("refused"),
        "failed": _count("failed"),
        "answer 50 %, s": _scaled("answer_seconds_p50"),
        "95 %, s": _scaled("answer_seconds_p95"),
        "99 %, s": _scaled("answer_seconds_p99"),
        "first token 95 %, s": _scaled("first_token_seconds_p95"),
        "in time": lambda row: {None: "–", True: "yes", False: "no"}[row["keeps_bound"]],
        "ratio": _times("ratio"),
        "over cached": _times("ratio_cached"),
    },
    "retrieval": {
        "method": _text("method"),
        "found": _text("found"),
        "first k": _count("top_k"),
        "questions": _count("n"),
        "recall, %": _error("recall"),
        "search, ms": _spread("search_seconds", 1e3),
        "index, s": _scaled("index_seconds"),
        "ratio": _times("ratio"),
    },
    "rivals": {
        "mode": _text("mode"),
        "asked": _scaled("wanted_ratio"),
        "n": _count("n"),
        "metric": _text("metric"),
        "quality": _error("quality"),
        "read": _scaled("context_positions"),
        "first token, ms": _spread("first_token_seconds", 1e3),
        "answer, ms": _scaled("answer_seconds", 1e3),
        "tokens": _scaled("new_tokens"),
        "prepare, ms": _scaled("prepare_seconds", 1e3),
        "KB": _scaled("stored_bytes", 1e-3),
        "ratio": _times("ratio"),
        "first": _times("ratio_first_token"),
    },
    "store": {
        "documents": _count("documents"),
        "stored as": _text("storage_dtype"),
        "added/s": _scaled("ingest_documents_per_second"),
        "of floor": _scaled("floor_fraction"),
        "lookup, ms": _spread("lookup_seconds", 1e3),
        "index, s": _scaled("index_seconds"),
        "retrieval, ms": _spread("retrieval_seconds", 1e3),
        "found": _scaled("retrieved_right"),
        "disk, KB a document": _scaled("disk_bytes_per_document", 1e-3),
        "error": _scaled("quantisation_error"),
        "ratio": _times("ratio"),
    },
}

_NOTES = {
    "rivals": (
        "Asked: document tokens per position, as asked for; read: positions of the document that were read. Ratio: "
        "full's time for an answer over this one's; first: the same for the first token."
    )
}


def _places(rows: "Sequence[Row]") -> str:
    """Name the ratios or the lengths of these rows, each once; "" where they have neither."""
    lengths = [row.get("context_tokens") or row["document_tokens"] for row in rows]
    if None in lengths:
        ratios = list(dict.fromkeys(str(row["wanted_ratio"]) for row in rows if row["wanted_ratio"] is not None))
        return f"ratio{'s' if len(ratios) > 1 else ''} {', '.join(ratios)}" if ratios else ""
    return f"{', '.join(dict.fromkeys(f'{length:,}' for length in lengths))} tokens"
