"""Make the files that a small English model is pretrained on, from public data sets or from lines that are there.

    python recipes/english/make_data.py --out DATA --held-out squad_articles.jsonl fairytaleqa.jsonl

Writes DATA/reading.jsonl.gz (texts with questions), DATA/text.jsonl.gz (plain texts) and DATA/summary.json. A text that
shares 13 words in a row with a held-out file is dropped. The same arguments and sets give the same files.
"""

import argparse
import gzip
import heapq
import json
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from held_out import HeldOut, read_held_out
from public_sources import SOURCES, PublicSource
from source_rows import hub_rows, local_rows
from training_text import TrainingText, pieces

from lloco.errors import DataError, LlocoError
from lloco.files.strict_json import read_values
from lloco.tasks.row import Row, as_row
from lloco.version import __version__

READING, TEXT, SUMMARY = "reading.jsonl.gz", "text.jsonl.gz", "summary.json"


@dataclass(slots=True)
class Count:
    """What became of the texts of one source."""

    num_read: int = 0
    num_dropped: int = 0
    """Shared 13 words in a row with a held-out file."""
    num_kept: int = 0
    num_questions: int = 0
    num_words: int = 0


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for; saved in the summary."""

    out: Path
    sources: tuple[str, ...]
    local: dict[str, Path]
    from_lines: tuple[Path, ...]
    held_out: tuple[Path, ...]
    limits: dict[str, int]
    """Texts of a source at most, by its name; under "" that of all others."""
    split: str
    seed: int

    def limit(self, name: str) -> int | None:
        """Return how many texts of a source are taken at most."""
        own = SOURCES[name].limit if name in SOURCES and not self.from_lines else None
        return self.limits.get(name, self.limits.get("", own))


def make_data(options: Options) -> dict[str, Count]:
    """Write the files; returns the counts of each source. Raises DataError, and then leaves older files alone."""
    held_out = read_held_out(options.held_out)
    counts: dict[str, Count] = {}
    options.out.mkdir(parents=True, exist_ok=True)
    temporary = {name: options.out / f".{name}.tmp" for name in (READING, TEXT)}
    num_lines = dict.fromkeys(temporary, 0)
    try:
        with ExitStack() as stack:
            files = {name: stack.enter_context(_gzipped(path, stack)) for name, path in temporary.items()}
            for text in _texts(options, held_out, counts):
                name = READING if text.questions else TEXT
                files[name].write(json.dumps(text.to_dict(), ensure_ascii=False).encode() + b"\n")
                num_lines[name] += 1
                _count_kept(counts[text.source], text)
        if not any(num_lines.values()):
            raise DataError("texts to train on were wanted, none is left: name more sources, or higher limits")
        for name, path in temporary.items():
            if num_lines[name]:
                path.replace(options.out / name)
            else:
                (options.out / name).unlink(missing_ok=True)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    summary = {
        "version": __version__,
        "options": asdict(options),
        "num_held_out_runs": len(held_out),
        "sources": {name: asdict(count) for name, count in counts.items()},
    }
    (options.out / SUMMARY).write_text(json.dumps(summary, indent=2, default=str) + "\n", encoding="utf-8")
    return counts


def _gzipped(path: Path, stack: ExitStack) -> IO[bytes]:
    """Open a gzip file whose bytes say neither when it was written nor where."""
    raw = stack.enter_context(path.open("wb"))
    return gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0)  # type: ignore[return-value]


def _count_kept(count: Count, text: TrainingText) -> None:
    count.num_kept += 1
    count.num_questions += len(text.questions)
    count.num_words += text.num_words


def _texts(options: Options, held_out: HeldOut, counts: dict[str, Count]) -> Iterator[TrainingText]:
    """Yield the texts that are kept, one source after another."""
    if options.from_lines:
        lines = _unshared(_line_texts(options.from_lines), held_out, counts)
        yield from _sampled(lines, options)
        return
    for name in options.sources:
        source = SOURCES[name]
        print(f"{name}: {options.local.get(name, source.hub_id)}", file=sys.stderr, flush=True)
        counts.setdefault(name, Count())
        kept = _unshared(source.read(name, _rows(source, options)), held_out, counts)
        # A set of questions is read whole and drawn from; of endless text, in an order drawn by the seed, the first.
        yield from _sampled(kept, options) if source.has_questions else islice(kept, options.limit(name))


def _rows(source: PublicSource, options: Options) -> Iterator[Row]:
    if source.name in options.local:
        return local_rows(source, options.local[source.name], options.split, options.seed)
    return hub_rows(source, options.split, options.seed)


def _unshared(texts: Iterable[TrainingText], held_out: HeldOut, counts: dict[str, Count]) -> Iterator[TrainingText]:
    """Drop what shares a run of words with a held-out file, and count it."""
    for text in texts:
        count = counts.setdefault(text.source, Count())
        count.num_read += 1
        if held_out.is_shared_by(text):
            count.num_dropped += 1
        else:
            yield text


def _sampled(texts: Iterable[TrainingText], options: Options) -> Iterator[TrainingText]:
    """Draw as many of each source as its limit says, every one as likely, and keep their order."""
    chooser = random.Random(options.seed)
    drawn: dict[str, list[tuple[float, int, TrainingText]]] = {}
    for index, text in enumerate(texts):
        limit = options.limit(text.source)
        if limit is None:
            yield text
            continue
        heap = drawn.setdefault(text.source, [])
        entry = (chooser.random(), index, text)
        if len(heap) < limit:
            heapq.heappush(heap, entry)
        elif entry > heap[0]:
            heapq.heapreplace(heap, entry)
    for heap in drawn.values():
        yield from (text for _, _, text in sorted(heap, key=lambda entry: entry[1]))


def _line_texts(files: Iterable[Path]) -> Iterator[TrainingText]:
    """Read lines `{text}`, `{text, questions: [{question, answers}]}` or `{context, qas: [{q, a}]}`, with a source."""
    for file in files:
        for where, value in read_values(file):
            yield from _line_text(as_row(value, where), file.name.partition(".")[0])


def _line_text(row: Row, file_name: str) -> Iterator[TrainingText]:
    source = row.text("source") if row.has("source") else file_name
    title = row.text("title", may_be_blank=True) if row.has("title") else ""
    text = row.text("context" if row.has("context") and not row.has("text") else "text")
    questions, question, answers = ("qas", "q", "a") if row.has("qas") else ("questions", "question", "answers")
    asked = {
        row_of_question.text(question): accepted
        for row_of_question in (row.rows(questions) if row.has(questions) else [])
        if (accepted := row_of_question.texts(answers))
    }
    if asked:
        yield TrainingText(source, title, text, tuple(asked.items()))
    else:
        yield from (TrainingText(source, title, piece) for piece in pieces(text))


def report(counts: dict[str, Count], is_filtered: bool) -> str:
    """Return the counts as a table."""
    lines = [
        "| source | read | dropped (13 words shared) | kept | questions | words |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, count in counts.items():
        dropped = f"{count.num_dropped:,}" if is_filtered else "not asked"
        lines.append(
            f"| {name} | {count.num_read:,} | {dropped} | {count.num_kept:,} | {count.num_questions:,} | "
            f"{count.num_words:,} |"
        )
    return "\n".join(lines)


def _options(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ",".join(name for name, source in SOURCES.items() if source.is_default)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the files")
    parser.add_argument("--sources", default=default, metavar="A,B", help=f"some of {', '.join(SOURCES)} [{default}]")
    parser.add_argument("--held-out", type=Path, nargs="+", default=[], metavar="FILE", help="evaluation files")
    parser.add_argument(
        "--local", action="append", default=[], metavar="ID=PATH", help="read a set from a folder or file instead"
    )
    parser.add_argument(
        "--from-lines", type=Path, nargs="+", default=[], metavar="FILE", help="JSON lines instead of public sets"
    )
    parser.add_argument(
        "--limit", action="append", default=[], metavar="[SOURCE=]N", help="texts of a source, or of each, at most"
    )
    parser.add_argument("--split", choices=("train", "validation", "test"), default="train")
    parser.add_argument("--seed", type=int, default=0)
    return _checked(parser.parse_args(argv))


def _checked(flags: argparse.Namespace) -> Options:
    """Read the flags' values. Raises DataError where one cannot be meant."""
    sources = tuple(_source_name(given) for given in flags.sources.split(","))
    local = {_source_name(name): Path(path) for name, path in (_pair(given) for given in flags.local)}
    limits = dict(_limit(given) for given in flags.limit)
    if not flags.from_lines:
        limits = {name and _source_name(name): number for name, number in limits.items()}
    elif local:
        raise DataError("--from-lines takes the place of the public sets, --local came too: leave one of them out")
    if unread := [name for name in local if name not in sources]:
        raise DataError(f"--local {unread[0]} is not among the sources {', '.join(sources)}: name it in --sources")
    return Options(
        out=flags.out,
        sources=sources,
        local=local,
        from_lines=tuple(flags.from_lines),
        held_out=tuple(flags.held_out),
        limits=limits,
        split=flags.split,
        seed=flags.seed,
    )


def _source_name(name: str) -> str:
    """Return the short name of a source that is called by it or by its hub id."""
    for source in SOURCES.values():
        if name in (source.name, source.hub_id):
            return source.name
    raise DataError(f"there is no source {name!r}: choose some of {', '.join(SOURCES)}, or their hub ids")


def _pair(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals or not path or not Path(path).exists():
        raise DataError(f"--local wanted ID=PATH with a folder or file that is there, {text!r} came: correct it")
    return name, path


def _limit(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not number.isdigit() or int(number) < 1:
        raise DataError(f"--limit wanted N or SOURCE=N, N a whole number from 1 on, {text!r} came: correct it")
    return name, int(number)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    try:
        options = _options(argv)
        counts = make_data(options)
    except (LlocoError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report(counts, bool(options.held_out)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
