"""The packaged wording for a task: what it asks for (a short answer, a choice, a summary), and its template."""

from typing import TYPE_CHECKING

from lloco.prompts.template import Kind, Template, default_template
from lloco.tasks.longbench import DATASETS
from lloco.tasks.sample import Sample
from lloco.tasks.task import find_task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def kind_of(task: str, sample: Sample | None = None) -> Kind:
    """Return what a task asks for, or one sample of it where a task's samples differ."""
    find_task(task)
    if task == "quality" or (sample is not None and sample.options):
        return "multiple choice"
    is_known = sample is not None and sample.dataset in DATASETS
    if task == "qmsum" or (is_known and sample is not None and DATASETS[sample.dataset].metric != "longbench_f1"):
        return "summary"
    return "short answer"


def template_for(tokenizer: "PreTrainedTokenizerBase", sample: Sample) -> Template:
    """Return the packaged wording for a sample, in chat form where the tokenizer has a chat template."""
    return default_template(tokenizer, kind_of(sample.task, sample))
