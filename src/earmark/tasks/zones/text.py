"""Fields of label files: text in any encoding, numbers and keys as people export them."""

from __future__ import annotations

import codecs
import math
import re
import unicodedata

from earmark.errors import UsageError

__all__ = ["camelot_key", "decode_text", "lines_of", "normalised", "positive_number", "unquoted"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINE_END = re.compile(r"\r\n|\n|\r")
_CAMELOT = re.compile(r"0?([1-9]|1[0-2])([AB])")


def decode_text(data: bytes, name: str) -> str:
    """Text of a label file, by its byte order mark: UTF-8, UTF-16 LE or BE; UTF-8 without one.

    Raises
    ------
    UsageError
        The bytes are not text in that encoding.
    """
    mark, encoding = next(((mark, of) for mark, of in _MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"`{name}` is not {encoding} text: byte {error.start + len(mark)} is wrong ({error.reason}). "
            "Expected UTF-8, or UTF-16 with a byte order mark. Save it again as UTF-8."
        ) from error
    if "\0" in text:
        raise UsageError(
            f"`{name}` holds zero bytes, so it is no text file, or UTF-16 without a byte order mark. "
            "Expected UTF-8, or UTF-16 with that mark. Save it again as UTF-8."
        )
    return text


def lines_of(text: str) -> list[str]:
    """Lines that end in LF, CRLF or CR; other line separators of Unicode may occur in titles."""
    return _LINE_END.split(text)


def normalised(text: str) -> str:
    """Form in which names are compared: NFKC, case folded, white space collapsed, quotes off."""
    return " ".join(unicodedata.normalize("NFKC", unquoted(text)).casefold().split())


def unquoted(field: str) -> str:
    """A field without surrounding white space and one pair of double quotes; doubled quotes inside as one."""
    field = field.strip()
    if len(field) >= 2 and field[0] == field[-1] == '"':
        return field[1:-1].replace('""', '"').strip()
    return field


def positive_number(text: str) -> float | None:
    """Decimal text as a number, also with a comma; None if empty, no number, or zero ("not known").

    >>> positive_number("128.50"), positive_number("128,5"), positive_number("0.00"), positive_number("fast")
    (128.5, 128.5, None, None)
    """
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def camelot_key(text: str) -> str | None:
    """A key on the Camelot wheel, 1A to 12B, in upper case; None for anything else.

    >>> camelot_key("8a"), camelot_key("12B"), camelot_key("13A"), camelot_key("Am")
    ('8A', '12B', None, None)
    """
    match = _CAMELOT.fullmatch(text.strip().upper())
    return "".join(match.groups()) if match else None
