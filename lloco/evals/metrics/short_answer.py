"""Short answers: token F1, exact match and containment, with SQuAD's normalisation.

Follows the official SQuAD, SCROLLS and LongBench (`qa_f1_score`) scripts: a score is the best over the references.
Single answers score 0..1; knows nothing of files, ids or means.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_DROP_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class Overlap:
    """What two bags of tokens share, each 0..1."""

    f1: float
    precision: float
    recall: float


NO_OVERLAP = Overlap(0.0, 0.0, 0.0)


def normalise_answer(text: str) -> str:
    """Lower-case, drop ASCII punctuation, drop a/an/the, collapse white space, in this order."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_DROP_PUNCTUATION)).split())


def token_overlap(pred: str, ref: str) -> Overlap:
    """Compare the normalised tokens as multisets; nothing shared is 0, even when both sides are empty."""
    pred_tokens = normalise_answer(pred).split()
    ref_tokens = normalise_answer(ref).split()
    num_same = sum((Counter(pred_tokens) & Counter(ref_tokens)).values())
    if num_same == 0:
        return NO_OVERLAP
    precision = num_same / len(pred_tokens)
    recall = num_same / len(ref_tokens)
    return Overlap(2 * precision * recall / (precision + recall), precision, recall)


def answer_f1(pred: str, refs: Sequence[str]) -> float:
    """Token F1 of one answer, 0..1, the best over the references."""
    return best_over(refs, lambda ref: token_overlap(pred, ref).f1)


def exact_match(pred: str, refs: Sequence[str]) -> float:
    """1.0 when the normalised answer equals a normalised reference, else 0.0."""
    normalised = normalise_answer(pred)
    return best_over(refs, lambda ref: float(normalised == normalise_answer(ref)))


def longbench_f1(pred: str, refs: Sequence[str]) -> float:
    """LongBench's `qa_f1_score` over its English question-answering sets, 0..1: the same token F1."""
    return answer_f1(pred, refs)


def needle(pred: str, refs: Sequence[str]) -> float:
    """1.0 when a reference occurs in the prediction, letters' case aside, else 0.0."""
    lowered = pred.lower()
    return best_over(refs, lambda ref: float(ref.lower() in lowered))


def string_match_all(pred: str, refs: Sequence[str]) -> float:
    """RULER's score of everything but its `qa` tasks: the share of the references that occur, letters' case aside.

    Its script first strips the prediction and turns control characters into line ends, which no reference can tell.

    Raises ValueError when there is no reference.
    """
    if not refs:
        raise ValueError("a score needs at least one reference, got none: give the expected answers")
    lowered = pred.lower()
    references = [refs] if isinstance(refs, str) else list(refs)
    return sum(ref.lower() in lowered for ref in references) / len(references)


def best_over(refs: Sequence[str], score: Callable[[str], float]) -> float:
    """The highest score over the references; one plain string counts as one reference.

    Raises ValueError when there is no reference: that is missing data, not a score of 0.
    """
    references = [refs] if isinstance(refs, str) else list(refs)
    if not references:
        raise ValueError("a score needs at least one reference, got none: give the expected answers")
    return max(score(ref) for ref in references)
