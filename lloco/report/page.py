"""A report page: one HTML file that asks for nothing from anywhere and runs no text that it shows.

How all pages look is in `page.html.j2` and `page.css`; what is on one is the caller's, whose template extends it.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jinja2

from lloco.files.durable import make_folder_durably, write_durably
from lloco.report.axis import number_text
from lloco.version import __version__

REPORT_FILE = "report.html"


def render_page(template: str, **shown: Any) -> str:
    """Fill a template of the package, named by its path there; every value is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lloco", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number_text
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return environment.get_template(template).render(made=made, version=__version__, **shown)


def write_page(path: Path, page: str) -> None:
    """Write the page, whole or not at all."""
    make_folder_durably(path.parent)
    write_durably(path, page.encode(errors="backslashreplace"))


def described(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return options, versions or a machine as names and texts for people."""
    return [(name.replace("_", " "), _text(value)) for name, value in values.items()]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {_text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if value is None:
        return "none"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(value)
    return value if isinstance(value, str) else json.dumps(value, default=str)
