"""What the decoder reads, for training, prediction and serving alike: wording and layout.

The layout is `[before_context][soft prompts, then text][after_context + question]`, then the answer and EOS as the only
targets. Question and answer are tokenised apart and no BOS is added unless the template says so. The wording is
`template`'s, embeddings and padding are `batch`'s. Control tokens are those that a chat template writes, BOS and EOS;
a text that spells one is text. Does not know about models.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import torch
from jinja2 import TemplateError
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lloco.errors import LlocoError
from lloco.models.control_tokens import ControlTokens
from lloco.prompts.template import Template, fill


@dataclass(frozen=True, slots=True)
class History:
    """What was said before the question; no adapter was trained on any."""

    instructions: str = ""
    """Stands on lines of its own in front of everything that was asked; in a chat template at the end of the system
    turn."""
    turns: tuple[tuple[str, str], ...] = ()
    """Questions with their answers, oldest first, worded as the template words the last question; in a chat template
    turns of their own, of which the first has the context in front of its question."""


NO_HISTORY = History()


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What stands before the answer: 1-D token ids and 2-D embeds (num_virtual_tokens, hidden_size), in order."""

    pieces: tuple[Tensor, ...]
    num_context_tokens: int = 0
    """Document tokens that are read as text."""
    num_virtual_tokens: int = 0

    def __post_init__(self) -> None:
        if not self.length:
            raise LlocoError("the prompt is empty: give a question or a context")
        for piece in self.pieces:
            is_ids = piece.ndim == 1 and piece.dtype == torch.int64
            if not is_ids and not (piece.ndim == 2 and piece.is_floating_point()):
                raise LlocoError(
                    f"a prompt must hold 1-D int64 token ids and 2-D float embeds, got {tuple(piece.shape)} "
                    f"{piece.dtype}: pass one document's ids or soft prompt, without a batch dimension"
                )

    @property
    def length(self) -> int:
        """Positions that the prompt takes."""
        return sum(len(piece) for piece in self.pieces)


def build_prompt(
    template: Template,
    tokenizer: PreTrainedTokenizerBase,
    question: str,
    *,
    soft_prompts: Sequence[Tensor] = (),
    context_ids: Tensor | None = None,
    options: Sequence[str] = (),
    history: History = NO_HISTORY,
) -> Prompt:
    """Lay out context, history and question; soft prompts come first, oldest first, then context read as text.

    Raises:
        LlocoError: nothing to read, options without a place for them or the reverse, no chat template, no BOS.
    """
    if any(len(embeds) == 0 for embeds in soft_prompts):
        raise LlocoError("a soft prompt must have at least one virtual token, got 0: compress the document again")
    context = list(soft_prompts)
    if context_ids is not None and len(context_ids):
        context.append(context_ids)
    control = ControlTokens.of(tokenizer)
    template = _with_marks(template, control)
    question_text = _question_text(template, question, options)
    before, after = _texts_around_context(template, tokenizer, question_text, history, bool(context))
    before_ids, after_ids = control.ids(before), control.ids(after)
    if template.add_bos:
        _prepend_bos(tokenizer, before_ids if context else after_ids)
    return Prompt(
        pieces=tuple(piece for piece in (_as_tensor(before_ids), *context, _as_tensor(after_ids)) if len(piece)),
        num_context_tokens=0 if context_ids is None else len(context_ids),
        num_virtual_tokens=sum(len(embeds) for embeds in soft_prompts),
    )


def question_ids(
    template: Template, tokenizer: PreTrainedTokenizerBase, question: str, options: Sequence[str] = ()
) -> tuple[Tensor, Tensor]:
    """Return the token ids before and after a context that is read, as `build_prompt` lays them out."""
    context = torch.zeros(1, dtype=torch.int64)
    pieces = build_prompt(template, tokenizer, question, context_ids=context, options=options).pieces
    index = next(index for index, piece in enumerate(pieces) if piece is context)
    nothing = torch.empty(0, dtype=torch.int64)
    return (pieces[0] if index else nothing), (pieces[-1] if index + 1 < len(pieces) else nothing)


def answer_ids(template: Template, tokenizer: PreTrainedTokenizerBase, answer: str) -> Tensor:
    """Return the target token ids: the worded answer, then EOS.

    Raises:
        LlocoError: the tokenizer has no EOS token, so that an adapter could never learn to stop.
    """
    if tokenizer.eos_token_id is None:
        raise LlocoError("training needs an EOS token and the tokenizer has none: set eos_token in its config")
    control = ControlTokens.of(tokenizer)
    worded = fill(_with_marks(template, control).answer, {"answer": answer})
    return _as_tensor([*control.ids(worded), int(tokenizer.eos_token_id)])


def _with_marks(template: Template, control: ControlTokens) -> Template:
    """Return the template with its control tokens marked.

    Raises:
        LlocoError: the tokenizer does not have one of them.
    """
    if not template.control_tokens:
        return template
    if lacking := [token for token in template.control_tokens if control.mark(token) == token]:
        raise LlocoError(
            f"template {template.name!r} writes the control token {lacking[0]!r} and the tokenizer has none of that "
            "name: use the model that the template is for"
        )
    mark = partial(control.mark, tokens=template.control_tokens)
    return replace(
        template,
        before_context=mark(template.before_context),
        after_context=mark(template.after_context),
        question=mark(template.question),
        answer=mark(template.answer),
        option=mark(template.option),
        system=None if template.system is None else mark(template.system),
    )


def _texts_around_context(
    template: Template, tokenizer: PreTrainedTokenizerBase, question: str, history: History, has_context: bool
) -> tuple[str, str]:
    """Return the text before and after the context, control tokens marked; without a context all is after it."""
    if not template.use_chat_template:
        question = _history_text(template, history) + question
        return (template.before_context, template.after_context + question) if has_context else ("", question)
    messages = _messages(template, question, history)
    if not has_context:
        return "", _render_chat(template, tokenizer, messages)
    # A word that stands in for the context marks the place where vectors go, exactly where its text would be.
    first = next(message for message in messages if message["role"] == "user")
    first["content"] = f"{template.after_context}{first['content']}"
    marker = "LLOCO-CONTEXT"
    while any(marker in text for text in (template.before_context, *(message["content"] for message in messages))):
        marker += "X"
    first["content"] = f"{template.before_context}{marker}{first['content']}"
    pieces = _render_chat(template, tokenizer, messages).split(marker)
    if len(pieces) != 2:
        raise LlocoError(
            f"template {template.name!r} needs a chat template that shows the user's text once, the tokenizer's shows "
            f"it {len(pieces) - 1} times: set use_chat_template to false"
        )
    return pieces[0], pieces[1]


def _messages(template: Template, question: str, history: History) -> list[dict[str, str]]:
    """Return the turns of a chat; questions that had no answer are asked together with the one after them."""
    messages = []
    system = [text for text in (template.system, history.instructions) if text]
    if template.system is not None or system:
        messages.append({"role": "system", "content": "\n".join(system)})
    waiting: list[str] = []
    for asked, answer in history.turns:
        waiting.append(_question_text(template, asked, ()))
        if answer:
            messages.append({"role": "user", "content": "\n".join(waiting)})
            messages.append({"role": "assistant", "content": fill(template.answer, {"answer": answer})})
            waiting.clear()
    return [*messages, {"role": "user", "content": "\n".join([*waiting, question])}]


def _render_chat(template: Template, tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]]) -> str:
    """Return the chat as the tokenizer's template writes it; its control tokens are marked, those in texts are not."""
    control = ControlTokens.of(tokenizer)
    hidden = [{**message, "content": control.hide(message["content"])} for message in messages]
    try:
        rendered = _rendered(tokenizer, hidden)
    except (ValueError, TemplateError) as error:
        raise LlocoError(
            f"template {template.name!r} asks for a chat template and the tokenizer's cannot be used ({error}): "
            "set use_chat_template to false, or use a chat model"
        ) from error
    return control.show(control.mark(rendered))


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]]) -> str:
    """Apply the chat template; the text of a system turn that it refuses or drops begins the first user's turn."""

    def render(said: Sequence[dict[str, str]]) -> str:
        return str(tokenizer.apply_chat_template([*said], tokenize=False, add_generation_prompt=True))

    system, rest = messages[0], [*messages[1:]]
    if system["role"] != "system" or not system["content"].strip():
        return render(messages)
    with suppress(TemplateError):
        if (text := render(messages)) != render(rest):
            return text
    return render([{**rest[0], "content": f"{system['content']}\n\n{rest[0]['content']}"}, *rest[1:]])


def _history_text(template: Template, history: History) -> str:
    said = [history.instructions] if history.instructions else []
    for question, answer in history.turns:
        said.append(_question_text(template, question, ()) + fill(template.answer, {"answer": answer}))
    return "".join(f"{line}\n" for line in said)


def _question_text(template: Template, question: str, options: Sequence[str]) -> str:
    has_place = "{options}" in template.question
    if has_place != bool(options):
        needs = "needs options" if has_place else "has no place for {options}"
        raise LlocoError(
            f"template {template.name!r} {needs}, got {len(options) or 'no'} options: use a template made for this task"
        )
    if len(options) > 26:
        raise LlocoError(f"at most 26 options can be lettered, got {len(options)}: split the question")
    lines = [
        template.option.replace("{letter}", chr(ord("A") + index)).replace("{option}", option)
        for index, option in enumerate(options)
    ]
    return fill(template.question, {"question": question, "options": "\n".join(lines)})


def _as_tensor(ids: list[int]) -> Tensor:
    return torch.tensor(ids, dtype=torch.int64)


def _prepend_bos(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> None:
    """Put BOS first, unless the chat template already did."""
    bos = tokenizer.bos_token_id
    if bos is None:
        raise LlocoError("the template asks for BOS and the tokenizer has no BOS token: set add_bos to false")
    if ids[:1] != [bos]:
        ids.insert(0, int(bos))
