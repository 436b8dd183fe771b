"""A bench in a sentence: what was measured, the best ratio and where, and how near the machine's limit that is."""

from collections.abc import Callable, Mapping

from lloco.bench.show.columns import with_error
from lloco.bench.show.results import BenchResults, Row
from lloco.report.axis import number_text as short


def headline(results: BenchResults) -> str:
    """Return the sentence about the row with the best ratio."""
    measured = [row for row in results.rows if row["ratio"] is not None]
    compared = [row for row in measured if not _is_reference(results.bench, row)]
    if results.bench in _SIZES and len({row[_REFERENCES[results.bench][0]] for row in measured}) == 1:
        return _SENTENCES[results.bench](max(measured, key=lambda row: int(row[_SIZES[results.bench]])), results)
    if not compared:
        reasons = [row["skipped"] for row in results.rows if row.get("skipped")]
        nothing = f"There was nothing to compare{': ' + reasons[0] if reasons else ''}."
        return f"{_without_reference(results)}{nothing}"
    what = "quality" if results.bench == "rivals" else "ratio"
    best = max(compared, key=lambda row: float(row[what]))
    sentence = _SENTENCES[results.bench](best, results)
    if len(compared) == 1 or results.bench == "rivals":  # whose sentence begins with what it is the best of
        return sentence
    return f"{sentence} This is the best ratio of {len(compared)} rows: {_RATIOS[results.bench]}."


_SIZES = {"retrieval": "top_k", "store": "documents"}
"""Of rows of one method or type, whose ratios say nothing, the largest is told of."""


def _without_reference(results: BenchResults) -> str:
    """Say what was reached where the text, which all is compared with, reached nothing; "" where nothing was."""
    if results.bench == "open_loop" and (kept := [row for row in results.rows if row["is_best"]]):
        best = max(kept, key=lambda row: float(row["offered_per_second"]))
        is_tried = any(_is_reference("open_loop", row) and not row["skipped"] for row in results.rows)
        text = ", and at no rate that was tried when it reads the text" if is_tried else "; the text was not measured"
        return (
            f"The server keeps the bound on 95 of 100 answers at {short(best['offered_per_second'])} requests a second "
            f"({best['mode']}){text}. "
        )
    if results.bench == "rivals" and (read := [row for row in results.rows if row["quality"] is not None]):
        best = max(read, key=lambda row: float(row["quality"]))
        return (
            f"Of all that could be measured {best['mode']} answers best: {best['metric'].replace('_', ' ')} "
            f"{with_error(best, 'quality')} on {best['n']:,} questions. "
        )
    return ""


_REFERENCES = {
    "latency": ("mode", "full"),
    "compress": ("mode", "naive"),
    "finetune": ("mode", "full"),
    "serve": ("mode", "full"),
    "open_loop": ("mode", "full"),
    "retrieval": ("method", "bm25"),
    "rivals": ("mode", "full"),
    "store": ("storage_dtype", "float32"),
}
"""What a ratio is over: its own is 1 and says nothing."""
_RATIOS = {
    "latency": "the text's time per token over that of vectors",
    "compress": "tokens a second over the naive way's",
    "finetune": "samples a second over those from text",
    "serve": "answers a second over those from text",
    "open_loop": "the highest rate that keeps the bound over that from text",
    "retrieval": "recall over that by words",
    "store": "bytes of float32 vectors over those stored",
}


def _is_reference(bench: str, row: Row) -> bool:
    """Whether the row is what others are compared with; rivals are so with the text however it is kept."""
    column, name = _REFERENCES[bench]
    return bool(row[column] == name) or (bench == "rivals" and row["wanted_ratio"] is None)


def _other(best: Row, results: BenchResults, *same: str) -> Row:
    """Return the row that the best one is compared with: the reference's, equal in these columns."""
    rows = [row for row in results.rows if _is_reference(results.bench, row)]
    return next(row for row in rows if all(row[name] == best[name] for name in same))


def _latency(best: Row, results: BenchResults) -> str:
    full = _other(best, results, "context_tokens")
    return (
        f"At {best['context_tokens']:,} context tokens, the model writes a token in {_ms(best, 'per_token_seconds')} "
        f"when {best['virtual_tokens']:,} vectors stand for the context, and in {_ms(full, 'per_token_seconds')} when "
        f"it reads the text: {best['ratio']:.2f} times as fast, and {short(best['ratio_first_token'])} times as fast "
        f"to the first token. {_floor(best, 'per_token_seconds', 'ms', 1e3)}"
    )


def _compress(best: Row, results: BenchResults) -> str:
    naive = _other(best, results, "document_tokens")
    return (
        f"Documents of {best['document_tokens']:,} tokens are compressed at {short(best['tokens_per_second'])} tokens "
        f"a second ({best['mode']}), {best['ratio']:.2f} times the naive way's {short(naive['tokens_per_second'])}. "
        f"{_floor(best, 'tokens_per_second', 'tokens/s')}"
    )


def _finetune(best: Row, results: BenchResults) -> str:
    full = _other(best, results, "context_tokens")
    return (
        f"At {best['context_tokens']:,} context tokens, an adapter is trained on {short(best['samples_per_second'])} "
        f"samples a second when vectors stand for the context, and on {short(full['samples_per_second'])} when it is "
        f"text: {best['ratio']:.2f} times as many. {_floor(best, 'samples_per_second', 'samples/s')}"
    )


def _serve(best: Row, results: BenchResults) -> str:
    full = _other(best, results, "clients")
    clients = "one client" if best["clients"] == 1 else f"{best['clients']:,} clients at once"
    return (
        f"With {clients} and documents of {best['context_tokens']:,} tokens, the server "
        f"gives {short(best['answers_per_second'])} answers a second ({best['mode']}), {best['ratio']:.2f} times the "
        f"{short(full['answers_per_second'])} of reading the text. {_floor(best, 'answers_per_second', 'answers/s')}"
    )


def _open_loop(best: Row, results: BenchResults) -> str:
    return (
        f"With documents of {best['context_tokens']:,} tokens, the server keeps the bound on 95 of 100 answers at "
        f"{short(best['offered_per_second'])} requests a second ({best['mode']}), {best['ratio']:.2f} times as many as "
        "when it reads the text."
    )


def _retrieval(best: Row, results: BenchResults) -> str:
    found = (
        f"Among the first {best['top_k']}, {best['method']} finds the {best['found']} for {short(best['recall'])} % of "
        f"{best['n']:,} questions"
    )
    if _is_reference("retrieval", best):
        return f"{found}."
    words = _other(best, results, "found", "top_k")
    return f"{found}, bm25 for {short(words['recall'])} %: {best['ratio']:.2f} times as many."


def _rivals(best: Row, results: BenchResults) -> str:
    full = _other(best, results)
    same = [row for row in results.rows if row["wanted_ratio"] == best["wanted_ratio"] and row["quality"] is not None]
    own = [with_error(row, "quality") for row in same if row["mode"] == "compressed" and row is not best]
    soft_prompt = f", soft prompts {own[0]}" if own else ""
    return (
        f"Of all that reads fewer positions than the text has, {best['mode']} at a ratio of {best['wanted_ratio']} "
        f"answers best: {best['metric'].replace('_', ' ')} {with_error(best, 'quality')} on {best['n']:,} questions"
        f"{soft_prompt}, the text {with_error(full, 'quality')}. An answer takes {_ms(best, 'answer_seconds')}, "
        f"{best['ratio']:.2f} times as fast as from the text."
    )


def _store(best: Row, results: BenchResults) -> str:
    vectors = "" if _is_reference("store", best) else f", its vectors {best['ratio']:.2f} times less than in float32"
    return (
        f"With {best['documents']:,} documents stored as {best['storage_dtype']}, one is looked up in "
        f"{_ms(best, 'lookup_seconds')} and found by its words in {_ms(best, 'retrieval_seconds')}; it takes "
        f"{short(1e-3 * best['disk_bytes_per_document'])} KB of disk{vectors}."
    )


def _ms(row: Row, name: str) -> str:
    return f"{short(1e3 * row[name])} ms"


def _floor(row: Row, name: str, unit: str, scale: float = 1.0) -> str:
    """Say how near the measured figure is to what the machine allows."""
    bound, fraction = row[f"floor_{name}"], row["floor_fraction"]
    if bound is None or fraction is None:
        return ""
    return (
        f"The machine's limit, from rates measured in the same run, is {short(scale * bound)} {unit}; "
        f"{100 * fraction:.0f} % of that speed is reached."
    )


_SENTENCES: Mapping[str, Callable[[Row, BenchResults], str]] = {
    "latency": _latency,
    "compress": _compress,
    "finetune": _finetune,
    "serve": _serve,
    "open_loop": _open_loop,
    "retrieval": _retrieval,
    "rivals": _rivals,
    "store": _store,
}
