"""How long a question's prompt is when its document is read whole: what `build_ruler` counts.

The wording is the packaged one for the question unless another is given.
"""

from transformers import PreTrainedTokenizerBase

from lloco.models.tokenize import token_ids
from lloco.prompts.prompt import build_prompt
from lloco.prompts.template import Template
from lloco.tasks.sample import Sample
from lloco.tasks.wording import template_for


def prompt_len(tokenizer: PreTrainedTokenizerBase, sample: Sample, template: Template | None = None) -> int:
    """Return the tokens of the document and the question, with the wording around them."""
    wording = template or template_for(tokenizer, sample)
    context_ids = token_ids(tokenizer, sample.document.text)
    return build_prompt(wording, tokenizer, sample.question, context_ids=context_ids, options=sample.options).length
