"""Bytes of a text file -> str, without ever putting a replacement character where a byte was not understood.

UTF-8, UTF-16 and UTF-32 (with byte order mark) are certain; an encoding an HTML page declares is believed when it
decodes; anything else is charset-normalizer's ranking, accepted only when the letters it gives belong together.
It does not know files or formats.
"""

import codecs
import re

# utf-32-le begins with the mark of utf-16-le, so it is looked for first.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What browsers understand by a declared name: the superset that pages in fact use.
_DECLARED = {"iso8859-1": "cp1252", "ascii": "cp1252", "shift_jis": "cp932", "gb2312": "gb18030", "gbk": "gb18030"}
_DECLARABLE = re.compile("ascii|cp|iso8859|koi8|shift_jis|euc|gb|big5|mac")
_LATIN = ("cp1252", "cp1250", "cp1254")
# For the others: the letters their language is written in, and the least share of them among all non-ASCII letters.
_SCRIPTS = {
    "cp1251": ("[Ѐ-ӿ]", 0.9),
    "koi8_r": ("[Ѐ-ӿ]", 0.9),
    "cp1253": ("[Ͱ-Ͽ]", 0.9),
    "cp1255": ("[\u0590-\u05ff]", 0.9),
    "cp1256": ("[\u0600-\u06ff]", 0.9),
    "cp932": ("[ぁ-ヿ]", 0.15),
    "euc_jp": ("[ぁ-ヿ]", 0.15),
    "cp949": ("[가-힣]", 0.8),
    "gb18030": ("[一-鿿]", 0.9),
    "big5": ("[一-鿿]", 0.9),
}
_NON_ASCII_LETTER = re.compile(r"[^\W\d_\x00-\x7f]")
_MIXED_WORD = re.compile(r"[A-Za-z](?=[^\W\d_\x00-\x7f])|[^\W\d_\x00-\x7f](?=[A-Za-z])")
_SAMPLE_BYTES = 1 << 17
_CLOSE = 0.02  # difference of two "mess ratios" of charset-normalizer that says nothing
_CLOSE_LANGUAGE = 0.1  # the same for its language coherence


class EncodingError(ValueError):
    """The bytes are not text in any encoding that can be told apart; the message says where and why."""


def decode_text(data: bytes, declared: str | None = None) -> str:
    """Decode by byte order mark, as UTF-8, as the `declared` encoding, or as the one plausible legacy encoding.

    Raises:
        EncodingError: naming the offset of the first byte that is not valid.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                name = encoding.removesuffix("-sig").upper()
                raise EncodingError(
                    f"starts with a {name} byte order mark but is not valid {name} at byte offset {error.start}"
                ) from error
    # ISO-2022 is ASCII bytes throughout, so it would pass for UTF-8; its escape sequences give it away.
    if b"\x1b$" in data and (text := _decode_as("iso2022_kr" if b"\x1b$)C" in data else "iso2022_jp_2", data)):
        return text
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start
    text = _decode_declared(declared, data) if declared else None
    return text if text is not None else _decode_legacy(data, offset)


def _decode_declared(declared: str, data: bytes) -> str | None:
    """Decode as a page says it is encoded; None when that is no known one-page or East Asian encoding, or is wrong."""
    try:
        name = codecs.lookup(declared).name
    except LookupError:
        return None
    return _decode_as(_DECLARED.get(name, name), data) if _DECLARABLE.match(name) else None


def _decode_legacy(data: bytes, offset: int) -> str:
    """Decode bytes that stop being UTF-8 at `offset`."""
    not_utf8 = f"is not UTF-8 (byte 0x{data[offset]:02x} at offset {offset})"
    sample = _sample(data, offset)
    if b"\0" in sample:
        raise EncodingError(f"{not_utf8} and holds NUL bytes: it is binary, or UTF-16 without a byte order mark")
    if _is_damaged_utf8(sample):
        raise EncodingError(f"{not_utf8}, though the text around it is: the file is damaged or was cut; repair it")
    candidates = _candidates(sample)
    texts: dict[str, str] = {}
    for encoding in candidates:
        if (text := _decode_as(encoding, data)) is not None:
            texts.setdefault(text, encoding)
    if len(texts) > 1 and all(encoding in _LATIN for encoding in texts.values()):
        # French read as cp1250 scores as well as cp1252: the Western page is by far the likelier.
        texts = {text: encoding for text, encoding in texts.items() if encoding == "cp1252"} or texts
    if len(texts) != 1:
        choice = f"could be any of {', '.join(texts.values())}" if texts else "no legacy encoding fits either"
        raise EncodingError(f"{not_utf8} and {choice}; save it as UTF-8")
    return next(iter(texts))


def _sample(data: bytes, offset: int) -> bytes:
    """Whole lines around the first byte that is not UTF-8: all of a short file, about 128 KiB of a long one."""
    if len(data) <= _SAMPLE_BYTES:
        return data
    start = max(data.rfind(b"\n", max(0, offset - _SAMPLE_BYTES // 4), offset) + 1, offset - _SAMPLE_BYTES // 4, 0)
    sample = data[start : start + _SAMPLE_BYTES]
    cut = sample.rfind(b"\n", offset - start)
    return sample[:cut] if cut > 0 else sample


def _is_damaged_utf8(sample: bytes) -> bool:
    """Real legacy text hardly ever forms multi-byte UTF-8 by chance; damaged UTF-8 is full of it."""
    kept = sample.decode("utf-8", errors="ignore")
    num_invalid_bytes = len(sample) - len(kept.encode())
    return sum(len(run) for run in re.findall(r"[^\x00-\x7f]+", kept)) >= num_invalid_bytes


def _candidates(sample: bytes) -> list[str]:
    """Return the encodings that fit best, several when the difference between them says nothing."""
    # Imported on use: together the readers of foreign formats cost half a second that most commands never need.
    from charset_normalizer import from_bytes

    fitting = [
        (match.chaos, match.coherence, encoding)
        for match in from_bytes(sample, cp_isolation=[*_LATIN, *_SCRIPTS])
        # Matches that decode to the same text are folded into one, whichever came first.
        for encoding in match.could_be_from_charset
        if _is_plausible(sample, encoding)
    ]
    if not fitting:
        return []
    chaos = min(mess for mess, _, _ in fitting)
    fitting = [entry for entry in fitting if entry[0] <= chaos + _CLOSE]
    coherence = max(language for _, language, _ in fitting)
    close = {encoding for _, language, encoding in fitting if language >= coherence - _CLOSE_LANGUAGE}
    return [encoding for encoding in (*_LATIN, *_SCRIPTS) if encoding in close]


def _is_plausible(sample: bytes, encoding: str) -> bool:
    """Whether the letters belong together: accents inside Latin words, or one foreign script in words of its own."""
    text = sample.decode(encoding, errors="ignore")
    if encoding in _LATIN:
        return b"\xff" not in sample and re.search(r"[^\W\d_\x00-\x7f]{5}", text) is None
    if encoding == "cp949" and len(text.encode("euc_kr", errors="ignore")) > 1.02 * len(sample):
        return False  # Shift-JIS read as Korean is full of rare syllables, for which EUC-KR needs eight bytes
    script, least_share = _SCRIPTS[encoding]
    letters = _NON_ASCII_LETTER.findall(text)
    num_of_script = sum(1 for letter in letters if re.match(script, letter))
    num_mixed = sum(1 for _ in _MIXED_WORD.finditer(text))
    return bool(letters) and num_of_script >= least_share * len(letters) and num_mixed <= 0.05 * len(letters)


def _decode_as(encoding: str, data: bytes) -> str | None:
    """Decode strictly; None when the bytes are not valid."""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def lone_surrogate(text: str) -> int | None:
    """Return where half of a surrogate pair stands, which is no character; None where the text can be UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def is_encodable(text: str) -> bool:
    """Whether the text can be written as UTF-8."""
    return lone_surrogate(text) is None
