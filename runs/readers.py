"""What each candidate reader loses on the files of tests/data/documents, file by file; docs/readers.md has the sums.

    pip install trafilatura markdownify inscriptis pdfminer.six mammoth docx2python python-docx python-pptx odfpy
    python -m runs.readers

A value that a file must give is found where its letters, digits, signs and ticks come in order, whatever stands
between cells or before items. What is not installed is left out.
"""

import importlib.util
import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lloco.documents.document import read_documents

FOLDER = Path(__file__).parent.parent / "tests" / "data" / "documents"
LAYOUT = re.compile(r"[\s|;*#>`~•·–\\-]+")


def lloco(path: Path) -> str:
    return "\n".join(document.text for document in read_documents([path], on_skip=lambda skipped: None))


def html_of(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252")


def trafilatura(path: Path) -> str:
    import trafilatura

    return trafilatura.extract(html_of(path), include_comments=False, include_tables=True) or ""


def trafilatura_recall(path: Path) -> str:
    import trafilatura

    return trafilatura.extract(html_of(path), include_tables=True, favor_recall=True, include_formatting=True) or ""


def markdownify(path: Path) -> str:
    import markdownify

    options = {"sup_symbol": "^", "sub_symbol": "_", "escape_underscores": False, "bs4_options": "lxml"}
    return markdownify.markdownify(html_of(path), strip=["script", "style", "title", "a"], **options)


def inscriptis(path: Path) -> str:
    import inscriptis

    return inscriptis.get_text(html_of(path))


def pypdfium2(path: Path) -> str:
    import pypdfium2

    return "\n".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(path))


def pypdf(path: Path) -> str:
    import pypdf

    return "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)


def pdfminer(path: Path) -> str:
    import pdfminer.high_level

    return pdfminer.high_level.extract_text(path)


def mammoth(path: Path) -> str:
    import mammoth

    with path.open("rb") as file, tempfile.NamedTemporaryFile("w", suffix=".html") as page:
        page.write(f"<html><body>{mammoth.convert_to_html(file).value}</body></html>")
        page.flush()
        return lloco(Path(page.name))


def docx2python(path: Path) -> str:
    import docx2python

    with docx2python.docx2python(path) as document:
        return document.text


def python_docx(path: Path) -> str:
    import docx

    blocks = docx.Document(str(path)).iter_inner_content()
    return "\n".join(
        block.text if hasattr(block, "text") else "\n".join(" ".join(c.text for c in row.cells) for row in block.rows)
        for block in blocks
    )


def python_pptx(path: Path) -> str:
    import pptx

    shapes = [shape for slide in pptx.Presentation(str(path)).slides for shape in slide.shapes]
    return "\n".join(shape.text_frame.text for shape in shapes if shape.has_text_frame)


def odfpy(path: Path) -> str:
    import odf.opendocument
    import odf.teletype

    return odf.teletype.extractText(odf.opendocument.load(str(path)).body)


def striprtf(path: Path) -> str:
    import striprtf.striprtf

    return striprtf.striprtf.rtf_to_text(path.read_bytes().decode("latin-1"))


CANDIDATES: dict[str, dict[str, Callable[[Path], str]]] = {
    ".html .htm": {
        "trafilatura": trafilatura,
        "trafilatura, for recall": trafilatura_recall,
        "markdownify": markdownify,
        "inscriptis": inscriptis,
    },
    ".pdf": {"pypdfium2": pypdfium2, "pypdf": pypdf, "pdfminer": pdfminer},
    ".docx": {"python-docx": python_docx, "mammoth": mammoth, "docx2python": docx2python},
    ".pptx": {"python-pptx": python_pptx},
    ".odt .ods": {"odfpy": odfpy},
    ".rtf": {"striprtf": striprtf},
}


def flat(text: str) -> str:
    return LAYOUT.sub(" ", text)


def faults(read: Callable[[Path], str], path: Path, expected: dict[str, Any]) -> int | str:
    """Values that are lost, and menus and the like that are not; or the error that reading ended with."""
    try:
        text = flat(read(path))
    except Exception as error:  # a candidate may fail in any way, which is what is measured
        return type(error).__name__
    lost = sum(flat(words).strip() not in text for words in expected["has"])
    return lost + sum(flat(words).strip() in text for words in expected.get("not", []))


def main() -> None:
    expected = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
    for suffixes, candidates in CANDIDATES.items():
        names = [name for name in expected if Path(name).suffix in suffixes.split()]
        found = [name for name in candidates if importlib.util.find_spec(_module(name)) is not None]
        readers = {"lloco": lloco, **{name: candidates[name] for name in found}}
        print(f"| file | values | {' | '.join(readers)} |\n|---|---:|{'---:|' * len(readers)}")
        totals = dict.fromkeys(readers, 0)
        for name in names:
            num = len(expected[name]["has"]) + len(expected[name].get("not", []))
            came = {reader: faults(read, FOLDER / name, expected[name]) for reader, read in readers.items()}
            for reader, fault in came.items():
                totals[reader] += fault if isinstance(fault, int) else num
            print(f"| `{name}` | {num} | {' | '.join(str(fault) for fault in came.values())} |")
        print(f"| all | | {' | '.join(str(total) for total in totals.values())} |\n")


def _module(name: str) -> str:
    known = {"python-docx": "docx", "python-pptx": "pptx", "odfpy": "odf"}
    return known.get(name, name.split(",")[0])


if __name__ == "__main__":
    sys.exit(main())
