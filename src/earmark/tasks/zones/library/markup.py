"""XML from strangers, and text that XML can carry.

A document type is refused before it is read: no library or playlist needs one, and its entities are how a small
file grows to gigabytes or reads other files.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from earmark.errors import UsageError

__all__ = ["XML_DECLARATION", "parse_xml", "to_xml", "xml_text"]

XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

_FORBIDDEN = re.compile("[\x00-\x1f\x7f\ufffe\uffff\ud800-\udfff]+")


class _PlainTree(ElementTree.TreeBuilder):
    """A tree builder that refuses a document type when it begins."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise _DoctypeError(name)


class _DoctypeError(Exception):
    pass


def parse_xml(data: bytes, name: str) -> ElementTree.Element:
    """Root element of an XML document.

    Parameters
    ----------
    data : bytes
    name : str
        What to call the file in errors.

    Raises
    ------
    UsageError
        It is not well-formed, or declares a document type.
    """
    parser = ElementTree.XMLParser(target=_PlainTree())
    try:
        parser.feed(data)
        root: ElementTree.Element = parser.close()
    except _DoctypeError as error:
        raise UsageError(
            f"`{name}` declares a document type (<!DOCTYPE {error}>), which can hide entities. "
            "Expected plain XML. Export it again, or delete that declaration."
        ) from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UsageError(
            f"`{name}` is not well-formed XML: {error}. Expected a whole exported file. Export it again."
        ) from error
    return root


def to_xml(root: ElementTree.Element) -> bytes:
    """A document as indented UTF-8."""
    ElementTree.indent(root)
    return (XML_DECLARATION + ElementTree.tostring(root, encoding="unicode") + "\n").encode("utf-8")


def xml_text(text: str) -> str:
    """Text on one line, without the characters that XML cannot carry.

    >>> xml_text(" a\\x00b\\n 𝄞 ")
    'a b 𝄞'
    """
    return " ".join(_FORBIDDEN.sub(" ", text).split())
