"""Our web service, which other people's programs ask."""

import os
import re
import subprocess

import pytest

from helpers.terminal import PROGRAM


@pytest.fixture(scope="session")
def url(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    command = [PROGRAM, "mcp", "--http", "127.0.0.1:0"]
    env = os.environ | {"REARANK_CACHE": cache, "REARANK_TOKEN": "any"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        yield re.search(r"(http://\S+)/mcp", process.stderr.readline())[1]
        process.terminate()
