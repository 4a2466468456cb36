"""PDF and Office files as Markdown, converted in a process of its own that has limits.

A document of some kilobytes can unpack to gigabytes, or keep a converter busy without end. There
it takes a process with it, and the file is left out; the search goes on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from threading import Timer
from typing import Any

from rearank_agent.extras import install_line
from rearank_agent.search.unread import UnreadError

__all__ = ["LIMITS", "SUFFIXES", "Converter", "Limits"]

SUFFIXES = frozenset({".docx", ".pdf", ".pptx", ".xlsx"})
"""Of the files that are converted."""

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a document may take; where one is reached, it is left out.

    Attributes:
        memory: bytes of address space, of which libraries take 0.5 GB; where the system has it.
        unpacked: bytes of all parts of an Office file, by its own directory: pictures count too.
        ratio: unpacked to packed bytes; XML of real documents has 5 to 30, a bomb up to 1,000.
        unpacked_dense: bytes up to which any ratio is allowed.
        markdown: bytes of the text; as many as of the largest text file that is read.
        seconds: of processor time; a page of a PDF takes 0.1 to 0.4.
        seconds_per_mib: more of them for each MiB of the file, since work grows with text.
        most_seconds: however large the file is.
        patience: times the processor time that may pass on the clock, on a busy machine.
    """

    memory: int = 2048 * _MIB
    unpacked: int = 256 * _MIB
    ratio: int = 100
    unpacked_dense: int = 4 * _MIB
    markdown: int = 64 * _MIB
    seconds: int = 60
    seconds_per_mib: int = 120
    most_seconds: int = 600
    patience: float = 3.0

    def cpu(self, size: int) -> int:
        """Seconds of processor time for a file of so many bytes."""
        return min(self.most_seconds, self.seconds + self.seconds_per_mib * size // _MIB)


LIMITS = Limits()
# What the process has of our environment: where it finds libraries and temporary files. No secrets.
_KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")
# Threads and pools that reserve a gigabyte of addresses would leave little of the memory limit.
_SMALL = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
_START_SECONDS = 60.0  # one or two are needed, ten on a busy machine
_HAS_CPU_LIMIT = hasattr(signal, "SIGXCPU")
_KILLED = (-getattr(signal, "SIGKILL", 9), -signal.SIGTERM)  # by the system or a person


class Converter:
    """Converts documents one after the other; a context manager that ends its process.

    The process is started with the first document, which takes a second, and serves the next ones
    too, until one reaches a limit. It imports what this one would, and has no secrets of its
    environment; it is a limit on work, not a sandbox. For one thread.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._late = False

    def __enter__(self) -> Converter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def convert(self, data: bytes, suffix: str) -> str:
        """The Markdown of a document; of a PDF, with a form feed between pages.

        Args:
            data: the file.
            suffix: one of `SUFFIXES`, which says what it is.

        Raises:
            UnreadError: it cannot be converted, has no text, or reached a limit; or the extra
                is missing.
        """
        if find_spec("markitdown") is None:
            raise _missing()
        seconds = self._limits.cpu(len(data))
        kind, body, code = "", b"", None
        try:
            kind, body = self._ready()
            if kind == "ready":
                kind, body = self._ask(data, suffix, seconds)
                code = self._code() if kind == "ended" else None
        finally:
            if kind not in ("markdown", "broken", "unpacked"):  # also when we are interrupted
                self.close()
        if kind == "markdown" and body.strip():
            return body.decode(errors="replace")
        raise self._ended(code, seconds) if kind == "ended" else self._refused(kind, body)

    def close(self) -> None:
        """End the process, and all that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        _kill(process)
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what was not written yet cannot be
                assert pipe is not None  # noqa: S101
                pipe.close()
        process.wait()

    def _ready(self) -> tuple[str, bytes]:
        if self._process is not None:
            return "ready", b""
        self._process = self._start()
        with self._clock(_START_SECONDS):
            kind, body = self._reply(self._process)
        return (kind if kind in ("ready", "extra") else "unstarted"), body

    def _ask(self, data: bytes, suffix: str, seconds: int) -> tuple[str, bytes]:
        process = self._process
        assert process is not None  # noqa: S101
        assert process.stdin is not None  # noqa: S101
        asked = {"suffix": suffix, "bytes": len(data), "seconds": seconds}
        with self._clock(self._limits.patience * seconds):
            with suppress(OSError):  # it ended: what it said before is read below
                process.stdin.write(json.dumps(asked).encode() + b"\n" + data)
                process.stdin.flush()
            return self._reply(process)

    @contextmanager
    def _clock(self, seconds: float) -> Iterator[None]:
        """Kill the process after some seconds, which ends all waiting for it."""
        self._late = False
        timer = Timer(seconds, self._end_late)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        limits = json.dumps(asdict(self._limits))
        try:
            return subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", "rearank_agent.search.convert_worker", limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**kept, **_SMALL, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is ours to handle
            )
        except OSError as error:
            raise _not_converted(f"Python could not be started: {error}", cacheable=False) from None

    def _reply(self, process: subprocess.Popen[bytes]) -> tuple[str, bytes]:
        """The kind and the body of a reply; nothing in it is believed unchecked."""
        assert process.stdout is not None  # noqa: S101
        try:
            head: dict[str, Any] = json.loads(process.stdout.readline(200))
            kind, size = str(head["kind"]), int(head["bytes"])
        except (ValueError, TypeError, KeyError):
            return "ended", b""
        if not 0 <= size <= self._limits.markdown:
            return "long", b""
        body = process.stdout.read(size)
        return (kind, body) if len(body) == size else ("ended", b"")

    def _end_late(self) -> None:
        self._late = True
        if (process := self._process) is not None:
            _kill(process)

    def _code(self) -> int | None:
        """The exit code of a process that closed its stdout; None if it goes on all the same."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(5) if self._process else None
        return None

    def _ended(self, code: int | None, seconds: int) -> UnreadError:
        """Why a process ended in the middle; what the machine did to it may go well next time."""
        if self._late:
            # without a limit of processor time the clock is all that can judge a file
            reason = f"took longer than {self._limits.patience * seconds:g} s"
            return _not_converted(reason, cacheable=not _HAS_CPU_LIMIT)
        if _HAS_CPU_LIMIT and code == -signal.SIGXCPU:
            return _not_converted(f"takes more than {seconds} s of processor time")
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return _not_converted(f"the converter ended with {how}", cacheable=code not in _KILLED)

    def _refused(self, kind: str, body: bytes) -> UnreadError:
        limits, text = self._limits, body[:200].decode(errors="replace")
        if kind == "extra":
            return _missing()
        if kind == "markdown":
            return UnreadError("unreadable", "holds no text; a scan must go through OCR first")
        if kind == "unstarted":
            return _not_converted(f"the converter did not start: {text}", cacheable=False)
        large = {
            "unpacked": f"unpacks to more than {limits.unpacked // _MIB} MiB, "
            f"or {limits.ratio} times its size",
            "memory": f"takes more than {limits.memory // _MIB:,} MiB of memory to convert",
            "long": f"holds more than {limits.markdown // _MIB} MiB of text",
        }
        return UnreadError("large", large[kind]) if kind in large else _not_converted(text)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):  # it ended by itself
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def _missing() -> UnreadError:
    return UnreadError("extra", f"needs: {install_line('docs')}", cacheable=False)


def _not_converted(why: str, cacheable: bool = True) -> UnreadError:
    return UnreadError("unreadable", f"cannot be converted ({why})", cacheable)
