"""The wording around context, question and answer, as data: a JSON file that is saved with the adapter.

An adapter learns its wording byte for byte, so nothing here trims, completes or normalises it. `default_template`
alone chooses a wording where neither the user nor an adapter names one. Does not know about tokens: `prompt` lays a
template out.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from lloco.errors import DataError

REPEAT_INSTRUCTION = "\nRepeat the document:\n"


TEMPLATE_FILE = "template.json"
DEFAULT_OPTION = "({letter}) {option}"
Kind: TypeAlias = Literal["short answer", "multiple choice", "summary"]
"""What a question asks for."""
_CHAT_WORDINGS: dict[Kind, str] = {
    "short answer": "short_answer",
    "multiple choice": "chat_multiple_choice",
    "summary": "chat_summarize",
}
_PLAIN_WORDINGS: dict[Kind, str] = {
    "short answer": "default",
    "multiple choice": "multiple_choice",
    "summary": "summarize",
}
_PLACEHOLDER = re.compile(r"\{(question|options|answer)\}")


@dataclass(frozen=True, slots=True)
class Template:
    """The wording around context, question and answer, byte for byte as an adapter learns it."""

    name: str
    """What messages and results call it."""
    before_context: str
    """Text before the context; left out when there is no context."""
    after_context: str
    """Text between context and question; left out when there is no context."""
    question: str
    """The question's wording, with {question} and, for multiple choice, {options}."""
    answer: str
    """The answer's wording, with {answer}."""
    use_chat_template: bool = False
    """Put everything inside a user turn of the tokenizer's chat template."""
    add_bos: bool = False
    """Begin with the tokenizer's BOS token."""
    stop: tuple[str, ...] = ()
    """Strings that end an answer, beside EOS."""
    option: str = DEFAULT_OPTION
    """The wording of one option, with {letter} and {option}; each stands on a line of its own."""
    system: str | None = None
    """The system turn in front of a chat template's user turn; the chat template's own where it is None."""
    control_tokens: tuple[str, ...] = ()
    """Special tokens of the tokenizer that stand in the wording as such; all others that it spells are text."""

    def __post_init__(self) -> None:
        where = f"template {self.name!r}"
        allowed = {"question": {"question", "options"}, "answer": {"answer"}}
        for field in ("before_context", "after_context", "question", "answer"):
            found = set(_PLACEHOLDER.findall(getattr(self, field)))
            if wrong := sorted(found - allowed.get(field, set())):
                raise DataError(f"{where}: {{{wrong[0]}}} cannot stand in {field}: move it to the field it belongs to")
            if field in allowed and field not in found:
                raise DataError(f"{where}: {field} must hold {{{field}}}, it is {getattr(self, field)!r}: add it")
        if self.answer.count("{answer}") > 1:
            raise DataError(f"{where}: answer must hold {{answer}} once, it is {self.answer!r}: remove the others")
        if self.system is not None and not self.use_chat_template:
            raise DataError(f"{where}: system needs use_chat_template to be true: set it, or remove system")
        if "{option}" not in self.option:
            raise DataError(f"{where}: option must hold {{option}}, it is {self.option!r}: add it")
        if "" in self.control_tokens:
            raise DataError(f"{where}: control_tokens must be spelled, one is empty: remove it")
        if "" in self.stop:
            raise DataError(f"{where}: an empty stop string would end every answer at once: remove it")

    @staticmethod
    def load(path: str | Path) -> "Template":
        """Read a template file, or the template.json of an adapter folder.

        Raises:
            DataError: no such file, not JSON, an unknown or missing key, or a value of the wrong type.
        """
        path = Path(path)
        file = path / TEMPLATE_FILE if path.is_dir() else path
        try:
            text = file.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"template {file} cannot be read ({error}): check the path") from error
        return _parse_template(text, str(file))

    @staticmethod
    def of_adapter(folder: Path | None) -> "Template | None":
        """Read the wording that an adapter was trained with; None where it brings none, or there is no adapter."""
        return None if folder is None or not (folder / TEMPLATE_FILE).is_file() else Template.load(folder)

    @staticmethod
    def packaged(name: str) -> "Template":
        """Return a template that comes with lloco.

        Raises:
            DataError: there is none of that name.
        """
        folder = files("lloco") / "templates"
        names = sorted(file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json"))
        if name not in names:
            raise DataError(f"no template is named {name!r}: use {', '.join(names)}, or the path of a JSON file")
        return _parse_template((folder / f"{name}.json").read_text(encoding="utf-8"), f"packaged template {name}")

    def to_json(self) -> str:
        """Return the text of the template's file, the same as before templates had these newer fields."""
        newer = {"option": DEFAULT_OPTION, "system": None, "control_tokens": ()}
        values = {key: value for key, value in asdict(self).items() if key not in newer or value != newer[key]}
        return json.dumps(values, indent=2) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the template's file."""
        Path(path).write_bytes(self.to_json().encode("utf-8"))

    def read_answer(self, generated: str) -> str:
        """Take the answer out of generated text by undoing the wording of `answer`, as far as the text follows it."""
        before, after = self.answer.split("{answer}")
        return generated.removeprefix(before).removesuffix(after)


DEFAULT_TEMPLATE = Template(
    name="default",
    before_context="",
    after_context="\n",
    question="Question: {question}\nAnswer:",
    answer=" {answer}",
)


class ChatTokenizer(Protocol):
    """What chooses the default wording: a tokenizer, of which only its chat template matters here."""

    chat_template: Any


def default_template(tokenizer: ChatTokenizer, kind: Kind) -> Template:
    """Return the packaged wording for a question of this kind, in chat form where the tokenizer has a chat template.

    A template that the user names goes before it, and so does the one that an adapter was trained with.
    """
    return Template.packaged((_CHAT_WORDINGS if has_chat_template(tokenizer) else _PLAIN_WORDINGS)[kind])


def has_chat_template(tokenizer: ChatTokenizer) -> bool:
    """Return whether the tokenizer has a chat template that is used without a name."""
    found = tokenizer.chat_template
    return "default" in found if isinstance(found, Mapping) else bool(found)


def fill(wording: str, values: Mapping[str, str]) -> str:
    """Put values in their places in one pass, so that braces inside a value stay as they are."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], wording)


def _parse_template(text: str, where: str) -> Template:
    try:
        values: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is not a template in JSON ({error}): correct it") from error
    if not isinstance(values, dict):
        raise DataError(f"a template is a JSON object, {where} holds a {type(values).__name__}: correct it")
    known = {field.name: field for field in fields(Template)}
    if unknown := sorted(set(values) - set(known)):
        raise DataError(f"{where} has unknown key {unknown[0]!r}: a template has {', '.join(known)}")
    if missing := [name for name, field in known.items() if field.default is MISSING and name not in values]:
        raise DataError(f"{where} lacks {', '.join(missing)}: add it, an empty string if nothing stands there")
    lists = ("stop", "control_tokens")
    wanted: dict[str, type] = {**dict.fromkeys(lists, list), "use_chat_template": bool, "add_bos": bool}
    for name, value in values.items():
        kind = wanted.get(name, str)
        items = value if isinstance(value, list) else []
        if not isinstance(value, kind) or not all(isinstance(item, str) for item in items):
            raise DataError(f"{where}: {name} must be a {kind.__name__}, it is {value!r}: correct it")
    return Template(**{**values, **{name: tuple(values.get(name, ())) for name in lists}})
