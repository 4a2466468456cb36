"""A vLLM server with the settings this policy needs: start, wait until ready, stop."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rearank_agent.errors import InputError, SetupError
from rearank_agent.extras import install_line
from rearank_agent.llm.budget import answer_tokens
from rearank_agent.llm.checkpoint import PromptConfig

__all__ = ["Server", "required_length", "shell_line", "vllm_command"]

_QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
_STOP_SIGNALS = (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
_OWN_OPTIONS = ("--served-model-name", "--host", "--port")
_GRACE = 20.0  # seconds a server may take to stop by itself
_CHARACTERS_A_TOKEN = 3
_TURN_TOKENS = 30  # of a passage's turn, its acknowledgement and what the chat template adds
_OTHER_TOKENS = 600  # of the other turns, with a long query
_ROUND = 1024


def required_length(model: str) -> int:
    """The tokens of prompt and reply a window can take; no more than the model itself takes.

    Both come from the files of the model where `model` is a folder.

    Raises:
        SetupError: its `rearank.json` is damaged, or of another version.
    """
    config = PromptConfig.load(model) or PromptConfig()
    need = config.window * (config.cut // _CHARACTERS_A_TOKEN + _TURN_TOKENS) + _OTHER_TOKENS
    need += config.budget + answer_tokens(config.window)
    need = -(-need // _ROUND) * _ROUND
    try:
        limits = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))
        return min(need, int(limits["max_position_embeddings"]))
    except (OSError, ValueError, KeyError, TypeError):
        return need


def vllm_command(given: str = "") -> str:
    """The `vllm` program: the one given, else beside this Python, else on the PATH.

    Raises:
        SetupError: there is none.
    """
    beside = Path(sys.executable).with_name("vllm")
    found = shutil.which(given or "vllm") or (str(beside) if beside.exists() else None)
    if not given and beside.exists():
        found = str(beside)
    if not found:
        raise SetupError(
            f"there is no program {given}"
            if given
            else f"vLLM is not installed here: {install_line('serve')} on a machine with "
            "a GPU, or name the program of another environment: --vllm PATH/bin/vllm"
        )
    return found


@dataclass(frozen=True)
class Server:
    """What is served, where, and how.

    Attributes:
        model: a folder, or the name of a repository.
        name: what the model is called in requests.
        host, port: where it listens; loopback by default.
        vllm: the program.
        extra: further arguments for vLLM; they win over ours.

    Raises:
        InputError: an extra argument that has an option of its own here.
    """

    model: str
    name: str
    host: str = "127.0.0.1"
    port: int = 8000
    vllm: str = "vllm"
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for given in {argument.split("=")[0] for argument in self.extra}.intersection(_OWN_OPTIONS):
            option = "--name" if given == "--served-model-name" else given
            raise InputError(f"{given} after -- is not read here; give {option} before it")

    @property
    def url(self) -> str:
        """Where requests from this machine go."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "") else self.host  # noqa: S104
        return f"http://{host}:{self.port}/v1"

    @property
    def command(self) -> list[str]:
        """The command line, with a prefix cache for asking again, and its tokens reported."""
        ours = {
            "--served-model-name": self.name,
            "--host": self.host,
            "--port": str(self.port),
            "--max-model-len": str(required_length(self.model)),
        }
        given = {argument.split("=")[0] for argument in self.extra}
        settings = [s for key, value in ours.items() if key not in given for s in (key, value)]
        switches = ["--enable-prefix-caching", "--enable-prompt-tokens-details"]
        return [self.vllm, "serve", self.model, *settings, *switches, *self.extra]

    def run(self, ready: Callable[[float], None]) -> int:
        """Serve until interrupted (0) or until the server stops by itself (its exit code).

        What vLLM prints goes to stderr. An interrupt and SIGTERM stop it and all it started.

        Args:
            ready: called once it answers, with the seconds that took.

        Raises:
            InputError: the port is taken.
            SetupError: the server stopped before it was ready.
        """
        self._check_port()
        begun = time.monotonic()
        handlers = {number: signal.signal(number, _interrupt) for number in _STOP_SIGNALS}
        process: subprocess.Popen[bytes] | None = None
        try:
            process = subprocess.Popen(  # noqa: S603
                self.command,
                stdout=sys.stderr.fileno(),
                stdin=subprocess.DEVNULL,
                env=_QUIET | dict(os.environ),
                start_new_session=True,
            )
            self._wait_until_ready(process)
            ready(time.monotonic() - begun)
            return process.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            if process:
                _stop(process)
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _check_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise InputError(f"{self.host}:{self.port} cannot be used: {error}") from None

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        while not _is_healthy(f"{self.url[: -len('/v1')]}/health"):
            if (code := process.poll()) is not None:
                raise SetupError(f"vLLM ended with exit code {code}; the reason is above")
            time.sleep(0.5)


def _is_healthy(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is local
    try:
        with direct.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate the server, then kill it and all it started; a second signal kills at once."""
    try:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                process.wait(_GRACE)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def shell_line(command: Sequence[str]) -> str:
    """The command with the environment it runs in, as a shell takes it."""
    quiet = [f"{name}={value}" for name, value in _QUIET.items()]
    return " ".join([*quiet, shlex.join(command)])
