"""The answer inside generated text, piece by piece: the same text as `Template.read_answer(...).strip()` of the whole.

What may yet turn out to be wording or white space around the answer is held back until it is certain.
"""

from lloco.prompts.template import Template


class AnswerText:
    """Takes generated text as it comes and gives the answer's text as soon as it is certain."""

    def __init__(self, template: Template) -> None:
        self._before, self._after = template.answer.split("{answer}")
        self._held = ""
        self._is_after_wording = self._is_begun = False

    def add(self, text: str) -> str:
        """Take generated text; returns what of the answer is certain now and was not before."""
        self._held += text
        if not self._is_after_wording:
            if len(self._held) < len(self._before) and self._before.startswith(self._held):
                return ""
            self._held, self._is_after_wording = self._held.removeprefix(self._before), True
        certain = self._held[: max(0, len(self._held) - len(self._after))].rstrip()
        if not certain.strip():
            return ""
        self._held = self._held[len(certain) :]
        return self._begin(certain)

    def end(self) -> str:
        """Return the rest of the answer."""
        held = self._held if self._is_after_wording else self._held.removeprefix(self._before)
        return self._begin(held.removesuffix(self._after).rstrip())

    def _begin(self, text: str) -> str:
        """Drop white space in front of the answer's first word."""
        text, self._is_begun = text if self._is_begun else text.lstrip(), True
        return text
