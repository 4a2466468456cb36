"""The process that converts documents to Markdown, for search/convert.py.

`python -m rearank_agent.search.convert_worker LIMITS` reads requests on stdin and writes replies
to stdout: a line of JSON, then as many bytes as it says. It opens no file, and limits itself
before it reads anything.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any, BinaryIO
from zipfile import ZipFile, is_zipfile

from rearank_agent.search.convert_pdf import pdf_text

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_CONVERTERS = {
    ".docx": "DocxConverter",
    ".pptx": "PptxConverter",
    ".xlsx": "XlsxConverter",
}


def _limit(name: str, most: int) -> None:
    """Set a soft limit, where the system has it, within the hard one that we were started with."""
    number = getattr(resource, f"RLIMIT_{name}", None)
    if number is None:
        return
    _, hard = resource.getrlimit(number)
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with suppress(OSError, ValueError):  # macOS has RLIMIT_AS by name alone
        resource.setrlimit(number, (soft, hard))


def _end_with(parent: int) -> None:
    """Do not outlive the process that asks, however it ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """stdin and stdout, which are nothing for everybody else: converters print, and may read."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    return requests, replies


def _reply(replies: BinaryIO, kind: str, text: str = "") -> None:
    body = text.encode(errors="replace")
    replies.write(json.dumps({"kind": kind, "bytes": len(body)}).encode() + b"\n" + body)
    replies.flush()


def _is_bomb(data: bytes, limits: dict[str, int]) -> bool:
    """Whether an archive says that it unpacks to too much; one that lies meets other limits."""
    if not is_zipfile(io.BytesIO(data)):
        return False
    with ZipFile(io.BytesIO(data)) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    dense = unpacked > len(data) * limits["ratio"] and unpacked > limits["unpacked_dense"]
    return dense or unpacked > limits["unpacked"]


def _convert(data: bytes, suffix: str, limits: dict[str, int]) -> tuple[str, str]:
    """The kind of the reply, and the Markdown or what is wrong."""
    from markitdown import MissingDependencyException, StreamInfo, converters

    try:
        if _is_bomb(data, limits):
            return "unpacked", ""
        if suffix == ".pdf":
            return "markdown", pdf_text(data)
        # MarkItDown itself would fall back to plain text where the converter refuses a file
        converter = getattr(converters, _CONVERTERS[suffix])()
        found = converter.convert(io.BytesIO(data), StreamInfo(extension=suffix))
        return "markdown", str(found.markdown)
    except (MissingDependencyException, ModuleNotFoundError):
        return "extra", ""
    except MemoryError:
        return "memory", ""
    except Exception as error:  # a converter may raise anything on a broken file
        first = str(error).strip().partition("\n")[0][:200]
        return "broken", first or type(error).__name__


def main() -> None:
    """Convert one document after the other until stdin ends."""
    limits: dict[str, int] = json.loads(sys.argv[1])
    _limit("AS", limits["memory"])
    _limit("CORE", 0)  # the text of documents is for their owner alone
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    requests, replies = _own_pipes()
    try:
        import markitdown  # noqa: F401
    except ImportError:
        _reply(replies, "extra")
        return
    except Exception as error:  # an install may be broken in any way
        _reply(replies, "unstarted", f"{type(error).__name__}: {error}")
        return
    _reply(replies, "ready")
    while line := requests.readline():
        asked: dict[str, Any] = json.loads(line)
        data = requests.read(asked["bytes"])
        _limit("CPU", int(time.process_time()) + 1 + asked["seconds"])
        _reply(replies, *_convert(data, asked["suffix"], limits))


if __name__ == "__main__":
    main()
