"""Equations of HTML (MathML) and Word (OMML) as one line of text: x^2, a_n, (a)/(b), sqrt(x).

Both formats name the same things; elements are told apart by their names without namespace.
"""

from collections.abc import Sequence
from typing import Any

from lloco.documents.extracted import raised

_MAX_DEPTH = 100
_TEXT = frozenset(["mi", "mn", "mo", "mtext", "ms", "t"])
_NOT_SHOWN = frozenset(["annotation", "annotation-xml", "rPr", "ctrlPr", "fPr", "sSupPr", "sSubPr", "radPr", "dPr",
                        "naryPr", "mPr", "funcPr", "accPr", "barPr", "limLowPr", "limUppPr", "eqArrPr", "sSubSupPr",
                        "groupChrPr", "boxPr", "oMathParaPr", "argPr", "delPr", "insPr"])  # fmt: skip


def equation_text(element: Any, depth: int = 0) -> str:
    """Return the equation below an lxml element; "" where it is nested beyond any real one."""
    if not isinstance(element.tag, str) or depth > _MAX_DEPTH:
        return ""
    name = local_name(element)
    if name in _NOT_SHOWN:
        return ""
    if name in _TEXT:
        return "".join(element.itertext()).strip() if name != "t" else "".join(element.itertext())
    parts = [equation_text(child, depth + 1) for child in element if local_name(child) not in _NOT_SHOWN]
    return _joined(name, element, parts)


def local_name(element: Any) -> str:
    """Return the element's name without namespace and prefix, "" for comments and entities."""
    return element.tag.rpartition("}")[2].rpartition(":")[2] if isinstance(element.tag, str) else ""


def _joined(name: str, element: Any, parts: Sequence[str]) -> str:
    match name, parts:
        case "msup" | "sSup" | "mover", [base, above]:
            return base + raised(above, "^")
        case "msub" | "sSub" | "munder", [base, below]:
            return base + raised(below, "_")
        case "msubsup" | "sSubSup" | "munderover", [base, below, above]:
            return base + raised(below, "_") + raised(above, "^")
        case "mfrac" | "f", [above, below]:
            return f"{_grouped(above)}/{_grouped(below)}"
        case "msqrt", _:
            return f"sqrt({''.join(parts)})"
        case "mroot", [of, degree]:
            return f"root_{degree}({of})"
        case "rad", [degree, of]:
            return f"root_{degree}({of})" if degree.strip() else f"sqrt({of})"
        case "d", _:
            return "".join((_value(element, "begChr", "("), ", ".join(parts), _value(element, "endChr", ")")))
        case "nary", [below, above, of]:
            return f"{_value(element, 'chr', '∫')}{raised(below, '_')}{raised(above, '^')} {of}"
        case (("mtr" | "mr"), _):
            return ", ".join(parts) + "; "
        case (("mtable" | "m"), _):
            return f"[{''.join(parts).removesuffix('; ')}]"
    return "".join(parts)


def _grouped(text: str) -> str:
    text = text.strip()
    return text if text.isalnum() else f"({text})"


def _value(element: Any, name: str, default: str) -> str:
    """Return what a property of a Word equation says, such as the sign of a sum."""
    for child in element.iter():
        if local_name(child) == name:
            return next((value for key, value in child.attrib.items() if key.endswith("val")), default)
        if local_name(child) == "e":
            break
    return default
