"""The wording that `--template` names, and what is said where an adapter does not bring its own."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lloco.cli.output import Output

if TYPE_CHECKING:
    from lloco.prompts.template import Template


def named_template(name: str) -> "Template":
    """Read a template's file, or take the packaged one of this name.

    Raises:
        DataError: it cannot be read, or there is none of that name.
    """
    from lloco.prompts.template import Template

    return Template.load(name) if Path(name).exists() else Template.packaged(name)


def adapter_template(name: str | None, adapter: Path | None, output: Output) -> "Template | None":
    """Return the named template, else the adapter's own; None where there is neither.

    Warns where an adapter brings no wording, and where it was trained with another than the named one.
    """
    from lloco.prompts.template import TEMPLATE_FILE, Template

    wording = Template.of_adapter(adapter)
    if name is not None:
        named = named_template(name)
        if wording is not None and replace(wording, name=named.name) != named:
            output.warn(
                f"adapter {adapter} was trained with wording {wording.name!r}, --template {name} is another: answers "
                "may be worse; leave --template out, or finetune with it"
            )
        return named
    if adapter is not None and wording is None:
        output.warn(
            f"adapter {adapter} has no {TEMPLATE_FILE}: a packaged wording is used, which may not be the one it "
            "learned; name its own with --template"
        )
    return wording
