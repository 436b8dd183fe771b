"""Imports point one way: the layers below are the law, read from the source without running it."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lloco"

# Units of one layer may import one another, without a cycle, unless they are listed as apart.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "version"),
    ("files",),
    ("documents",),
    ("adapters", "fast_llama", "models", "prompts"),
    ("compressors", "retrieval", "store"),
    ("engine",),
    ("answer", "compress", "tasks", "training"),
    ("report",),
    ("bench", "evals", "hub", "importers", "self_study", "server"),
    ("demo", "vllm_plugins"),
    ("cli", "__main__"),
)
APART = {"engine", "training"}
DOORS = {"lloco", "lloco.cli"}
"""The public package and the command line start fast: they may import anything inside a function."""
LATE = {
    *(
        "charset_normalizer",
        "datasets",
        "gguf",
        "huggingface_hub",
        "lxml",
        "matplotlib",
        "openpyxl",
        "pyarrow",
        "pypdf",
        "pypdfium2",
        "striprtf",
        "tantivy",
    ),
    *("kvpress", "lance", "ray", "sentence_transformers", "uvicorn", "vllm"),
}
"""Optional or slow to import, and needed by few calls: these may be imported inside a function."""
LATE_OF_OURS = {"lloco.prompts.codebook", "lloco.prompts.soft_prompt", "lloco.models.quiet"}
"""These load torch or transformers: what lists a store or refuses a command does so without them."""
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "types", "constants", "shared", "base", "core"}
TERMS = {"base_model"}
"""What PEFT calls the model under its adapters: no vague name."""


@dataclass(frozen=True, slots=True)
class Import:
    importer: str
    target: str
    line: int
    is_inside_function: bool


def modules_of(package: Path) -> dict[str, Path]:
    """Map dotted names to files; a package is its `__init__.py`."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(name: str, path: Path, modules: Mapping[str, Path]) -> Iterator[Import]:
    """Every import of a file; `from package import module` is an import of that module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    late = {id(inner) for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, node.lineno, id(node) in late)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield Import(name, inner if inner in modules else module, node.lineno, id(node) in late)


def unit_of(module: str) -> str:
    """`lloco.tasks.task` belongs to the unit `tasks`, the package itself to "" (which may import everything)."""
    return module.split(".")[1] if "." in module else ""


def is_door(module: str) -> bool:
    return module == "lloco" or ".".join(module.split(".")[:2]) in DOORS


def violations_of(package: Path, layers: Sequence[Sequence[str]] = LAYERS) -> list[str]:
    """Everything about the package's imports and file names that breaks the house's rules."""
    modules = modules_of(package)
    rank = {unit: number for number, layer in enumerate(layers) for unit in layer}
    found = [f"{name}: no layer is named for it" for name in modules if unit_of(name) not in {"", *rank}]
    found += [f"{name}: a vague name" for name in modules if _is_vague(name.split(".")[-1])]
    edges: dict[str, set[str]] = {name: set() for name in modules}
    for name, path in modules.items():
        for one in imports_of(name, path, modules):
            where = f"{name}:{one.line} imports {one.target}"
            root = one.target.split(".")[0]
            if root == "" or root == package.name:
                found += [f"{where}: {why}" for why in _inner_faults(one, modules, rank)]
                edges[name] |= {one.target} & set(modules)
            elif one.is_inside_function and root not in LATE and not is_door(name):
                found.append(f"{where}: inside a function, and it is neither optional nor slow")
    return found + [f"cycle: {' -> '.join(cycle)}" for cycle in cycles_of(edges)]


def _is_vague(name: str) -> bool:
    return name not in TERMS and bool(VAGUE & set(name.split("_")))


def _inner_faults(one: Import, modules: Mapping[str, Path], rank: Mapping[str, int]) -> Iterator[str]:
    if one.target.startswith("."):
        yield "a relative import"
        return
    if one.target not in modules or modules[one.target].name == "__init__.py":
        yield "import from a module, not from a package"
    if one.is_inside_function and not is_door(one.importer) and one.target not in LATE_OF_OURS:
        yield "inside a function: move it to the top"
    own, other = unit_of(one.importer), unit_of(one.target)
    if own in rank and other in rank:
        if rank[other] > rank[own]:
            yield f"{other} stands in a layer below {own}"
        if own != other and {own, other} <= APART:
            yield f"{own} and {other} do not know each other"


def cycles_of(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """One cycle for every import that closes one, found depth first."""
    cycles: list[list[str]] = []
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            cycles.append([*path[path.index(name) :], name])
        elif name not in finished:
            for other in sorted(edges.get(name, ())):
                visit(other, [*path, name])
            finished.add(name)

    for name in sorted(edges):
        visit(name, [])
    return cycles


def test_the_packages_imports_point_one_way() -> None:
    assert violations_of(PACKAGE) == []


def test_every_layer_exists() -> None:
    here = {unit_of(name) for name in modules_of(PACKAGE)}
    assert {unit for layer in LAYERS for unit in layer} <= here


def test_the_page_on_the_structure_names_every_room_and_only_files_that_exist() -> None:
    page = (PACKAGE.parent / "docs" / "structure.md").read_text(encoding="utf-8")
    rooms = {one.parent.name for one in PACKAGE.glob("[!_.]*/[!_.]*")}
    assert {room for room in rooms if f"{room}/" not in page} == set()
    assert [name for name in re.findall(r"`(lloco/[\w/]+\.py)`", page) if not (PACKAGE.parent / name).is_file()] == []


@pytest.fixture
def bad_tree(tmp_path: Path) -> Path:
    package = tmp_path / "lloco"
    for folder in ("models", "engine", "training", "store"):
        (package / folder).mkdir(parents=True)
        (package / folder / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "errors.py").write_text("")
    (package / "models" / "decoder.py").write_text("from lloco.errors import LlocoError\n")
    return package


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("models/decoder.py", "from lloco.store.store import Store", "store stands in a layer below models"),
        ("errors.py", "import lloco.models.decoder", "models stands in a layer below errors"),
        ("engine/engine.py", "from lloco.training import loop", "do not know each other"),
        ("training/loop.py", "from lloco.engine.engine import Engine", "do not know each other"),
        ("store/store.py", "from lloco import Document", "import from a module"),
        ("store/store.py", "from lloco.models import Decoder", "import from a module"),
        ("store/store.py", "from . import catalogue", "a relative import"),
        ("store/store.py", "def f() -> None:\n    import json", "neither optional nor slow"),
        (
            "store/store.py",
            "async def f() -> None:\n    import lloco.errors",
            "move it to the top",
        ),
        ("store/utils.py", "", "a vague name"),
        ("file_helpers.py", "", "a vague name"),
        ("gadgets.py", "", "no layer is named for it"),
    ],
)
def test_the_checker_finds_a_fault(bad_tree: Path, file: str, source: str, complaint: str) -> None:
    (bad_tree / "store" / "store.py").write_text("")
    (bad_tree / "training" / "loop.py").write_text("")
    (bad_tree / "engine" / "engine.py").write_text("")
    assert violations_of(bad_tree) == []
    (bad_tree / file).write_text(source + "\n")
    assert any(complaint in violation for violation in violations_of(bad_tree))


def test_the_checker_finds_a_cycle_inside_a_layer(bad_tree: Path) -> None:
    (bad_tree / "store" / "a.py").write_text("from lloco.store import b\n")
    (bad_tree / "store" / "b.py").write_text("from lloco.store.c import x\n")
    (bad_tree / "store" / "c.py").write_text("from lloco.store.a import y\n")
    assert violations_of(bad_tree) == ["cycle: lloco.store.a -> lloco.store.b -> lloco.store.c -> lloco.store.a"]


def test_a_late_import_of_an_optional_module_is_allowed(bad_tree: Path) -> None:
    (bad_tree / "store" / "store.py").write_text("def f() -> None:\n    import tantivy\n")
    assert violations_of(bad_tree) == []
