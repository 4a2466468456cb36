"""Logs on stderr."""

import io
import logging

import pytest

from rearank_mcp import logs


@pytest.fixture
def log():
    """A logger, and what it wrote since the last look."""
    stream = io.StringIO()
    handler, logger = logs.quiet_handler(stream), logging.getLogger("a.server")
    logger.addHandler(handler)

    def written():
        lines = stream.getvalue().splitlines()
        stream.seek(0)
        stream.truncate()
        return lines

    yield logger, written
    logger.removeHandler(handler)


def test_a_flood_of_one_kind_is_cut_and_others_are_not(log, monkeypatch):
    log, written = log
    for number in range(1000):
        log.warning("bad request %d", number)
    log.warning("something else")
    log.info("chatter")
    assert written() == [
        *(f"WARNING a.server: bad request {number}" for number in range(4)),
        "WARNING a.server: bad request 4 (more of these are not shown for 60 s)",
        "WARNING a.server: something else",
    ]
    later = logs.time.monotonic() + 61
    monkeypatch.setattr(logs.time, "monotonic", lambda: later)
    log.warning("bad request %d", 1000)
    assert written() == ["WARNING a.server: bad request 1000"]


def test_secrets_are_not_shown(log, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-hush-hush")
    log, written = log
    log.error("refused: %s", "sk-hush-hush")
    assert written() == ["ERROR a.server: refused: ***"]
