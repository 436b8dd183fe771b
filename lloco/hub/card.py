"""The card of what is pushed: README.md for people, its first lines for the Hub's filters.

Says only what the files and the user say: kind, widths, digests, the licence as stated, scores from a results.json.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lloco.errors import DataError
from lloco.hub.artifact import CARD as CARD
from lloco.hub.artifact import Artifact

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*", re.ASCII)
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
_USE = {
    "compressor": "lloco pull {source} --out compressor\nlloco compress docs/ --corpus mine --compressor compressor",
    "adapter": 'lloco pull {source} --out adapter\nlloco ask --corpus mine --adapter adapter "your question"',
    "corpus": 'lloco pull {source} --corpus mine\nlloco ask --corpus mine "your question"',
}


def card_of(artifact: Artifact, source: str, licence: str | None, results: Path | None) -> bytes:
    """Return the card; its last line holds a digest of the others, which tells whether it was edited since.

    Raises:
        DataError: the licence is no identifier, or the results cannot be read.
    """
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise DataError(
            f"licence must be an identifier such as apache-2.0, got {licence!r}: name it so, or leave it out"
        )
    summary = artifact.summary
    base = str(summary.get("base_model", ""))
    head = ["---"]
    head += [f"license: {licence}"] if licence else []
    head += [
        f"library_name: {'peft' if artifact.kind == 'adapter' else 'lloco'}",
        f"tags:\n- lloco\n- lloco-{artifact.kind}",
    ]
    head += [f"base_model: {base}"] if _HUB_ID.fullmatch(base) else []
    rows = {**summary, "files": len(artifact.files), "bytes": f"{artifact.num_bytes:,}"}
    table = [f"| {key.replace('_', ' ')} | {_cell(value)} |" for key, value in rows.items()]
    text = [
        *head,
        "---",
        f"# {'An' if artifact.kind == 'adapter' else 'A'} {artifact.kind} of lloco\n",
        f"| | |\n|---|---|\n| kind | {artifact.kind} |",
        *table,
        f"| licence | {licence or 'not stated'} |",
        f"\n```sh\n{_USE[artifact.kind].format(source=source)}\n```",
    ]
    written = "\n".join([*text, *_results_lines(artifact, results)]) + "\n\n"
    return (written + _mark(written)).encode()


def licence_of(card: bytes) -> str | None:
    """Return the licence that a card states in its head, so that the next push keeps it."""
    head = card.decode(errors="replace").partition("---\n")[2].partition("\n---\n")[0]
    return next((line[9:].strip() for line in head.splitlines() if line.startswith("license: ")), None)


def is_edited(card: bytes) -> bool:
    """Whether a card is not as a push wrote it; one from before cards had a digest counts as edited."""
    text = card.decode(errors="replace")
    lines = text.splitlines(keepends=True)
    return not lines or lines[-1] != _mark("".join(lines[:-1]))


def _check_is_of(artifact: Artifact, results: Mapping[str, Any], path: Path) -> None:
    """Raise `DataError` for results of another adapter than the one that is pushed."""
    options = results.get("options")
    measured = options.get("adapter_digest") if isinstance(options, dict) else None
    own = artifact.summary.get("adapter_digest")
    if isinstance(options, dict) and artifact.kind == "adapter" and measured != own:
        measured_with = f"adapter {str(measured)[:12]}" if measured else "no adapter"
        raise DataError(
            f"{path} must have results of adapter {str(own)[:12]}, it has those of {measured_with}: evaluate this one"
        )


def _mark(text: str) -> str:
    return f"<!-- lloco push {hashlib.sha256(text.encode()).hexdigest()[:16]} -->\n"


def _results_lines(artifact: Artifact, path: Path | None) -> list[str]:
    """Return the scores that `lloco evaluate` wrote, a line a mode."""
    if path is None:
        return []
    try:
        results: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _check_is_of(artifact, results, path)
        lines = [f"\nScores on {_cell(results['task'])}:\n\n| what is read | n | scores |\n|---|---:|---|"]
        for row in results["rows"]:
            errors = row["stderr"]
            scores = [
                f"{name} {value:.2f}" + (f" ± {errors[name]:.2f}" if errors.get(name) is not None else "")
                for name, value in row["metrics"].items()
            ]
            lines.append(f"| {_cell(row['mode'])} | {int(row['n'])} | {_cell(', '.join(scores))} |")
    except DataError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or repr(error)
        raise DataError(f"results of `lloco evaluate` in {path} cannot be read ({reason}): check it") from error
    return lines


def _cell(value: object) -> str:
    """Return text that stays inside one cell of a table, whatever it holds."""
    return re.sub(r"[\s|`<>\[\]]+", " ", str(value)).strip()[:200] or "-"
