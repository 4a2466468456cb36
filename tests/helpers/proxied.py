"""Proxies, started as a host would, in front of the misbehaving server."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from helpers.driver import Driver
from helpers.terminal import PROGRAM

WAYWARD = str(Path(__file__).with_name("wayward.py"))
QUERY = "how far does a flea jump"
BEST = ["A flea jumps 20 cm.", "Dogs bark."]  # as BM25 ranks, with the given order for the rest


class Proxies:
    """Starts proxies, and ends them all."""

    def __init__(self, cache):
        self.cache, self.started = cache, []

    def __call__(
        self, *options, command=(sys.executable, WAYWARD), policy="lexical", **environment
    ):
        own = ["--rerank", "find", "--top-k", "2", "--policy", policy]
        env = {**os.environ, "REARANK_CACHE": str(self.cache), **environment}
        self.started.append(
            Driver([PROGRAM, "mcp", "proxy", *own, *options, "--", *command], env=env)
        )
        return self.started[-1]

    def end(self):
        for driver in self.started:
            process = driver.process
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                with suppress(OSError):  # nobody reads what was still to be written
                    pipe.close()


def find(driver, way, **arguments):
    return driver.call("find", query=QUERY, way=way, **arguments)


def works(driver):
    return [part["text"] for part in find(driver, "blocks")["content"][:2]] == BEST
