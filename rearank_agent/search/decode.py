"""The text of a file's bytes: UTF-8, UTF-16, what the file itself declares, or Windows-1252."""

from __future__ import annotations

import codecs
import re

from rearank_agent.search.unread import FileFault, UnreadError

__all__ = ["decoded", "is_binary"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's does
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD = 8192
_MIN_ZEROS = 0.7  # of every second byte, where UTF-16 without a mark holds English or code
# In the head of HTML, XML, Python, and where an editor is told; escapes are no encoding of a text.
_DECLARED = re.compile(
    rb"(?:charset|coding)[ \t]*[:=][ \t]*[\"']?(?![\w-]*escape)([A-Za-z][\w.-]*)"
)
# What no text in Windows-1252 holds: control characters, and the five bytes it leaves undefined.
_NEVER = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f\x81\x8d\x8f\x90\x9d]")
_LETTER, _HIGH = re.compile(rb"[A-Za-z]"), re.compile(rb"[\x80-\xff]")
_MAX_HIGH = 0.4  # of the letters: 0.1 in French, nearly all of them in Cyrillic or Chinese


def is_binary(data: bytes) -> bool:
    """Whether the bytes of a file, or its beginning, are no text."""
    return not _marked(data) and b"\0" in data


def decoded(data: bytes) -> tuple[str, tuple[FileFault, ...]]:
    r"""The text, its lines ended by \n, and a note where the encoding is a guess.

    Raises:
        UnreadError: it is no text, or in an encoding that is not said and cannot be guessed.
    """
    if is_binary(data):
        raise UnreadError("binary", "is not text")
    faults: tuple[FileFault, ...] = ()
    try:
        text = data.decode(_marked(data) or "utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        text, faults = _other(data, line)
    if "\0" in text:
        raise UnreadError("binary", "is not text")
    return text.replace("\r\n", "\n").replace("\r", "\n"), faults


def _marked(data: bytes) -> str:
    """The encoding by the mark at its start, or by where zeros are; "" for none."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    head = data[:_HEAD]
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = head[first::2].count(0), head[1 - first :: 2].count(0)
        if not len(data) % 2 and zeros > _MIN_ZEROS * (len(head) // 2) and not others:
            return encoding
    return ""


def _other(data: bytes, line: int) -> tuple[str, tuple[FileFault, ...]]:
    """What is not UTF-8 from a line on, as declared or as Windows-1252."""
    if named := _DECLARED.search(data[:1024]):
        try:
            text = data.decode(named[1].decode())
            text.encode()  # some encodings can hold half a character
        except (LookupError, ValueError):
            pass
        else:
            return text, ()
    letters, high = len(_LETTER.findall(data)), len(_HIGH.findall(data))
    if _NEVER.search(data) or high > _MAX_HIGH * (letters + high):
        raise UnreadError("encoding", "is not UTF-8, nor says what it is", line=line)
    guess = FileFault("encoding", "is not UTF-8; it was read as Windows-1252", line)
    return data.decode("cp1252"), (guess,)
