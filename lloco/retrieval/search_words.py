"""Text as it is searched for: documents and questions brought to one form, scripts without spaces cut into words.

Unicode's compatibility form (NFKC, so NFC and NFD are alike, full-width digits too), small letters, no soft hyphens.
Chinese, Japanese, Korean, Thai, Lao, Khmer and Burmese become overlapping pairs of characters, as Lucene's
CJKAnalyzer makes them. What is stored and cited is never changed.
"""

import re
import unicodedata
from itertools import pairwise

_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_OTHERS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u31f0-\u31ff\uac00-\ud7af"
UNSPACED = f"{_HAN}{_OTHERS}"
"""A class of a regular expression: letters of scripts that are written without spaces, and Korean syllables."""
_RUN = re.compile(f"[{UNSPACED}]+")
_HAN_LETTER = re.compile(f"[{_HAN}]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")


def search_text(text: str) -> str:
    """Return a passage as an index takes it: words, pairs of characters, and each Chinese character by itself."""
    if text.isascii():
        return text
    return _RUN.sub(lambda match: f" {' '.join(_pieces(match[0], is_question=False))} ", _one_form(text))


def search_words(question: str) -> list[str]:
    """Return a question's words in order, each once; in scripts without spaces its pairs of characters."""
    kept = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in _one_form(question))
    spaced = _RUN.sub(lambda match: f" {' '.join(_pieces(match[0], is_question=True))} ", kept)
    return list(dict.fromkeys(spaced.split()))


def _one_form(text: str) -> str:
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", folded))


def _pieces(run: str, *, is_question: bool) -> list[str]:
    """Cut a run into overlapping pairs of letters, each with the marks above and below it."""
    letters: list[str] = []
    for character in run:
        if letters and unicodedata.category(character)[0] == "M":
            letters[-1] += character
        else:
            letters.append(character)
    pairs = [first + second for first, second in pairwise(letters)]
    if is_question:
        return pairs or letters
    return [*pairs, *(letter for letter in letters if _HAN_LETTER.match(letter) or len(letters) == 1)]
