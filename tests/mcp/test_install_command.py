"""`mcp install` as a user types it: what it refuses, what it says, what it writes."""

import json
import os
import tomllib
from pathlib import Path

import pytest

NAME = "rearank-agent"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home with notes, which is the current folder, and no settings in the environment."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith("XDG_"):
            monkeypatch.delenv(name)
    (tmp_path / "notes").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def entries(home):
    return json.loads((home / ".cursor" / "mcp.json").read_text())["mcpServers"]


@pytest.mark.parametrize("folder", ["~", "/", ".."])
def test_home_is_not_opened_without_being_named(run, home, folder, monkeypatch):
    monkeypatch.chdir(Path(folder).expanduser())
    code, out, err = run("mcp", "install", "--client", "cursor")
    assert (code, out) == (2, "")
    assert "name what may be searched: " in err
    assert err.endswith(f"{NAME} mcp install --client cursor --root ~/notes\n")
    assert not (home / ".cursor").exists()
    assert run("mcp", "install", "--client", "cursor", "--root", str(home))[0] == 0


def test_what_was_opened_is_said(run, home, monkeypatch):
    _, out, err = run("mcp", "install", "--client", "cursor", "--root", "~/notes")
    assert out.startswith(f"added {NAME} to ")
    assert err == f"opened for search: {home / 'notes'}\n"
    assert entries(home)[NAME]["args"] == ["mcp", "--root", str(home / "notes")]
    monkeypatch.chdir(home / "notes")
    _, _, err = run("mcp", "install", "--client", "cursor", "--print")
    assert err.startswith(f"opened for search: {home / 'notes'}\n")


def test_a_user_that_does_not_exist(run):
    code, _, err = run("mcp", "--root", "~nobody-of-this-name/x")
    assert code == 2
    assert "--root: " in err


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("nope", "no policy is called 'nope'"),
        ("foo:bar", "foo:bar: Unknown"),
    ],
)
@pytest.mark.parametrize("proxy", [False, True])
def test_a_policy_that_cannot_be_is_refused(run, home, policy, message, proxy):
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    file.write_text('{"mcpServers": {"notes": {"command": "npx"}}}')
    more = ["--proxy", "notes"] if proxy else ["--root", "notes"]
    rest = ["--rerank", "find"] if proxy else []
    code, out, err = run(
        "mcp", "install", "--client", "cursor", *more, "--", *rest, "--policy", policy
    )
    assert code == 2 or (code == 1 and policy != "nope")
    assert out == ""
    assert message in err
    assert list(entries(home)) == ["notes"]


def test_a_model_that_does_not_answer_is_a_warning(run, home, monkeypatch):
    install = ("mcp", "install", "--client", "cursor", "--root", "notes", "--")
    _, out, err = run(*install, "--policy", "vllm:qwen")
    assert "warning: vllm:qwen cannot rank now: no vLLM server is known" in err
    monkeypatch.setenv("VLLM_BASE_URL", "http://127.0.0.1:9/v1")
    code, out, err = run(*install, "--policy", "vllm:qwen")
    assert code == 0
    assert "warning: vllm:qwen cannot rank now: http://127.0.0.1:9/v1: " in err
    assert out.startswith(f"replaced {NAME} in ")
    _, _, err = run(*install, "--policy", "openai:gpt")
    assert "warning: openai:gpt cannot rank now: openai:gpt: Set the `OPENAI_API_KEY`" in err


def test_a_second_entry_has_a_name(run, home):
    install = ("mcp", "install", "--client", "cursor", "--root", "notes")
    run(*install)
    run(*install, "--name", "mine-2", "--", "--max-tokens", "900")
    assert list(entries(home)) == [NAME, "mine-2"]
    assert entries(home)["mine-2"]["args"][-2:] == ["--max-tokens", "900"]
    run("mcp", "install", "--client", "cursor", "--name", "mine-2", "--uninstall")
    assert list(entries(home)) == [NAME]


@pytest.mark.parametrize("name", ["", "my notes", "my_notes", "-x", "a" * 41, "a\nb", "ä"])
def test_names_that_not_every_host_takes(run, home, name):
    code, _, err = run("mcp", "install", "--client", "cursor", "--root", "notes", "--name", name)
    assert code == 2
    assert "is no name for an entry: letters, digits and hyphens, 40 at most" in err
    assert not (home / ".cursor").exists()


@pytest.mark.parametrize("undo", [[], ["--uninstall"]])
def test_another_server_is_not_touched(run, home, undo):
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    file.write_text('{"mcpServers": {"notes": {"command": "npx"}}}')
    install = ("mcp", "install", "--client", "cursor", "--name", "notes", "--root", "notes")
    code, _, err = run(*install, *undo)
    assert code == 2
    assert err.endswith("is another server; choose another --name\n")
    assert entries(home) == {"notes": {"command": "npx"}}


@pytest.mark.parametrize(
    ("client", "file", "text"),
    [
        ("zed", ".config/zed/settings.json", '// mine\n{"theme": "One"}'),
        ("codex", ".codex/config.toml", 'mcp_servers = { docs = { command = "npx" } }'),
    ],
)
@pytest.mark.parametrize("more", [[], ["--name", "two"]])
def test_a_file_that_cannot_be_edited_gets_the_lines_to_add(run, home, client, file, text, more):
    path = home / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    code, out, err = run("mcp", "install", "--client", client, "--root", "notes", *more)
    name = more[-1] if more else NAME
    assert code == 2
    parse, key = (
        (tomllib.loads, "mcp_servers") if client == "codex" else (json.loads, "context_servers")
    )
    assert parse(out)[key][name]["args"] == ["mcp", "--root", str(home / "notes")]
    assert f"this goes into {path}, beside what is there:" in err
    assert err.endswith("; nothing was changed, add the entry by hand\n")
    assert path.read_text() == text
