"""Readers that do not end, take all memory or never stop writing, for tests of the process that bounds them."""

import os
import time
from pathlib import Path
from typing import Any

from lloco.documents.extracted import UnreadableError


def length(path: Path, times: int) -> tuple[dict[str, Any], str]:
    text = path.read_text(encoding="utf-8")
    return {"length": len(text)}, text * times


def sleeps(path: Path) -> tuple[dict[str, Any], str]:
    path.with_name("begun").touch()
    time.sleep(60)
    return {}, ""


def spins(path: Path) -> tuple[dict[str, Any], str]:
    return {"length": sum(1 for _ in iter(int, 1))}, ""


def grows(path: Path) -> tuple[dict[str, Any], str]:
    return {}, "x" * (1 << 34)


def writes(path: Path) -> tuple[dict[str, Any], str]:
    return {}, "x" * (4 << 20)


def refuses(path: Path) -> tuple[dict[str, Any], str]:
    raise UnreadableError("nothing in it")


def dies(path: Path) -> tuple[dict[str, Any], str]:
    raise SystemExit(3)


def environment(path: Path) -> tuple[dict[str, Any], str]:
    return {"keys": sorted(os.environ)}, str(Path.cwd())
