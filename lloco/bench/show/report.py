"""The page about a bench: a sentence, the table, the plots, and what it was measured on."""

from pathlib import Path

from lloco.bench.show.columns import column_note, machine_line, skipped_rows, table_of
from lloco.bench.show.headline import headline
from lloco.bench.show.results import BenchResults
from lloco.report.page import described, render_page, write_page


def write_bench_report(results: BenchResults, path: Path, *, command: str = "") -> None:
    """Write the page; `command` is what a reader runs to measure again."""
    write_page(path, render_bench_report(results, command=command))


def render_bench_report(results: BenchResults, *, command: str = "") -> str:
    """Return the page's HTML."""
    columns, cells = table_of(results.bench, results.rows)
    plots = [plot for plot in results.plots() if plot.lines]
    return render_page(
        "bench/show/report.html.j2",
        title=f"lloco bench {results.bench}",
        command=command,
        bench=results.bench,
        headline=headline(results),
        columns=columns,
        rows=cells,
        column_note=column_note(results.bench),
        skipped=skipped_rows(results.rows),
        machine=machine_line(results.machine),
        plots=plots,
        has_bounds=any(line.is_bound for plot in plots for line in plot.lines),
        about=[
            ("Machine", described(results.machine)),
            ("Options", described(results.options)),
            ("Versions", described(results.versions)),
        ],
    )
