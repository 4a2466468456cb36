"""A test host for MCP servers."""

import json
import subprocess
import time
from time import perf_counter


class Driver:
    """Speaks JSON-RPC, one message per line; output that is not JSON is a failure."""

    def __init__(self, command, **more):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, **more)
        self.number = 0

    def send(self, method, **params):
        self.write(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode())

    def ask(self, method, **params):
        """Send a request; its number."""
        self.number += 1
        request = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        self.write(json.dumps(request).encode())
        return self.number

    def write(self, line):
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def read(self):
        line = self.process.stdout.readline()
        message = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        return message

    def answer(self, number):
        """The response to a request; messages before it are skipped."""
        while (message := self.read()).get("id") != number:
            pass
        return message

    def call(self, tool, **arguments):
        return self.answer(self.ask("tools/call", name=tool, arguments=arguments))["result"]

    def start(self, name="rearank-agent"):
        client = {"name": "driver", "version": "1"}
        number = self.ask(
            "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client
        )
        assert self.answer(number)["result"]["serverInfo"]["name"] == name
        self.send("notifications/initialized")
        return self

    def end(self):
        """Close stdin; the exit code, the rest of stdout, and stderr."""
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err.decode()


def until(true):
    end = perf_counter() + 10
    while not true():
        assert perf_counter() < end
        time.sleep(0.01)
