"""ROUGE in the two flavours that benchmarks use; they differ by several points and must not be mixed.

SCROLLS: Google's `rouge_score` without stemmer, best reference *per type*, cube root of the product of the three means.
LongBench: the summary-level ROUGE-L of the PyPI package `rouge` 1.0.1. It is computed here with the same rules, because
that package recurses once per word (long sentences raise RecursionError); the tests hold the two equal.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from rouge_score.rouge_scorer import RougeScorer

from lloco.evals.metrics.short_answer import best_over

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")


def rouge_scores(pred: str, refs: Sequence[str]) -> dict[str, float]:
    """rouge1, rouge2 and rougeL F of one prediction, 0..1, each the best over the references."""
    scorer = RougeScorer(list(ROUGE_TYPES), use_stemmer=False)
    references = [refs] if isinstance(refs, str) else list(refs)
    if not references:
        raise ValueError("ROUGE needs at least one reference, got none: give the expected texts")
    scores = [scorer.score(ref, pred) for ref in references]
    return {name: max(float(score[name].fmeasure) for score in scores) for name in ROUGE_TYPES}


def rouge_means(preds: Sequence[str], refs_list: Sequence[Sequence[str]]) -> dict[str, float]:
    """Means of the three ROUGE F over predictions, 0..100.

    Raises ValueError when the two lists differ in length or are empty.
    """
    if len(preds) != len(refs_list) or not preds:
        raise ValueError(
            f"ROUGE needs one list of references per prediction, got {len(preds)} predictions and "
            f"{len(refs_list)} lists of references: pass both in the same order"
        )
    scores = [rouge_scores(pred, refs) for pred, refs in zip(preds, refs_list, strict=True)]
    return {name: 100 * math.fsum(score[name] for score in scores) / len(scores) for name in ROUGE_TYPES}


def geometric_mean(means: Mapping[str, float]) -> float:
    """Cube root of the product of the three ROUGE means, on the scale of the means."""
    return float(np.cbrt(math.prod(means[name] for name in ROUGE_TYPES)))


def rouge_geometric_mean(preds: Sequence[str], refs_list: Sequence[Sequence[str]]) -> float:
    """SCROLLS' summary score, 0..100: geometric mean of the means of rouge1, rouge2 and rougeL (arXiv 2201.03533)."""
    return geometric_mean(rouge_means(preds, refs_list))


def longbench_rouge_l(pred: str, refs: Sequence[str]) -> float:
    """LongBench's `rouge_score`, 0..1, the best over the references; an empty prediction scores 0."""
    return best_over(refs, lambda ref: _summary_level_f(_sentences(pred), _sentences(ref)))


def _sentences(text: str) -> list[list[str]]:
    """Words of every piece between full stops; a piece of white space alone is one empty word, as in `rouge`."""
    return [piece.split() or [""] for piece in text.split(".") if piece]


def _summary_level_f(pred: list[list[str]], ref: list[list[str]]) -> float:
    if not pred or not ref:
        return 0.0
    shared: set[str] = set()
    for ref_words in ref:
        for pred_words in pred:
            shared |= _common_subsequence(ref_words, pred_words)
    recall = len(shared) / len({word for words in ref for word in words})
    precision = len(shared) / len({word for words in pred for word in words})
    return 2 * precision * recall / (precision + recall + 1e-8)


def _common_subsequence(ref_words: list[str], pred_words: list[str]) -> set[str]:
    """Words on one longest common subsequence: the one found by walking back, leaving a prediction word on a tie."""
    if not set(ref_words) & set(pred_words):
        return set()
    lengths = _lcs_lengths(ref_words, pred_words)
    found: set[str] = set()
    i, j = len(ref_words), len(pred_words)
    while i and j:
        if ref_words[i - 1] == pred_words[j - 1]:
            found.add(ref_words[i - 1])
            i, j = i - 1, j - 1
        elif lengths[i - 1, j] > lengths[i, j - 1]:
            i -= 1
        else:
            j -= 1
    return found


def _lcs_lengths(ref_words: list[str], pred_words: list[str]) -> npt.NDArray[np.int32]:
    """Table (ref words + 1, pred words + 1) of the length of the longest common subsequence of every two prefixes."""
    numbers = {word: number for number, word in enumerate(dict.fromkeys(ref_words + pred_words))}
    pred_numbers = np.array([numbers[word] for word in pred_words])
    lengths = np.zeros((len(ref_words) + 1, len(pred_words) + 1), dtype=np.int32)
    for i, word in enumerate(ref_words, start=1):
        above = lengths[i - 1]
        extended = above[:-1] + (pred_numbers == numbers[word])
        lengths[i, 1:] = np.maximum.accumulate(np.maximum(above[1:], extended))
    return lengths
