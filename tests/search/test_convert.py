"""Documents that are converted in a process of their own, and what its limits refuse."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import documents
from rearank_agent import Reranker
from rearank_agent.errors import BusyError
from rearank_agent.search.convert import LIMITS, Converter, Limits
from rearank_agent.search.find import find
from rearank_agent.search.library import Library
from rearank_agent.search.unread import UnreadError

# Does what a document says, as a broken or hostile one makes a real converter do.
FAKE = """
import os, subprocess, sys, time
from types import SimpleNamespace
MissingDependencyException = KeyError
StreamInfo = SimpleNamespace
class Converter:
    def convert(self, stream, info):
        text = stream.read().decode()
        if info.extension == ".docx":
            exec(text)
            text = "done"
        return SimpleNamespace(markdown=f"# Paper\\n\\n{text} {info.extension} {os.getpid()}")
converters = SimpleNamespace(DocxConverter=Converter, XlsxConverter=Converter)
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "markitdown.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path / "fake")
    monkeypatch.delitem(sys.modules, "markitdown", raising=False)


def refused(converter, content, suffix=".docx"):
    with pytest.raises(UnreadError) as error:
        converter.convert(content if isinstance(content, bytes) else content.encode(), suffix)
    assert error.value.fault.line == 0
    return error.value.fault.kind, error.value.fault.reason, error.value.cacheable


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def test_one_process_converts_documents_one_after_the_other(fake):
    with Converter() as converter:
        first, second = (converter.convert(text, ".xlsx") for text in (b"pumps", b"fleas"))
        pid = first.split()[-1]
        assert first == f"# Paper\n\npumps .xlsx {pid}"
        assert second == f"# Paper\n\nfleas .xlsx {pid}"
        broken = refused(converter, "raise ValueError('no pages\\nat all')")
        assert broken == ("unreadable", "cannot be converted (no pages)", True)
        assert converter.convert(b"", ".xlsx").endswith(pid), "a broken document is no fault of it"
        assert int(pid) != os.getpid()
    assert not is_running(pid)


def test_what_a_converter_prints_and_reads_is_nothing(fake):
    noise = "print('{' * 99999, flush=True); os.write(1, b'x\\n'); assert sys.stdin.read() == ''"
    with Converter() as converter:
        for _ in range(2):
            assert "done .docx" in converter.convert(noise.encode(), ".docx")


def test_it_has_no_secrets(fake, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with Converter() as converter:
        _, reason, _ = refused(converter, "raise ValueError(','.join(sorted(os.environ)))")
    names = set(reason.partition("(")[2].strip(")").split(","))
    assert "PYTHONPATH" in names
    assert not any("KEY" in name for name in names)


@pytest.mark.parametrize(
    ("code", "limits", "kind", "reason", "cacheable"),
    [
        ("while True: pass", Limits(seconds=1, patience=60), "unreadable",
            "cannot be converted (takes more than 1 s of processor time)", True),
        ("time.sleep(60)", Limits(seconds=1, patience=2), "unreadable",
            "cannot be converted (took longer than 2 s)", False),
        ("x = bytearray(2**31)", Limits(), "large",
            "takes more than 2,048 MiB of memory to convert", True),
        ("os.kill(os.getpid(), 11)", Limits(), "unreadable",
            "cannot be converted (the converter ended with signal 11)", True),
        ("os.kill(os.getpid(), 9)", Limits(), "unreadable",
            "cannot be converted (the converter ended with signal 9)", False),
        ("os._exit(3)", Limits(), "unreadable",
            "cannot be converted (the converter ended with exit code 3)", True),
        ("raise ValueError('x' * 10**6)", Limits(), "unreadable",
            f"cannot be converted ({'x' * 200})", True),
        ("raise RecursionError", Limits(), "unreadable",
            "cannot be converted (RecursionError)", True),
        ("raise KeyError", Limits(), "extra", None, False),
    ],
)  # fmt: skip
def test_limits_and_ends(fake, code, limits, kind, reason, cacheable):
    with Converter(limits) as converter:
        found = refused(converter, code)
        assert found == (kind, reason or found[1], cacheable)
        assert converter.convert(b"the next", ".xlsx").startswith("# Paper\n\nthe next")


def test_text_is_bounded(fake):
    with Converter(Limits(markdown=2**20)) as converter:
        long = b"x" * 2**20
        assert refused(converter, long, ".xlsx") == ("large", "holds more than 1 MiB of text", True)
        assert converter.convert(b"x", ".xlsx").startswith("# Paper")


def test_a_broken_install(fake, tmp_path):
    (tmp_path / "fake" / "markitdown.py").write_text("raise AttributeError('half of it')")
    with Converter() as converter:
        assert refused(converter, b"x", ".xlsx") == (
            "unreadable",
            "cannot be converted (the converter did not start: AttributeError: half of it)",
            False,
        )
    (tmp_path / "fake" / "markitdown.py").write_text("import package_that_is_not_there")
    with Converter() as converter:
        assert refused(converter, b"x", ".xlsx")[0] == "extra"


def test_what_it_started_ends_with_it(fake, tmp_path):
    noted = tmp_path / "pid"
    code = f"child = subprocess.Popen(['sleep', '60']); open({str(noted)!r}, 'w').write(str(child.pid))"
    with Converter() as converter:
        converter.convert(code.encode(), ".docx")
        assert is_running(noted.read_text())
    assert wait_until(lambda: not is_running(noted.read_text()))


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_search(fake, tmp_path, end):
    noted, folder = tmp_path / "pid", tmp_path / "docs"
    folder.mkdir()
    code = f"open({str(noted)!r}, 'w').write(str(os.getpid()))\nwhile True: pass"
    (folder / "loop.docx").write_text(code)
    search = (
        "from pathlib import Path; from rearank_agent.search.library import Library;"
        f"Library([Path({str(folder)!r})], Path({str(tmp_path)!r})).search('pump')"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "fake")}
    searching = subprocess.Popen([sys.executable, "-c", search], env=env, stderr=subprocess.DEVNULL)
    assert wait_until(lambda: noted.exists() and noted.read_text())
    assert is_running(noted.read_text())
    searching.send_signal(end)
    assert searching.wait(60) != 0
    assert wait_until(lambda: not is_running(noted.read_text()))


def folder_with(tmp_path, **files):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "good.md").write_text("The pump failed.")
    for name, content in files.items():
        (tmp_path / "docs" / name.replace("_", ".")).write_bytes(content)
    return Library([tmp_path / "docs"], tmp_path / "cache")


async def test_a_deadline_holds_while_a_document_is_converted(fake, tmp_path):
    gate = tmp_path / "gate"
    code = f"while not os.path.exists({str(gate)!r}): time.sleep(0.05)"
    library = folder_with(tmp_path, slow_docx=code.encode())
    with pytest.raises(BusyError, match="1 of 2 files are read"):
        await find(Reranker("lexical"), library, "pump", deadline=1.0)
    gate.touch()
    found = await find(Reranker("lexical"), library, "pump done", deadline=60)
    assert sorted(Path(one.passage.id).name for one in found.passages) == [
        "good.md:1",
        "slow.docx:1-3",
    ]


def test_a_file_that_is_at_fault_is_not_tried_again(fake, tmp_path, monkeypatch):
    library = folder_with(
        tmp_path, crash_docx=b"os._exit(3)", killed_docx=b"os.kill(os.getpid(), 9)"
    )
    tried, convert = [], Converter.convert

    def counted(self, data, suffix):
        tried.append(data)
        return convert(self, data, suffix)

    monkeypatch.setattr(Converter, "convert", counted)
    first = library.search("pump")
    assert [fault.kind for fault in first.faults] == ["unreadable"] * 2
    assert len(first.passages) == 1
    assert len(tried) == 2
    assert library.search("pump").faults == first.faults
    assert tried[2:] == [b"os.kill(os.getpid(), 9)"], "what the machine did may go well next time"


def test_without_documents_no_process_is_started(tmp_path, monkeypatch):
    monkeypatch.setattr(Converter, "_start", lambda self: pytest.fail("started"))
    assert len(folder_with(tmp_path).search("pump").passages) == 1


# From here on with the real converters.


@pytest.fixture(scope="module")
def converter():
    pytest.importorskip("markitdown")
    with Converter(Limits(memory=520 * 2**20, unpacked=8 * 2**20)) as running:
        yield running


def test_documents_have_their_text(converter):
    assert converter.convert(documents.docx("A pump.", "It failed."), ".docx") == (
        "A pump.\n\nIt failed."
    )
    assert converter.convert(documents.pdf("The pump failed."), ".pdf").strip() == (
        "The pump failed."
    )
    assert converter.convert(documents.xlsx(A1="pump", B1="hours", A2="A", B2=9), ".xlsx") == (
        "## Sheet\n| pump | hours |\n| --- | --- |\n| A | 9 |"
    )
    table = "Item\tPrice\tHours\nPump\t9\t1\nValve\t12\t2"
    rows = (
        "Item  | Price | Hours",
        "----- | ----- | -----",
        "Pump  | 9     | 1    ",
        "Valve | 12    | 2    ",
    )
    assert converter.convert(documents.pdf("The pump\nfailed.", "", table, ""), ".pdf") == (
        "The pump\nfailed.\f\f" + "\n".join(f"| {row} |" for row in rows) + "\f"
    )
    scan = refused(converter, documents.pdf("", ""), ".pdf")
    assert scan == ("unreadable", "holds no text; a scan must go through OCR first", True)
    for suffix in (".docx", ".pdf", ".pptx", ".xlsx"):
        assert refused(converter, b"no archive", suffix)[0] == "unreadable"


@pytest.mark.parametrize("mib", [6, 9])
def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(converter, mib):
    bomb = documents.docx("A pump.", bomb_mib=mib)  # by its ratio, and by its size
    assert len(bomb) < 20_000
    assert refused(converter, bomb) == (
        "large", "unpacks to more than 8 MiB, or 100 times its size", True,
    )  # fmt: skip


def test_a_directory_that_lies_is_not_believed(converter):
    bomb = bytearray(documents.docx("A pump.", bomb_mib=9))
    at = bomb.index(b"PK\1\2", bomb.index(b"PK\1\2", bomb.index(b"PK\1\2") + 4) + 4)
    assert bomb[at + 46 :].startswith(b"word/document.xml")
    bomb[at + 24 : at + 28] = (1000).to_bytes(4, "little")
    # by the checksum of its beginning, or by the memory that the whole takes
    assert refused(converter, bytes(bomb))[0] in ("unreadable", "large")


def test_what_needs_too_much_memory_is_stopped(converter):
    far = documents.xlsx(A1="pump", XFD1048576="end")
    assert len(far) < 10_000
    packed = documents.pdf("A pump.", blank_mib=200)
    assert len(packed) < 2**20
    for bomb, suffix in ((far, ".xlsx"), (packed, ".pdf")):
        assert refused(converter, bomb, suffix) == (
            "large", "takes more than 520 MiB of memory to convert", True,
        )  # fmt: skip


def test_limits_grow_with_the_file():
    assert [LIMITS.cpu(size) for size in (0, 2**20, 64 * 2**20)] == [60, 180, 600]
