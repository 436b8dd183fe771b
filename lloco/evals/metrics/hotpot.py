"""HotpotQA: the official answer, supporting-fact and joint scores, and the looser F1 that the LLoCO paper reports.

Official rules (arXiv 1809.09600, evaluation script v1): yes/no answers must agree, everything missing counts 0.
LLoCO's rules (arXiv 2404.07979): the prediction ends at its first full stop, missing ids are left out, no yes/no rule.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lloco.evals.metrics.short_answer import NO_OVERLAP, Overlap, normalise_answer, token_overlap

Fact = tuple[str, int]
_CLOSED_ANSWERS = ("yes", "no", "noanswer")
_NAMES = ("em", "f1", "prec", "recall")


@dataclass(frozen=True, slots=True)
class Agreement:
    """Exact match and overlap of one question, for its answer, its supporting facts or both jointly."""

    em: float
    overlap: Overlap

    def named(self, prefix: str) -> dict[str, float]:
        """The four numbers under the official script's names."""
        values = (self.em, self.overlap.f1, self.overlap.precision, self.overlap.recall)
        return {prefix + name: value for name, value in zip(_NAMES, values, strict=True)}


NO_AGREEMENT = Agreement(0.0, NO_OVERLAP)


def answer_agreement(pred: str, ref: str) -> Agreement:
    """Exact match and token F1, which is 0 when either side is yes, no or noanswer and the two differ."""
    pred_text, ref_text = normalise_answer(pred), normalise_answer(ref)
    if pred_text != ref_text and (pred_text in _CLOSED_ANSWERS or ref_text in _CLOSED_ANSWERS):
        return NO_AGREEMENT
    return Agreement(float(pred_text == ref_text), token_overlap(pred, ref))


def facts_agreement(pred: Iterable[Fact], gold: Iterable[Fact]) -> Agreement:
    """Exact match and F1 of two sets of (title, sentence number)."""
    pred_facts, gold_facts = set(pred), set(gold)
    num_shared = len(pred_facts & gold_facts)
    precision = num_shared / len(pred_facts) if pred_facts else 0.0
    recall = num_shared / len(gold_facts) if gold_facts else 0.0
    return Agreement(float(pred_facts == gold_facts), _overlap(precision, recall))


def joint_agreement(answer: Agreement, facts: Agreement) -> Agreement:
    """Products of the two exact matches, precisions and recalls, and the F1 of these."""
    precision = answer.overlap.precision * facts.overlap.precision
    recall = answer.overlap.recall * facts.overlap.recall
    return Agreement(answer.em * facts.em, _overlap(precision, recall))


def _overlap(precision: float, recall: float) -> Overlap:
    f1 = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return Overlap(f1, precision, recall)


def question_scores(
    answer: str | None, facts: Iterable[Fact] | None, gold_answer: str, gold_facts: Iterable[Fact]
) -> dict[str, float]:
    """The official script's twelve numbers for one question, 0..1; None is a missing answer or missing facts."""
    by_answer = NO_AGREEMENT if answer is None else answer_agreement(answer, gold_answer)
    by_facts = NO_AGREEMENT if facts is None else facts_agreement(facts, gold_facts)
    joint = NO_AGREEMENT if answer is None or facts is None else joint_agreement(by_answer, by_facts)
    return by_answer.named("") | by_facts.named("sp_") | joint.named("joint_")


def hotpot_official(preds: Mapping[str, Any], gold: Collection[Mapping[str, Any]]) -> dict[str, float]:
    """The official script's output: `em f1 prec recall`, the same with `sp_` and `joint_`, as fractions 0..1.

    `preds` is the official `{"answer": {id: text}, "sp": {id: [[title, sentence], ...]}}` or plain `{id: text}`, `gold`
    the rows of the official file or of the hub's set. The scale is the official script's; `lloco score` prints the
    same numbers times 100. Raises ValueError without gold rows, or when a row lacks its id, answer or facts.
    """
    if not gold:
        raise ValueError("HotpotQA scores need gold rows, got none: pass the rows of the official file")
    is_official = isinstance(preds.get("answer"), Mapping)
    answers, facts = (preds["answer"], preds.get("sp", {})) if is_official else (preds, {})
    rows = [
        question_scores(
            answers.get(name),
            as_facts(facts[name]) if name in facts else None,
            _field(row, "answer"),
            as_facts(_field(row, "supporting_facts")),
        )
        for row in gold
        for name in [_field(row, "_id", "id")]
    ]
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def _field(row: Mapping[str, Any], *names: str) -> Any:
    """The first of these fields that a gold row has; the official file and the hub's set differ in names."""
    for name in names:
        if name in row:
            return row[name]
    raise ValueError(
        f"a HotpotQA gold row needs `{'` or `'.join(names)}`, one has only {', '.join(row)}: pass the rows of the "
        "official file or of the hub's set"
    )


def as_facts(facts: Iterable[Sequence[Any]] | Mapping[str, Sequence[Any]]) -> tuple[Fact, ...]:
    """Facts from the official lists `[title, sentence]`, or from the hub's `{"title": [...], "sent_id": [...]}`."""
    pairs: Iterable[Any] = zip(facts["title"], facts["sent_id"], strict=True) if isinstance(facts, Mapping) else facts
    return tuple((title, sentence) for title, sentence in pairs)


def lloco_answer_f1(pred: str, ref: str) -> float:
    """Token F1, 0..1, of the prediction up to its first full stop, without the yes/no rule."""
    return token_overlap(pred.split(".")[0], ref).f1


def hotpot_f1_lloco(preds: Mapping[str, str], gold: Collection[Mapping[str, Any]]) -> float:
    """LLoCO's HotpotQA score, 0..100, rounded to 2 decimals as the paper's code does: the mean over answered questions.

    `gold` holds rows of the official file or of the hub's set. Raises ValueError when no question is answered.
    """
    names = [_field(row, "_id", "id") for row in gold]
    answered = [(preds[name], row) for name, row in zip(names, gold, strict=True) if name in preds]
    scores = [lloco_answer_f1(pred, _field(row, "answer")) for pred, row in answered]
    if not scores:
        raise ValueError(
            f"none of the {len(preds)} predictions answers one of the {len(gold)} gold rows: compare the ids"
        )
    return round(100 * sum(scores) / len(scores), 2)
