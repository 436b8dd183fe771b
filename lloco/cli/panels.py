"""Help in groups: what is read, with which model, how it is trained, where results go; a verb's own flags first."""

from typing import Any

from typer.core import TyperCommand

_PANELS = {
    "Input": ("--corpus", "--data", "--task", "--validation", "--limit", "--store", "--document", "--questions"),
    "Model": (
        *("--model", "--compressor", "--adapter", "--template", "--device", "--dtype", "--max-positions"),
        *("--embedder", "--retrieval", "--engine", "--workers", "--random-weights"),
    ),
    "Output": ("--out", "--json", "--quiet", "--help"),
}
_OWN = "Options"
_ORDER = ("Arguments", _OWN, "Input", "Model")


class PanelCommand(TyperCommand):
    """A command whose help lists its options in panels."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write each panel as a section; panels that options name themselves stand before the last."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panel = _panel_of(parameter)
                # An argument's name says what it is; its Python type is nobody's business.
                name = record[0].partition(" <")[0] if panel == "Arguments" else record[0]
                panels.setdefault(panel, []).append((name, record[1]))
        names = [*_ORDER, *(name for name in panels if name not in (*_ORDER, "Output")), "Output"]
        for name in names:
            if name in panels:
                with formatter.section(name):
                    formatter.write_dl(panels[name])


def _panel_of(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return "Arguments"
    named = getattr(parameter, "rich_help_panel", None)
    if named is not None:
        return str(named)
    return next((panel for panel, flags in _PANELS.items() if set(flags) & set(parameter.opts)), _OWN)
