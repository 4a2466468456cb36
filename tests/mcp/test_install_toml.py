"""Codex's file: lines of TOML change, comments and all else stay, or nothing is written."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rearank_mcp.install.toml_form import entry_text, with_entry

ENTRY = {"command": "/bin/ra", "args": ["mcp", "--root", "/docs"], "env": {"A_B": "1", "c d": "2"}}
FILE = """\
# mine
model = "gpt-5"  # the best

[mcp_servers.docs]  # keep
command = "npx"
args = [
  "-y",  # yes
  "[docs]",
]

# about rearank
[mcp_servers.rearank-agent]
# started with
command = "old"  # not "#1"
args = [
  "mcp",
] # all
startup_timeout_sec = 30  # slow disk
enabled = false

[mcp_servers.rearank-agent.env]
KEY = "k"  # secret
A_B = "0"

# the last one
[tui]
notifications = true
"""
NAME = "rearank-agent"
KEPT = {"startup_timeout_sec": 30, "enabled": False}


def test_only_the_lines_that_differ_change():
    entry = ENTRY | KEPT | {"env": {"KEY": "k", "A_B": "1"}}
    new = with_entry(FILE, "mcp_servers", NAME, entry)
    expected = FILE.replace('"old"', '"/bin/ra"').replace('A_B = "0"', 'A_B = "1"')
    expected = expected.replace('args = [\n  "mcp",\n]', 'args = ["mcp", "--root", "/docs"]')
    assert new == expected
    assert with_entry(new, "mcp_servers", NAME, entry) == new


def test_a_new_entry_goes_to_the_end():
    text = 'model = "x"'
    new = with_entry(text, "mcp_servers", NAME, ENTRY)
    assert new == (
        'model = "x"\n\n[mcp_servers.rearank-agent]\ncommand = "/bin/ra"\n'
        'args = ["mcp", "--root", "/docs"]\nenv = { A_B = "1", "c d" = "2" }\n'
    )
    assert with_entry(new, "mcp_servers", NAME, None) == 'model = "x"\n'


def test_an_entry_is_removed_with_its_tables_alone():
    start, end = FILE.index("\n[mcp_servers.rearank"), FILE.index("\n# the last one")
    new = with_entry(FILE, "mcp_servers", NAME, None)
    assert new == FILE[: start + 1] + FILE[end:]


def test_variables_come_and_go():
    text = with_entry("", "mcp_servers", NAME, ENTRY)
    without = {key: value for key, value in ENTRY.items() if key != "env"}
    for entry in (without, ENTRY, ENTRY | {"env": {"x": "y"}}):
        text = with_entry(text, "mcp_servers", NAME, entry)
        assert tomllib.loads(text) == {"mcp_servers": {NAME: entry}}
    assert "KEY" not in with_entry(FILE, "mcp_servers", NAME, without | KEPT)


def test_lines_that_end_as_in_windows_stay_so():
    text = FILE.replace("\n", "\r\n")
    new = with_entry(text, "mcp_servers", "two", ENTRY)
    assert new.startswith(text)
    assert new.count("\n") == new.count("\r\n")


@pytest.mark.parametrize(
    "text",
    [
        'mcp_servers = { docs = { command = "npx" } }',
        'mcp_servers.rearank-agent.command = "old"',
        '[mcp_servers]\nrearank-agent = { command = "old" }',
        '[mcp_servers.rearank-agent.env]\nKEY = "k"',
        '[mcp_servers]\nrearank-agent.command = "old"',
        '[mcp_servers.rearank-agent]\ncommand = """\n[mcp_servers.rearank-agent]\ncommand = 1\n"""',
    ],
)
def test_a_form_that_cannot_be_edited_is_refused(text):
    with pytest.raises(ValueError, match=r"has mcp_servers.rearank-agent in a form that cannot be"):
        with_entry(text, "mcp_servers", NAME, ENTRY)


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
ENTRIES = st.fixed_dictionaries(
    {"command": TEXT, "args": st.lists(TEXT, max_size=3)},
    optional={"env": st.dictionaries(TEXT, TEXT, max_size=3), "enabled": st.booleans()},
)


@given(TEXT, ENTRIES, ENTRIES)
def test_any_entry_is_read_as_it_was_written(name, entry, other):
    assert tomllib.loads(entry_text("mcp_servers", name, entry)) == {"mcp_servers": {name: entry}}
    text = FILE
    before = tomllib.loads(FILE)
    for new in (entry, other):
        text = with_entry(text, "mcp_servers", name, new)
        servers = before["mcp_servers"] | {name: new}
        assert tomllib.loads(text) == before | {"mcp_servers": servers}
    assert text.startswith(FILE)
    gone = with_entry(text, "mcp_servers", name, None)
    assert tomllib.loads(gone) == before
