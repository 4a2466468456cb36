"""Links that take the place of folders and files while a search looks and reads."""

import gc
import os
import threading
from pathlib import Path

import pytest

from rearank_agent import InputError
from rearank_agent.search import held
from rearank_agent.search.held import HeldRoot
from rearank_agent.search.library import Library
from rearank_agent.search.result import EmptyError
from rearank_agent.search.unread import FileFault, UnreadError


@pytest.fixture
def folder(tmp_path):
    """A folder to search, and one outside whose files have the same names, sizes and times."""
    for name, word in (("docs/deep/er", "flea"), ("outside/er", "zebra")):
        (tmp_path / name).mkdir(parents=True)
        for place in (tmp_path / name, (tmp_path / name).parent):
            (place / "note.txt").write_text(f"a {word:<9} jumps")
            os.utime(place / "note.txt", (1, 1))
    (tmp_path / "outside" / "zebra-secret.txt").write_text("zebra")
    (tmp_path / "outside" / ".gitignore").write_text("zebra\n!\n")
    (tmp_path / "docs" / "first.txt").write_text("a flea")
    return tmp_path / "docs"


def swap(folder, name="deep"):
    """Put a link to the outside into the place of a folder or file."""
    (folder / name).rename(folder.parent / "aside")
    outside = folder.parent / "outside"
    (folder / name).symlink_to(outside / "note.txt" if name.endswith(".txt") else outside)


def swap_back(folder):
    (folder / "deep").unlink()
    (folder.parent / "aside").rename(folder / "deep")


def assert_nothing_of_the_outside(found, cache):
    assert all("zebra" not in passage.text for passage in found.passages)
    assert all("zebra" not in f"{fault.detail}{fault.ids}" for fault in found.faults)
    assert all(b"zebra" not in index.read_bytes() for index in cache.rglob("*.npz"))


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("name", ["deep", "deep/er", "deep/note.txt"])
def test_a_swap_before_any_call_of_the_system(folder, tmp_path, monkeypatch, relative, name):
    monkeypatch.setattr(held, "_RELATIVE", relative)
    opened, scanned = os.open, os.scandir
    moments = 0
    for moment in range(1, 100):
        calls, cache = 0, tmp_path / f"cache{moment}"

        def hook(call, *arguments, **named):
            nonlocal calls
            calls += 1
            if calls == moment:  # noqa: B023
                swap(folder, name)
            return call(*arguments, **named)

        library = Library([folder], cache)
        with monkeypatch.context() as patch:
            patch.setattr(held.os, "open", lambda *a, **n: hook(opened, *a, **n))
            patch.setattr(held.os, "scandir", lambda *a, **n: hook(scanned, *a, **n))
            found = library.search("flea zebra")
        assert_nothing_of_the_outside(found, cache)
        if calls < moment:
            break
        assert_nothing_of_the_outside(again := library.search("flea zebra"), cache)
        assert all(f"docs/{name}" not in passage.place for passage in again.passages)
        (folder / name).unlink()
        (tmp_path / "aside").rename(folder / name)
        moments += 1
    assert moments >= 5


@pytest.mark.parametrize("relative", [True, False])
def test_a_swap_while_a_file_is_read(folder, tmp_path, monkeypatch, relative):
    monkeypatch.setattr(held, "_RELATIVE", relative)
    opened, said = os.open, []
    for moment in range(1, 10):
        calls = 0

        def hook(*arguments, **named):
            nonlocal calls
            calls += 1
            if calls == moment:  # noqa: B023
                swap(folder)
            return opened(*arguments, **named)

        library = Library([folder], tmp_path / "cache")
        with monkeypatch.context() as patch:
            patch.setattr(held.os, "open", hook)
            try:
                said.append(library.read("deep/note.txt")[2].document.text)
            except InputError as error:
                said.append(str(error))
        if calls < moment:
            break
        swap_back(folder)
    own, refusals = "a flea      jumps", ("is not below", "was replaced by a link")
    assert said[-1] == own
    assert len(said) >= 2
    assert all(text == own or any(why in text for why in refusals) for text in said)
    assert any(text != own for text in said)


def test_a_swap_back_and_forth_while_searches_run(folder, tmp_path):
    stop, swaps = threading.Event(), 0

    def go_on():
        nonlocal swaps
        while not stop.is_set():
            swap(folder)
            swap_back(folder)
            swaps += 1

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        turns = 0
        while turns < 150 or swaps < 150:  # a slow disk swaps less often than it is searched
            turns += 1
            cache = tmp_path / f"cache{turns}"
            found = Library([folder], cache).search("flea zebra")
            assert "first.txt:1" in {Path(passage.id).name for passage in found.passages}
            assert_nothing_of_the_outside(found, cache)
    finally:
        stop.set()
        thread.join()


def test_what_is_behind_a_link_now_leaves_the_index(folder, tmp_path):
    library = Library([folder], tmp_path / "cache")
    assert len(library.search("flea").passages) == 3
    swap(folder)
    found = library.search("flea zebra")
    assert [Path(passage.id).name for passage in found.passages] == ["first.txt:1"]
    assert [(fault.kind, fault.ids) for fault in found.faults] == [
        ("outside", (str(folder / "deep"),))
    ]
    (index,) = (tmp_path / "cache").rglob("*.npz")
    assert b"jumps" not in index.read_bytes()


def test_a_root_may_be_a_link_but_not_become_one(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    named = Library([tmp_path / "link"], tmp_path / "cache")
    assert len(named.search("flea").passages) == 3
    for root in (folder, folder / "first.txt"):
        library = Library([root], tmp_path / "cache")
        root.rename(tmp_path / "moved")
        root.symlink_to(tmp_path / "outside" if root == folder else tmp_path / "outside/note.txt")
        with pytest.raises(EmptyError, match="no text below"):
            library.search("flea zebra")
        root.unlink()
        (tmp_path / "moved").rename(root)


@pytest.mark.parametrize("relative", [True, False])
def test_what_is_opened(folder, tmp_path, monkeypatch, relative):
    monkeypatch.setattr(held, "_RELATIVE", relative)
    os.mkfifo(folder / "pipe")
    (folder / "way").symlink_to(folder / "deep")
    (folder / "to.txt").symlink_to(folder / "first.txt")
    root = HeldRoot(folder)

    def fault(path):
        with pytest.raises(UnreadError) as error, root.open(path):
            pass
        assert not error.value.cacheable
        return error.value.fault

    with root.open("deep/er/note.txt") as file:
        assert file.read() == b"a flea      jumps"
    link = FileFault("link", "was replaced by a link, or a folder above it was")
    assert fault("to.txt") == fault("way/note.txt") == link
    assert fault("first.txt/x") == link, "a file in the place of a folder looks the same"
    assert fault("gone.txt") == FileFault("vanished", "was gone before it was read")
    assert fault("pipe") == fault("deep") == FileFault("unreadable", "is no regular file")
    root.close()


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_descriptors_are_few_and_all_are_closed(tmp_path):
    deep = tmp_path / "docs"
    for _ in range(80):
        deep /= "d"
        (deep / "s").mkdir(parents=True)
        (deep / "s" / "note.txt").write_text("flea")
        (deep / "z.txt").write_text("flea")
    gc.collect()  # what earlier tests left open would be closed in between
    before = descriptors()
    most = 0

    def count(*_):
        nonlocal most
        most = max(most, descriptors())

    library = Library([tmp_path / "docs"], tmp_path / "cache", by_meaning=False)
    assert len(library.search("flea", depth=500, progress=count).passages) == 160
    assert most < before + held._MOST_HELD + 10
    with pytest.raises(InputError):
        library.read("nothing")
    gc.collect()
    assert descriptors() == before


def test_a_large_gitignore_counts_as_far_as_it_is_read(folder, tmp_path):
    (folder / ".gitignore").write_text("deep\n" + "#" * 2**20)
    found = Library([folder], tmp_path / "cache").search("flea")
    assert [Path(passage.id).name for passage in found.passages] == ["first.txt:1"]
    assert [fault.detail for fault in found.faults] == [
        f"{folder}/.gitignore is larger than 1 MiB; the rest does not count"
    ]
