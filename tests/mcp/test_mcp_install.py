"""Our entry in a host's file: its path, its content, and that all else stays."""

import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

from rearank_agent import InputError, SetupError
from rearank_mcp.install.changes import Change, entry_text, install, uninstall
from rearank_mcp.install.entries import entry_notes, proxy_entry, server_entry, unproxied_entry
from rearank_mcp.install.hosts import HOSTS, Host, key_of, location

ENTRY = {"command": "/bin/rearank-agent", "args": ["mcp", "--root", "/docs"]}
NAME = "rearank-agent"
OTHERS = {
    "theme": "dunkelgrün",
    "mcpServers": {"zeta": {"command": "z"}, NAME: {"command": "old"}, "alpha": {"url": "a"}},
    "last": [1, 2.5, None],
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home, a project that is the current folder, and an environment with our program."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith(("REARANK_", "XDG_")):
            monkeypatch.delenv(name)
    for folder in ("home", "project", "venv"):
        (tmp_path / folder).mkdir()
    (tmp_path / "venv" / "python").symlink_to(sys.executable)
    (tmp_path / "venv" / NAME).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "home"


@pytest.fixture
def cursor(home):
    """The file of one host, which is there."""
    path = home / ".cursor" / "mcp.json"
    path.parent.mkdir()
    path.write_text(json.dumps(OTHERS), encoding="utf-8")
    return path


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("client", "where"),
    [
        ("claude-desktop", "home/.config/Claude/claude_desktop_config.json"),
        ("claude-code", "project/.mcp.json"),
        ("cursor", "home/.cursor/mcp.json"),
        ("vscode", "project/.vscode/mcp.json"),
        ("codex", "home/.codex/config.toml"),
        ("gemini-cli", "home/.gemini/settings.json"),
        ("windsurf", "home/.codeium/windsurf/mcp_config.json"),
        ("zed", "home/.config/zed/settings.json"),
    ],
)
def test_every_host_has_its_file(client, where, tmp_path):
    assert location(Host(client)) == tmp_path / where
    assert client in HOSTS


@pytest.mark.parametrize(
    ("platform", "environment", "where"),
    [
        ("linux", {"XDG_CONFIG_HOME": "/etc/mine"}, "/etc/mine"),
        ("linux", {"XDG_CONFIG_HOME": ""}, "~/.config"),
        ("darwin", {"XDG_CONFIG_HOME": "/etc/mine"}, "~/Library/Application Support"),
        ("win32", {"APPDATA": "/users/me/roaming"}, "/users/me/roaming"),
        ("win32", {"APPDATA": ""}, "~/AppData/Roaming"),
    ],
)
def test_the_desktop_app_s_file_on_each_system(platform, environment, where, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    expected = Path(where).expanduser() / "Claude" / "claude_desktop_config.json"
    assert location(Host.claude_desktop) == expected


def test_a_packaged_desktop_app_of_windows_has_a_folder_of_its_own(home, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("APPDATA", str(home / "AppData" / "Roaming"))
    monkeypatch.setenv("LOCALAPPDATA", str(home / "Local"))
    plain = home / "AppData" / "Roaming" / "Claude" / "claude_desktop_config.json"
    assert location(Host.claude_desktop) == plain
    packaged = home / "Local" / "Packages" / "Claude_abc" / "LocalCache" / "Roaming"
    packaged.mkdir(parents=True)
    assert location(Host.claude_desktop) == packaged / "Claude" / "claude_desktop_config.json"
    assert location(Host.zed) == home / "AppData" / "Roaming" / "Zed" / "settings.json"


def test_codex_and_zed_have_variables_for_their_folders(home, monkeypatch):
    monkeypatch.setenv("CODEX_HOME", str(home / "mine"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "settings"))
    assert location(Host.codex) == home / "mine" / "config.toml"
    assert location(Host.zed) == home / "settings" / "zed" / "settings.json"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert location(Host.zed) == home / ".config" / "zed" / "settings.json"


def test_no_home(monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(SetupError, match="file of cursor: Could not determine home directory"):
        location(Host.cursor)


def test_an_entry_is_absolute(tmp_path, monkeypatch):
    monkeypatch.setenv("REARANK_CACHE", "kept")
    monkeypatch.setenv("REARANK_POLICY", "vllm:rearank")
    monkeypatch.setenv("REARANK_DEADLINE", "")
    monkeypatch.setenv("VLLM_BASE_URL", "http://127.0.0.1:8000/v1")
    (tmp_path / "project" / "link").symlink_to(tmp_path / "home")
    roots = [Path("link"), "..", ".", "/srv/docs"]
    assert server_entry(Host.cursor, roots, ["--max-tokens", "9"]) == {
        "command": str(tmp_path / "venv" / NAME),
        "args": [
            "mcp", "--root", str(tmp_path / "project" / "link"), "--root", str(tmp_path),
            "--root", str(tmp_path / "project"), "--root", "/srv/docs", "--max-tokens", "9",
        ],
        "env": {
            "REARANK_POLICY": "vllm:rearank",
            "REARANK_CACHE": str(tmp_path / "project" / "kept"),
            "VLLM_BASE_URL": "http://127.0.0.1:8000/v1",
        },
    }  # fmt: skip
    assert entry_notes() == []


@pytest.mark.parametrize("client", [Host.claude_code, Host.vscode])
def test_some_hosts_want_the_type(client, tmp_path):
    program = str(tmp_path / "venv" / NAME)
    assert server_entry(client, []) == {"type": "stdio", "command": program, "args": ["mcp"]}


def test_secrets_are_not_written(monkeypatch):
    monkeypatch.setenv("VLLM_BASE_URL", "https://me:hunter2@example.org/v1")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://example.org/v1?api-key=hunter3")
    monkeypatch.setenv("REARANK_POLICY", "openai:sk-hunter4")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter4")
    monkeypatch.setenv("MISTRAL_API_KEY", "hunter5")
    monkeypatch.setenv("EMPTY_API_KEY", "")
    monkeypatch.setenv("REARANK_TOKEN", "hunter6")
    monkeypatch.setenv("REARANK_CALLS", "4")
    made = server_entry(Host.claude_desktop, ["/docs"])
    assert made["env"] == {"REARANK_CALLS": "4"}
    assert "hunter" not in entry_text(Host.claude_desktop, made) + "".join(entry_notes())
    yourself = "in the env of the entry yourself"
    assert entry_notes() == [
        f"REARANK_POLICY holds a login or a key and was left out; set it {yourself}",
        f"VLLM_BASE_URL holds a login or a key and was left out; set it {yourself}",
        f"OPENAI_BASE_URL holds a login or a key and was left out; set it {yourself}",
        f"set MISTRAL_API_KEY {yourself} if the policy needs it",
        f"set OPENAI_API_KEY {yourself} if the policy needs it",
    ]


def test_the_program(tmp_path, monkeypatch):
    beside = tmp_path / "venv" / NAME
    monkeypatch.setattr(sys, "platform", "win32")
    beside.with_name(f"{NAME}.exe").touch()
    assert server_entry(Host.cursor, [])["command"] == f"{beside}.exe"
    monkeypatch.setattr(sys, "platform", "linux")
    assert server_entry(Host.cursor, [])["command"] == str(beside)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    beside.unlink()
    with pytest.raises(SetupError, match="no program rearank-agent beside this Python nor on"):
        server_entry(Host.cursor, [])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / NAME).touch(mode=0o755)
    assert server_entry(Host.cursor, [])["command"] == str(tmp_path / "bin" / NAME)
    monkeypatch.setattr(sys, "executable", "")
    assert server_entry(Host.cursor, [])["command"] == str(tmp_path / "bin" / NAME)


@pytest.mark.parametrize("client", HOSTS)
def test_a_new_file(client):
    path = location(client)
    assert install(client, ENTRY) == Change(path, True, f"added {NAME} to {path}")
    key, parse = key_of(client), tomllib.loads if client is Host.codex else json.loads
    assert parse(path.read_text()) == {key: {NAME: ENTRY}}
    assert path.read_text() == entry_text(client, ENTRY) + "\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert files(path.parent) == [path.name]
    assert uninstall(client) == Change(
        path, True, f"removed {NAME} from {path}", next(path.parent.glob("*.bak"))
    )
    assert {key: {}} | parse(path.read_text()) == {key: {}}


def test_what_is_shown():
    assert entry_text(Host.vscode, {"command": "/ä", "args": ["mcp"]}, "mine") == (
        '{\n  "servers": {\n    "mine": {\n      "command": "/ä",\n'
        '      "args": [\n        "mcp"\n      ]\n    }\n  }\n}'
    )


def test_all_else_stays_in_its_order(cursor):
    cursor.chmod(0o640)
    before = cursor.read_bytes()
    change = install(Host.cursor, ENTRY)
    servers = OTHERS["mcpServers"] | {NAME: ENTRY}
    expected = json.dumps(OTHERS | {"mcpServers": servers}, indent=2, ensure_ascii=False) + "\n"
    assert cursor.read_text(encoding="utf-8") == expected
    assert change == Change(cursor, True, f"replaced {NAME} in {cursor}", change.backup)
    assert re.fullmatch(r"mcp\.json\.\d{8}-\d{6}\.bak", change.backup.name)
    assert change.backup.read_bytes() == before
    assert [p.stat().st_mode & 0o777 for p in (cursor, change.backup)] == [0o640, 0o640]
    assert files(cursor.parent) == ["mcp.json", change.backup.name]


def test_another_name_is_another_entry(cursor):
    install(Host.cursor, ENTRY, "mine")
    servers = json.loads(cursor.read_text())["mcpServers"]
    assert list(servers.items()) == [*OTHERS["mcpServers"].items(), ("mine", ENTRY)]


def test_an_entry_that_is_there_already_is_not_written_again(cursor):
    install(Host.cursor, ENTRY)
    there, stat = files(cursor.parent), cursor.stat()
    message = f"{NAME} in {cursor} is up to date already"
    assert install(Host.cursor, ENTRY) == Change(cursor, False, message)
    assert (files(cursor.parent), cursor.stat().st_ino) == (there, stat.st_ino)


def test_no_backup_is_overwritten(cursor, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "20260102-030405")
    copies = [install(Host.cursor, ENTRY | {"args": [str(n)]}).backup for n in range(3)]
    assert [copy.name for copy in copies] == [
        "mcp.json.20260102-030405.bak",
        "mcp.json.20260102-030405-2.bak",
        "mcp.json.20260102-030405-3.bak",
    ]
    args = [json.loads(c.read_text())["mcpServers"][NAME].get("args") for c in copies]
    assert args == [None, ["0"], ["1"]]


def test_variables_set_by_hand_stay(cursor):
    url = "https://me:pass@example.org/v1"
    env = {"OPENAI_API_KEY": "k", "REARANK_DEADLINE": "9", "VLLM_BASE_URL": url}
    install(Host.cursor, ENTRY | {"env": env})
    install(Host.cursor, ENTRY | {"env": {"REARANK_CALLS": "4"}})
    assert json.loads(cursor.read_text())["mcpServers"][NAME] == ENTRY | {
        "env": {"OPENAI_API_KEY": "k", "VLLM_BASE_URL": url, "REARANK_CALLS": "4"}
    }


def test_keys_set_by_hand_stay(cursor):
    by_hand = {"disabled": True, "command": "old", "timeout": 60, "args": [], "cwd": "/"}
    cursor.write_text(json.dumps({"mcpServers": {NAME: by_hand}}))
    install(Host.cursor, ENTRY)
    merged = json.loads(cursor.read_text())["mcpServers"][NAME]
    assert list(merged.items()) == list((by_hand | ENTRY).items())
    assert not install(Host.cursor, ENTRY).changed


def test_what_belongs_to_a_url_does_not_stay(cursor):
    cursor.write_text(json.dumps({"mcpServers": {NAME: {"url": "http://x", "headers": {}}}}))
    install(Host.cursor, ENTRY)
    assert json.loads(cursor.read_text())["mcpServers"][NAME] == ENTRY


@pytest.mark.parametrize("old", ["text", None, [], {"env": "text"}])
def test_an_old_entry_of_any_form_is_replaced(cursor, old):
    cursor.write_text(json.dumps({"mcpServers": {NAME: old}}))
    assert install(Host.cursor, ENTRY).message == f"replaced {NAME} in {cursor}"
    assert json.loads(cursor.read_text()) == {"mcpServers": {NAME: ENTRY}}


def test_uninstall(cursor):
    before = cursor.read_bytes()
    change = uninstall(Host.cursor)
    servers = {name: OTHERS["mcpServers"][name] for name in ("zeta", "alpha")}
    assert list(json.loads(cursor.read_text()).items()) == list(
        (OTHERS | {"mcpServers": servers}).items()
    )
    assert change == Change(cursor, True, f"removed {NAME} from {cursor}", change.backup)
    assert change.backup.read_bytes() == before
    after = cursor.read_bytes()
    assert uninstall(Host.cursor) == Change(cursor, False, f"there is no {NAME} in {cursor}")
    assert cursor.read_bytes() == after
    assert files(cursor.parent) == ["mcp.json", change.backup.name]


def test_uninstall_without_a_file(home):
    path = home / ".cursor" / "mcp.json"
    assert uninstall(Host.cursor) == Change(path, False, f"there is no {NAME} in {path}")
    assert files(home) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{\n  // mine\n  "a": 1}', "is not valid JSON: .*line 2 column 3"),
        (b'{"a": 1,}', "is not valid JSON: .*line 1 column"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "is not valid JSON: the key 'c' is there twice"),
        (b'{"a": 1e999}', "is not valid JSON: Out of range"),
        (b"[" * 100_000, "is not valid JSON: "),
        (b"[1]", "is not a JSON object: line 1 column 1"),
        (b'{"mcpServers": []}', "has no JSON object as 'mcpServers'"),
        (b'{"mcpServers": null}', "has no JSON object as 'mcpServers'"),
        (b'{\n"a": "\xe4"}', "is not UTF-8: line 2 column 7"),
    ],
)
@pytest.mark.parametrize(
    ("change", "by_hand"),
    [
        (lambda: install(Host.cursor, ENTRY), "add the entry by hand"),
        (lambda: uninstall(Host.cursor), f"remove {NAME} by hand"),
    ],
)
def test_an_invalid_file_is_left_as_it_is(cursor, data, message, change, by_hand):
    cursor.write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        change()
    assert str(error.value).startswith(f"{cursor} ")
    assert str(error.value).endswith(f"; nothing was changed, {by_hand}")
    assert cursor.read_bytes() == data
    assert files(cursor.parent) == ["mcp.json"]


@pytest.mark.parametrize("data", [b"", b" \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf{}"])
def test_an_empty_file_and_a_byte_order_mark(cursor, data):
    cursor.write_bytes(data)
    change = install(Host.cursor, ENTRY)
    assert json.loads(cursor.read_bytes()) == {"mcpServers": {NAME: ENTRY}}
    assert change.backup.read_bytes() == data


def test_a_lone_surrogate_stays(cursor):
    cursor.write_text(r'{"emoji": "ä\ud83d"}', encoding="utf-8")
    install(Host.cursor, ENTRY)
    assert json.loads(cursor.read_bytes()) == {"emoji": "ä\ud83d", "mcpServers": {NAME: ENTRY}}


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays(cursor, tmp_path, there):
    real = tmp_path / "dotfiles" / "cursor.json"
    if there:
        real.parent.mkdir()
        cursor.rename(real)
    else:
        cursor.unlink()
    cursor.symlink_to(real)
    change = install(Host.cursor, ENTRY)
    assert cursor.readlink() == real
    assert json.loads(real.read_text())["mcpServers"][NAME] == ENTRY
    assert change.path == cursor
    assert files(cursor.parent) == ["mcp.json"]
    assert files(real.parent) == ["cursor.json", *([change.backup.name] if there else [])]


def test_a_file_that_cannot_be_replaced_is_unchanged(cursor, monkeypatch):
    before = cursor.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SetupError) as error:
        install(Host.cursor, ENTRY)
    assert str(error.value) == f"{cursor}: No space left on device"
    assert cursor.read_bytes() == before
    assert files(cursor.parent) == ["mcp.json"]


def test_what_is_no_file(home):
    (home / ".cursor").write_text("")
    with pytest.raises(SetupError, match=r"mcp\.json: Not a directory"):
        install(Host.cursor, ENTRY)
    location(Host.claude_code).mkdir()
    with pytest.raises(SetupError, match=r"\.mcp\.json: Is a directory"):
        uninstall(Host.claude_code)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_that_is_read_only(cursor):
    cursor.parent.chmod(0o500)
    with pytest.raises(SetupError, match=r"mcp\.json: Permission denied"):
        install(Host.cursor, ENTRY)
    cursor.parent.chmod(0o700)


NPX = {"command": "npx", "args": ["-y", "notes"], "env": {"KEY": "k"}, "disabled": False}


@pytest.fixture
def notes_server(cursor):
    """Puts a server called notes into the host's file."""

    def put(entry):
        cursor.write_text(json.dumps({"mcpServers": {"notes": entry}}))

    return put


def test_a_proxy_is_put_before_a_server_and_taken_out_again(notes_server, home, monkeypatch):
    monkeypatch.setenv("REARANK_POLICY", "lexical")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")  # the server's own affair
    notes_server(NPX)
    program = str(home.parent / "venv" / NAME)
    for options in (["--rerank", "find"], ["--rerank", "seek", "--top-k", "3"]):  # the last counts
        made = proxy_entry(Host.cursor, "notes", options)
        assert made == {
            "command": program,
            "args": ["mcp", "proxy", *options, "--", "npx", "-y", "notes"],
            "env": {"REARANK_POLICY": "lexical", "KEY": "k"},
            "disabled": False,
        }
        install(Host.cursor, made, "notes")
    assert unproxied_entry(Host.cursor, "notes") == NPX
    install(Host.cursor, unproxied_entry(Host.cursor, "notes"), "notes")
    assert json.loads((home / ".cursor" / "mcp.json").read_text()) == {"mcpServers": {"notes": NPX}}


@pytest.mark.parametrize(
    "entry",
    [
        {"command": "x"},
        {"command": "x", "args": None, "env": None},
        {"command": "docker", "args": ["mcp", "proxy", "--", "x", "y"]},
        {"command": "/bin/rearank-agent", "args": ["mcp", "--root", "."]},
        {"command": "/bin/rearank-agent", "args": ["mcp", "proxy", "--rerank", "x", "--"]},
    ],
)
def test_a_server_without_our_proxy_is_left_as_it_is(notes_server, entry):
    notes_server(entry)
    unchanged = {key: value for key, value in entry.items() if (key, value) != ("env", None)}
    assert unproxied_entry(Host.cursor, "notes") == unchanged
    args = proxy_entry(Host.cursor, "notes", ["--rerank", "x"])["args"]
    assert args[5:] == [entry["command"], *(entry.get("args") or [])]


@pytest.mark.parametrize(
    "entry",
    [
        {"url": "http://x"},
        {"command": 5},
        {"command": "x", "args": [1]},
        {"command": "x", "args": "y"},
        {"command": "x", "env": [1]},
        "x",
        None,
    ],
)
def test_what_no_command_starts_cannot_be_wrapped(notes_server, entry):
    notes_server(entry)
    with pytest.raises(InputError, match="notes"):
        proxy_entry(Host.cursor, "notes", [])


def test_a_server_that_the_host_does_not_have_cannot_be_wrapped(notes_server):
    notes_server(NPX)
    with pytest.raises(InputError, match=r"no server 'note' in .*, there is notes; add it to the"):
        proxy_entry(Host.cursor, "note", [])
    location(Host.cursor).write_text('{"mcpServers": {}} // as hosts allow it')
    with pytest.raises(InputError, match="nothing was changed, put `rearank-agent mcp proxy"):
        proxy_entry(Host.cursor, "notes", [])
    notes_server(NPX)
    with pytest.raises(InputError, match="leave out the --"):
        proxy_entry(Host.cursor, "notes", ["--rerank", "x", "--", "y"])
