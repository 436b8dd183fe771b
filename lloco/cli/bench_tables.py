"""The table of a bench, in a terminal."""

from typing import TYPE_CHECKING

from lloco.bench.show.columns import machine_line, table_of
from lloco.cli.output import table_text

if TYPE_CHECKING:
    from lloco.bench.show.results import BenchResults


def bench_table(results: "BenchResults") -> str:
    """Return the rows that were measured, under the machine they were measured on."""
    columns, rows = table_of(results.bench, results.rows)
    caption = f"{machine_line(results.machine)}; median (smallest-largest)"
    return table_text(f"bench {results.bench}", columns, rows, num_left=0, num_whole=len(columns), caption=caption)
