"""Questions put indirectly: "Who owns it?" also as "I would like to know who owns it."

Only questions whose words need not be put in another order, or in an easy one, are turned; the others give nothing.
"""

from __future__ import annotations

import re
from dataclasses import replace

from record_schema import Attribute, Domain

_OPENINGS = (
    "Tell me {}.",
    "I would like to know {}.",
    "Can you say {}?",
    "Please find out {}.",
    "Do you happen to know {}?",
    "I wonder {}.",
    "It would help me to know {}.",
    "Have you any idea {}?",
    "Somebody wants to know {}.",
    "Could you tell me {}?",
)
_PER_ATTRIBUTE = 2
_AUXILIARY = "is|was|are|were|do|does|did|has|have|had|can|could|may|must|should|would|will"
_INVERTED = re.compile(r"\b(do|does|did|can|could|may|must|should|is there|are there|were the)\b")
# A pattern of a question, and the clause that comes after "I would like to know".
_TURNS = (
    (rf"(Who|Which [\w ]+?|Whose [\w ]+?) (?!(?:{_AUXILIARY})\b)(\w+ [^?]*\{{n\}}[^?]*)\?", r"\1 \2"),
    (r"(Who|What) is (the [^?{]*\{n\})\?", r"\1 \2 is"),
    (r"(When|Where|How|Why|By whom|In which \w+|On what date) (was|is) \{n\} (\w+)\?", r"\1 {n} \2 \3"),
    (r"(How (?:long|high|tall|far|heavy|large|wide|deep|old)(?: [a-z]+)?) is \{n\}\?", r"\1 {n} is"),
    (r"(How many [\w ]+?) does \{n\} have\?", r"\1 {n} has"),
    (r"(What|Which [\w ]+?|How many [\w ]+?) (is|are) (in|on|at) \{n\}\?", r"\1 \2 \3 {n}"),
    (r"(Where) is \{n\}\?", r"\1 {n} is"),
)


def indirect(question: str) -> str | None:
    """Turn a question into a clause, "who owns {n}"; None where that takes more than these rules."""
    for pattern, clause in _TURNS:
        match = re.fullmatch(pattern, question)
        turned = match.expand(clause) if match else ""
        if turned and not _INVERTED.search(turned):
            return turned[0].lower() + turned[1:]
    return None


def with_indirect_questions(domain: Domain) -> Domain:
    """The domain with up to two indirect questions more for each attribute, their openings taken in turn."""
    attributes: list[Attribute] = []
    num_openings = 0
    for attribute in domain.attributes:
        clauses = [clause for clause in map(indirect, attribute.questions) if clause][-_PER_ATTRIBUTE:]
        added: list[str] = []
        for clause in clauses:
            added.append(_OPENINGS[num_openings % len(_OPENINGS)].replace("{}", clause))
            num_openings += 1
        questions = tuple(dict.fromkeys(attribute.questions + tuple(added)))
        attributes.append(replace(attribute, questions=questions))
    return replace(domain, attributes=tuple(attributes))
