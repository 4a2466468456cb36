"""Other people's servers on loopback, as processes of their own."""

import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command, health, log, **more):
    """A server, from when it answers at `health` on; its output is in the file `log`."""
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, **more) as process:
        try:
            while not _answers(health):
                assert process.poll() is None, log.read_text()[-5000:]
                time.sleep(0.25)
            yield
        finally:
            process.terminate()


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False
