"""The words of random domains: what an entity can be, what it can have, what can be done to it, and how to say so.

In wordings and questions NOUN stands for the attribute, BASE and DONE for the two forms of a verb ("repair" and
"repaired"), AT for the word before a time; the placeholders in braces are explained in record_schema.py.
"""

from __future__ import annotations

from word_tables import words_of

_TABLES = words_of("random_domain_words")


KINDS = _TABLES["KINDS"]

NAME_SYLLABLES = _TABLES["NAME_SYLLABLES"]

# Whatever an attribute is called, some of these fit before it: "the second owner", "the winter tariff".
MODIFIERS = _TABLES["MODIFIERS"]

NOUNS_BY_KIND: dict[str, tuple[str, ...]] = _TABLES["NOUNS_BY_KIND"]

# Questions that ask for one noun in other words than its own.
OTHER_QUESTIONS: dict[str, tuple[str, ...]] = _TABLES["OTHER_QUESTIONS"]

NOUN_PHRASES = _TABLES["NOUN_PHRASES"]
NOUN_SENTENCES = _TABLES["NOUN_SENTENCES"]
NOUN_QUESTIONS = _TABLES["NOUN_QUESTIONS"]
PERSON_NOUN_QUESTIONS = _TABLES["PERSON_NOUN_QUESTIONS"]
PERSON_KINDS = _TABLES["PERSON_KINDS"]

# Verbs whose past tense is also their participle, so that one form serves "repaired it" and "was repaired".
_REGULAR_VERBS = _TABLES["REGULAR_VERBS"]
_OTHER_VERBS = _TABLES["OTHER_VERBS"]
VERBS: dict[str, str] = {base: base + ("d" if base.endswith("e") else "ed") for base in _REGULAR_VERBS} | _OTHER_VERBS

# A role of a verb: its card label, the kinds of its values, then how it is told and asked.
AGENT_KINDS = _TABLES["AGENT_KINDS"]
AGENT_PHRASES = _TABLES["AGENT_PHRASES"]
AGENT_SENTENCES = _TABLES["AGENT_SENTENCES"]
AGENT_QUESTIONS = _TABLES["AGENT_QUESTIONS"]
PLACE_KINDS = _TABLES["PLACE_KINDS"]
PLACE_PHRASES = _TABLES["PLACE_PHRASES"]
PLACE_SENTENCES = _TABLES["PLACE_SENTENCES"]
PLACE_QUESTIONS = _TABLES["PLACE_QUESTIONS"]
# The kind of a time and the word before it.
TIME_KINDS = _TABLES["TIME_KINDS"]
TIME_PHRASES = _TABLES["TIME_PHRASES"]
TIME_SENTENCES = _TABLES["TIME_SENTENCES"]
TIME_QUESTIONS = _TABLES["TIME_QUESTIONS"]
COUNT_PHRASES = _TABLES["COUNT_PHRASES"]
COUNT_SENTENCES = _TABLES["COUNT_SENTENCES"]
COUNT_QUESTIONS = _TABLES["COUNT_QUESTIONS"]
COST_PHRASES = _TABLES["COST_PHRASES"]
COST_SENTENCES = _TABLES["COST_SENTENCES"]
COST_QUESTIONS = _TABLES["COST_QUESTIONS"]
