import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rearank_agent import InputError
from rearank_agent.extras import install_line
from rearank_agent.search.library import Library

FLEAS = "# Fleas\n\nA flea jumps far.\n\nIt lives for a hundred days.\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "docs" / "fleas.md").write_text(FLEAS)
    (tmp_path / "docs" / "deep" / "dogs.txt").write_text("Dogs bark at night.\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "docs"


@pytest.fixture
def search(folder, tmp_path):
    def go(query, *roots, depth=50):
        roots = [Path(root) for root in roots] or [Path("docs")]
        return Library(roots, tmp_path / "cache", by_meaning=False).search(query, depth)

    return go


def places(found):
    return [passage.place for passage in found.passages]


def test_a_whole_passage(search):
    found = search("how far does a flea jump")
    (passage,) = found.passages
    assert (passage.id, passage.place, passage.title) == (
        "docs/fleas.md:1-5",
        "docs/fleas.md:1-5",
        "",
    )
    assert passage.text == FLEAS.strip()
    assert passage.score > 0
    assert found.faults == ()
    assert set(found.seconds) == {"look", "load", "read", "index", "vectors", "search"}


def test_nothing_found_and_depth(search, folder):
    assert search("zebra").passages == ()
    for i in range(9):
        (folder / f"more{i}.txt").write_text(f"flea number {i}")
    assert len(search("flea", depth=4).passages) == 4
    assert len(search("flea").passages) == 10


def test_gitignore_hidden_and_generated_files_stay_out(search, folder):
    (folder / ".gitignore").write_text("*.log\nbuild/\n!keep.log\n")
    (folder / "deep" / ".gitignore").write_text("secret*\n!secret-not.txt\n")
    for name in ("a.log", "keep.log", "build/x.txt", ".hidden/x.txt", ".env", "node_modules/x.txt",
                 "deep/secret.txt", "deep/secret-not.txt", "secret.txt"):  # fmt: skip
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("zebra")
    assert sorted(places(search("zebra"))) == [
        "docs/deep/secret-not.txt:1", "docs/keep.log:1", "docs/secret.txt:1",
    ]  # fmt: skip
    assert places(search("zebra", "docs/a.log")) == ["docs/a.log:1"], "a file named is read"


def test_what_cannot_be_read_is_reported(search, folder, monkeypatch):
    (folder / "binary.txt").write_bytes(b"flea \x00 flea")
    (folder / "latin.txt").write_bytes(b"one\ntw\xff flea")
    (folder / "odd.txt").write_bytes(b"one\ntw\x81 flea")
    (folder / "rows.jsonl").write_text(
        '{"id": "r", "text": "a flea row", "title": "T"}\nnot json\n{"x": 1}\n'
    )
    found = search("flea")
    assert sorted(places(found)) == [
        "docs/fleas.md:1-5", "docs/latin.txt:1-2", "docs/rows.jsonl:1",
    ]  # fmt: skip
    (row,) = [passage for passage in found.passages if passage.title == "T"]
    assert row.meta == {"id": "r"}
    assert sorted((fault.kind, fault.detail) for fault in found.faults) == [
        ("binary", "docs/binary.txt is not text"),
        ("encoding", "docs/latin.txt:2 is not UTF-8; it was read as Windows-1252"),
        ("encoding", "docs/odd.txt:2 is not UTF-8, nor says what it is"),
        ("line", "docs/rows.jsonl:2 is not JSON"),
        ("line", "docs/rows.jsonl:3 has no text"),
    ]
    assert search("flea").faults == found.faults, "reported again from the cached index"


def test_what_was_left_out_is_told_below_the_path_that_was_asked(folder, tmp_path):
    (folder / "a.png").write_bytes(b"")
    (folder / "deep" / "b.png").write_bytes(b"")
    (folder / "deep" / "latin.txt").write_bytes(b"tw\xf6 fleas")
    (folder / "deeper.bin").write_bytes(b"\0")
    library = Library([Path("docs")], tmp_path / "cache", by_meaning=False)

    def told(within):
        return [fault.ids for fault in library.search("flea dogs", within=within).faults]

    assert told("") == [
        ("docs/a.png", "docs/deep/b.png"),
        ("docs/deeper.bin",),
        ("docs/deep/latin.txt:1",),
    ]
    assert told("deep") == told("docs/deep/") == [("docs/deep/b.png",), ("docs/deep/latin.txt:1",)]
    assert told("docs/deep/latin.txt") == [("docs/deep/latin.txt:1",)]
    assert told("docs") == told("")
    assert told("fleas.md") == []
    with pytest.raises(
        InputError, match=r"holds no text that is searched; left out: docs/a.png is an"
    ):
        told("a.png")


def test_pdf_and_office_files_name_the_extra(search, folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "markitdown", None)
    (folder / "paper.pdf").write_bytes(b"%PDF-1.4 ...")
    (fault,) = search("flea").faults
    assert (fault.kind, fault.ids) == ("extra", ("docs/paper.pdf",))
    assert install_line("docs") in fault.detail


def test_links_never_lead_outside(search, folder, tmp_path):
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key.txt").write_text("zebra secret")
    (folder / "out").symlink_to(tmp_path / "private")
    (folder / "key.txt").symlink_to(tmp_path / "private" / "key.txt")
    (folder / "loop").symlink_to(folder)
    (folder / "again.md").symlink_to(folder / "fleas.md")
    found = search("zebra secret flea")
    assert places(found) == ["docs/fleas.md:1-5"]
    assert sorted((fault.kind, fault.ids) for fault in found.faults) == [
        ("outside", ("docs/key.txt", "docs/out")),
    ]  # fmt: skip


def test_a_path_is_resolved_only_inside(folder, tmp_path):
    library = Library([Path("docs")], tmp_path / "cache", by_meaning=False)
    (folder / "link").symlink_to(tmp_path)
    (folder / ".env").write_text("KEY=1")
    (folder / ".gitignore").write_text("private.txt\n")
    (folder / "private.txt").write_text("x")
    (tmp_path / "other.txt").write_text("x")
    for place, lines in (
        ("docs/fleas.md:1-5", ":1-5"),
        ("docs/fleas.md:1#2", ":1#2"),
        ("fleas.md", ""),
        ("deep/../fleas.md", ""),
        (str((folder / "fleas.md").resolve()), ""),
    ):
        path, named, found = library.read(place)
        assert (path, named, found.document.text) == ("docs/fleas.md", lines, FLEAS)
    for place in ("../other.txt", "link/other.txt", str(tmp_path / "other.txt"), "no.md", ".env",
                  "private.txt", "/etc/passwd", "docs", "", "a\0b", "../docs"):  # fmt: skip
        with pytest.raises(InputError, match="is not below docs"):
            library.read(place)
    alone = Library([folder / "fleas.md"], tmp_path / "cache", by_meaning=False)
    with pytest.raises(InputError, match="is not below"):
        alone.read("deep/dogs.txt")


def reads(monkeypatch):
    from rearank_agent.search import library

    read, seen = library.extract, []
    monkeypatch.setattr(
        library, "extract", lambda name, *how: (seen.append(Path(name).name), read(name, *how))[1]
    )
    return seen


def test_only_changed_files_are_read_again(search, folder, monkeypatch):
    seen = reads(monkeypatch)
    search("flea")
    assert sorted(seen) == ["dogs.txt", "fleas.md"]
    seen.clear()
    first = search("flea")
    assert seen == []
    (folder / "fleas.md").write_text(FLEAS + "\nIts eggs are white.\n")
    (folder / "cats.txt").write_text("Cats have fleas.")
    (folder / "deep" / "dogs.txt").unlink()
    second = search("flea")
    assert sorted(seen) == ["cats.txt", "fleas.md"]
    assert places(first) == ["docs/fleas.md:1-5"]
    assert sorted(places(second)) == ["docs/cats.txt:1", "docs/fleas.md:1-7"]
    assert search("dogs").passages == ()


def test_a_kept_index_gives_the_same_answer(search):
    fresh, kept = search("flea lives dogs"), search("flea lives dogs")
    assert fresh.passages == kept.passages
    assert len(fresh.passages) == 2


def test_a_file_that_vanishes_is_reported_and_loses_nothing(search, folder, monkeypatch):
    from rearank_agent.search import library

    read = library.extract

    def vanish(name, *how):
        if name == "deep/dogs.txt":
            (folder / name).unlink()
        return read(name, *how)

    monkeypatch.setattr(library, "extract", vanish)
    found = search("flea dogs")
    assert places(found) == ["docs/fleas.md:1-5"]
    assert [(fault.kind, fault.ids) for fault in found.faults] == [
        ("vanished", ("docs/deep/dogs.txt",))
    ]


def test_an_unreadable_folder_is_reported(search, folder, monkeypatch):
    opened = os.open

    def refuse(path, *arguments, **named):
        if path == "deep":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **named)

    monkeypatch.setattr("rearank_agent.search.held.os.open", refuse)
    found = search("flea")
    assert places(found) == ["docs/fleas.md:1-5"]
    assert [fault.detail for fault in found.faults] == [
        "docs/deep cannot be read (Permission denied)"
    ]


def index_file(tmp_path):
    (file,) = (tmp_path / "cache").rglob("*.npz")
    return file


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"{nonsense",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-40],
        lambda whole: whole.replace(b"flea", b"fled", 1),
    ],
)
def test_a_damaged_index_is_rebuilt_and_reported(search, tmp_path, damage):
    before = search("flea")
    file = index_file(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    after = search("flea")
    assert after.passages == before.passages
    assert [(fault.kind, fault.ids) for fault in after.faults] == [("cache", (str(file),))]
    assert search("flea").faults == ()


def test_temporary_files_of_a_killed_program_are_removed(search, folder, tmp_path):
    search("flea")
    old, new = (index_file(tmp_path).with_name(name) for name in ("old.tmp", "new.tmp"))
    for left in (old, new):
        left.write_bytes(b"half")
    os.utime(old, (0, 0))
    (folder / "more.txt").write_text("flea")
    search("flea")
    assert (old.exists(), new.exists()) == (False, True), "a new one may still be written"


def test_an_index_of_another_version_is_rebuilt_silently(search, tmp_path, monkeypatch):
    monkeypatch.setattr("rearank_agent.search.index.VERSION", 1)
    search("flea")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    seen = reads(monkeypatch)
    assert search("flea").faults == ()
    assert sorted(seen) == ["dogs.txt", "fleas.md"]


def test_stopping_while_the_index_is_written_leaves_the_old_one(
    search, folder, tmp_path, monkeypatch
):
    search("flea")
    before = index_file(tmp_path).read_bytes()
    (folder / "new.txt").write_text("a flea more")

    def stop(file, **_):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rearank_agent.search.index.np.savez", stop)
        with pytest.raises(KeyboardInterrupt):
            search("flea")
    assert index_file(tmp_path).read_bytes() == before
    assert list(index_file(tmp_path).parent.iterdir()) == [index_file(tmp_path)]
    assert len(search("flea").passages) == 2


def test_a_cache_that_cannot_be_written_is_a_fault(folder, tmp_path):
    (tmp_path / "blocked").write_text("a file where a folder should be")
    found = Library([folder], tmp_path / "blocked", by_meaning=False).search("flea")
    assert len(found.passages) == 1
    assert [fault.kind for fault in found.faults] == ["cache"]


def test_the_cache_is_for_its_owner_alone(search, tmp_path):
    search("flea")
    file = index_file(tmp_path)
    assert (file.parent.stat().st_mode & 0o077, file.stat().st_mode & 0o077) == (0, 0)


def test_two_at_the_same_time(search):
    found, threads = [], []
    for _ in range(6):
        threads.append(threading.Thread(target=lambda: found.append(search("flea"))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert {tuple(places(one)) for one in found} == {("docs/fleas.md:1-5",)}


def test_processes_at_the_same_time_see_no_damage(folder, tmp_path):
    code = """if True:
        import sys
        from pathlib import Path
        from rearank_agent.search.library import Library
        for turn in range(8):
            Path("docs", sys.argv[1]).write_text("flea " + "x " * turn)
            found = Library([Path("docs")], Path("cache"), by_meaning=False).search("flea")
            print([fault.kind for fault in found.faults if fault.kind == "cache"])
    """
    command = [sys.executable, "-c", code]
    running = [
        subprocess.Popen([*command, f"{number}.txt"], stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    assert {line for one in running for line in one.communicate()[0].split("\n")} == {"[]", ""}


def test_unusual_entries_of_a_folder_are_reported_and_skipped(search, folder):
    (folder / ".hidden").mkdir()
    (folder / "to-hidden").symlink_to(folder / ".hidden")
    (folder / "self").symlink_to("self")
    (folder / "nowhere").symlink_to("nothing")
    os.mkfifo(folder / "pipe")
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"\0")
    (folder / "deep" / ".gitignore").write_text("!\nsecret.txt\n")
    (folder / "deep" / "secret.txt").write_text("flea")
    (folder / os.fsdecode(b"bad\xff.txt")).write_text("flea")
    found = search("flea")
    assert places(found) == ["docs/fleas.md:1-5"]
    assert [(fault.kind, fault.detail) for fault in found.faults] == [
        ("binary", "docs/0.png is an image; text in pictures is not read (and 2 more)"),
        ("link", "docs/nowhere is a link to nothing (and 1 more)"),
        ("link", "docs/to-hidden is a link to what is hidden or ignored"),
        ("unreadable", "docs/bad?.txt has a name that is not UTF-8"),
        ("unreadable", "docs/deep/.gitignore holds a line that is no pattern"),
        ("unreadable", "docs/pipe is neither a file nor a folder"),
    ]
    assert found.faults[0].ids == ("docs/0.png", "docs/1.png", "docs/2.png")


def test_a_folder_of_any_depth(search, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for _ in range(1100):
        Path("d").mkdir()
        os.chdir("d")
    Path("end.txt").write_text("zebra")
    monkeypatch.chdir(folder.parent)
    (passage,) = search("zebra").passages
    assert passage.place == f"docs/{'d/' * 1100}end.txt:1"
    Path(passage.place.removesuffix(":1")).unlink()
    os.removedirs(f"docs/{'d/' * 1100}")  # too deep for those who clean up after tests


def test_roots_that_overlap_give_a_file_once(search, folder):
    (folder.parent / "linked.md").symlink_to(folder / "fleas.md")
    assert places(search("flea", "docs", folder, "docs/fleas.md")) == ["docs/fleas.md:1-5"]
    assert places(search("flea", "docs/fleas.md", "docs")) == ["docs/fleas.md:1-5"]
    assert places(search("flea", "linked.md")) == ["linked.md:1-5"], "a link that was named"


def test_the_gitignore_of_the_repository_around_a_folder_counts(search, folder, tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("out/\n")
    (folder / "out").mkdir()
    (folder / "out" / "x.txt").write_text("zebra")
    assert places(search("zebra")) == []
    assert places(search("zebra", "docs/out")) == ["docs/out/x.txt:1"], "a folder that was named"


def test_files_without_a_word_that_counts(search, folder):
    (folder / "fleas.md").write_text("the of and")
    (folder / "deep" / "dogs.txt").write_text("- - -")
    assert search("the of").passages == search("flea").passages == ()


def test_unusual_names(search, folder):
    (folder / "sp ace ü 跳.txt").write_text("zebra")
    (folder / "跳蚤.txt").write_text("跳蚤能活一百天。")
    assert places(search("zebra")) == ["docs/sp ace ü 跳.txt:1"]
    assert places(search("跳蚤能活多久")) == ["docs/跳蚤.txt:1"]


@pytest.mark.parametrize(
    ("query", "roots", "message"),
    [
        (" ", ["docs"], "the query is empty"),
        ("x", ["none"], "there is no file or folder none"),
        ("x", ["empty"], "no text below empty"),
        ("x", ["binary"], "no text below binary; left out: binary/b.bin is not text"),
    ],
)
def test_bad_requests(search, tmp_path, query, roots, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / "b.bin").write_bytes(b"\0\0")
    with pytest.raises(InputError, match=message):
        search(query, *roots)
    with pytest.raises(InputError, match="no folder to search"):
        Library([])
