"""The official metrics under one roof: every function a benchmark's score is made of, by its public name.

Single answers score 0..1. Means are on the scale of the benchmark's own script: `rouge_means`, `rouge_geometric_mean`
and `hotpot_f1_lloco` 0..100 (the last rounded to 2 decimals, as its script does), `hotpot_official` and
`quality_accuracy` fractions 0..1. The scorer gives all as 0..100.
"""

from lloco.evals.metrics.hotpot import hotpot_f1_lloco, hotpot_official
from lloco.evals.metrics.multiple_choice import is_letter_lloco, parse_letter, quality_accuracy
from lloco.evals.metrics.rouge import longbench_rouge_l, rouge_geometric_mean, rouge_means, rouge_scores
from lloco.evals.metrics.short_answer import (
    answer_f1,
    exact_match,
    longbench_f1,
    needle,
    normalise_answer,
    string_match_all,
)

__all__ = [
    "answer_f1",
    "exact_match",
    "hotpot_f1_lloco",
    "hotpot_official",
    "is_letter_lloco",
    "longbench_f1",
    "longbench_rouge_l",
    "needle",
    "normalise_answer",
    "parse_letter",
    "quality_accuracy",
    "rouge_geometric_mean",
    "rouge_means",
    "rouge_scores",
    "string_match_all",
]
