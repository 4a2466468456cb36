"""`serve` with a fake vLLM program; tests/serving has the real one."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from helpers.terminal import PROGRAM
from rearank_agent import InputError, SetupError
from rearank_agent.extras import install_line
from rearank_agent.llm.checkpoint import CONFIG_FILE, PromptConfig, describe
from rearank_agent.llm.serve import Server, required_length, vllm_command

FAKE_VLLM = """
#!{python}
import http.server, json, os, sys
host, port = (sys.argv[sys.argv.index(f"--{{w}}") + 1] for w in ("host", "port"))
print("loading the model")
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
if "--fail" in sys.argv:
    sys.exit("no such model")
with open(os.environ["FAKE_VLLM"], "w") as file:
    json.dump([sys.argv[1:], os.environ["VLLM_NO_USAGE_STATS"], os.getpid()], file)
http.server.HTTPServer((host, int(port)), Answer).serve_forever()
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def program(tmp_path, monkeypatch):
    path = tmp_path / "vllm"
    path.write_text(textwrap.dedent(FAKE_VLLM).strip().format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv("FAKE_VLLM", str(tmp_path / "played.json"))
    return path


def serve(*args):
    command = [PROGRAM, "serve", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped(program, tmp_path, how):
    port = free_port()
    running = serve(tmp_path / "model", "--port", port, "--vllm", program, "--", "--dtype", "half")
    said = [running.stdout.readline() for _ in range(4)]
    argv, quiet, pid = json.loads((tmp_path / "played.json").read_text())
    running.send_signal(how)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    assert said[0].startswith("ready after ")
    assert said[2:] == [
        f"export VLLM_BASE_URL=http://127.0.0.1:{port}/v1\n",
        "rearank-agent rerank QUERY FILE --policy vllm:model\n",
    ]
    assert out == ""
    assert "loading the model" in err
    assert "Traceback" not in err
    assert argv == [
        "serve", str(tmp_path / "model"), "--served-model-name", "model", "--host", "127.0.0.1",
        "--port", str(port), "--max-model-len", "12288", "--enable-prefix-caching",
        "--enable-prompt-tokens-details", "--dtype", "half",
    ]  # fmt: skip
    assert quiet == "1"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


STUBBORN = """
import signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen(["sleep", "600"])
with open(os.environ["FAKE_VLLM"] + ".worker", "w") as file:
    file.write(str(worker.pid))
"""


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "Z"  # killed, and not yet fetched by whoever started it


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_kills_a_stubborn_server_and_all_it_started(program, tmp_path, how):
    program.write_text(program.read_text().replace('print("loading', STUBBORN + 'print("loading'))
    running = serve("model", "--port", free_port(), "--vllm", program)
    running.stdout.readline()
    pids = [json.loads((tmp_path / "played.json").read_text())[2]]
    pids.append(int((tmp_path / "played.json.worker").read_text()))
    running.send_signal(how)
    time.sleep(0.5)
    assert running.poll() is None, "it has 20 s to end by itself"
    running.send_signal(how)
    _, err = running.communicate(timeout=10)
    assert (running.returncode, "Traceback" in err) == (0, False)
    assert all(gone(pid) for pid in pids)


def test_a_proxy_does_not_keep_it_from_its_own_server(program, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    running = serve("model", "--port", free_port(), "--vllm", program)
    assert running.stdout.readline().startswith("ready after")
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=120)


@pytest.mark.parametrize("extra", [("--port", "9"), ("--port=9",), ("--served-model-name", "x")])
def test_arguments_with_an_option_here_are_refused(extra):
    with pytest.raises(InputError, match=r"give --(port|name) before it"):
        Server("m", "m", extra=extra)


def test_a_server_that_fails_is_reported(program, tmp_path):
    running = serve("model", "--port", free_port(), "--vllm", program, "--", "--fail")
    out, err = running.communicate(timeout=120)
    assert (running.returncode, out) == (1, "")
    assert err.splitlines()[-2:] == [
        "no such model",
        "rearank-agent: vLLM ended with exit code 1; the reason is above",
    ]


def test_a_server_that_dies_later_is_reported(program, tmp_path):
    running = serve("model", "--port", free_port(), "--vllm", program)
    running.stdout.readline()
    os.kill(json.loads((tmp_path / "played.json").read_text())[2], signal.SIGKILL)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 1
    assert err.splitlines()[-1] == "rearank-agent: vLLM ended with exit code -9"


def test_a_port_that_is_taken(program):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        running = serve("model", "--port", taken.getsockname()[1], "--vllm", program)
        _, err = running.communicate(timeout=120)
    assert running.returncode == 2
    assert "cannot be used" in err


def test_only_the_command(tmp_path):
    running = serve("org/model", "--print", "--name", "my model", "--", "--max-model-len", "9000")
    out, _ = running.communicate(timeout=120)
    assert shlex.split(out) == [
        "VLLM_NO_USAGE_STATS=1", "DO_NOT_TRACK=1", "vllm", "serve", "org/model",
        "--served-model-name", "my model", "--host", "127.0.0.1", "--port", "8000",
        "--enable-prefix-caching", "--enable-prompt-tokens-details", "--max-model-len", "9000",
    ]  # fmt: skip


def test_the_length_follows_the_window_and_the_model(tmp_path):
    assert required_length("org/model") == 12_288
    PromptConfig(window=10, cut=400, budget=512).save(tmp_path)
    assert required_length(str(tmp_path)) == 3_072
    (tmp_path / CONFIG_FILE).unlink()
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 4096}')
    assert required_length(str(tmp_path)) == 4_096
    (tmp_path / "config.json").write_text("{")
    assert required_length(str(tmp_path)) == 12_288


def test_no_vllm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(SetupError, match=re.escape(install_line("serve")) + r".*--vllm"):
        vllm_command()
    with pytest.raises(SetupError, match="there is no program nowhere/vllm"):
        vllm_command("nowhere/vllm")
    (tmp_path / "vllm").touch(mode=0o755)
    assert vllm_command() == str(tmp_path / "vllm")


def test_a_server_has_an_address():
    assert Server("m", "m", port=9).url == "http://127.0.0.1:9/v1"
    assert Server("m", "m", "0.0.0.0", 9).url == "http://127.0.0.1:9/v1"


def test_a_trained_model_is_served_with_room_for_its_windows(program, tmp_path, monkeypatch):
    (tmp_path / "nano").mkdir()
    PromptConfig(window=10, cut=400, budget=512).save(tmp_path / "nano")
    monkeypatch.chdir(tmp_path)
    running = serve("./nano", "--port", free_port(), "--vllm", program)
    said = [running.stdout.readline() for _ in range(4)]
    argv, *_ = json.loads((tmp_path / "played.json").read_text())
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=120)
    assert argv[1] == str(tmp_path / "nano"), "a name that means the same in every folder"
    assert argv[argv.index("--max-model-len") + 1] == "3072"
    assert said[-1] == "rearank-agent rerank QUERY FILE --policy vllm:nano\n"
    assert err.splitlines()[0] == (
        f"note: nano was trained with {describe(PromptConfig(window=10, cut=400, budget=512).options())}, and "
        "is asked so; on another machine with --template rearank.json, a copy of "
        f"{tmp_path / 'nano' / CONFIG_FILE}"
    )


@pytest.mark.parametrize(
    ("written", "said"), [("{", "cannot be used: "), ('{"format": 2}', "another version")]
)
def test_a_model_with_a_damaged_configuration_is_not_served(program, tmp_path, written, said):
    (tmp_path / CONFIG_FILE).write_text(written)
    running = serve(tmp_path, "--port", free_port(), "--vllm", program)
    out, err = running.communicate(timeout=120)
    assert (running.returncode, out) == (1, "")
    assert err.startswith(f"rearank-agent: {tmp_path / CONFIG_FILE} ")
    assert said in err
    assert not (tmp_path / "played.json").exists(), "vLLM was not started"


def test_the_published_model_gets_a_hint_about_its_template(program):
    running = serve("le723z/Rearank-7B", "--port", free_port(), "--vllm", program)
    said = [running.stdout.readline() for _ in range(4)]
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=120)
    assert "note: if this is the published REARANK model" in err
    assert "give --template rearank-7b" in err
    assert said[3].endswith("--policy vllm:Rearank-7B --template rearank-7b\n")
