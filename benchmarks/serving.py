"""A real vLLM on the CPU with a tiny random model, started by `rearank-agent serve`."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

__all__ = ["Serving"]

TINY_MODEL = Path(__file__).parent.parent / "tests" / "serving" / "tiny_model.py"
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING",
    # One thread: the model is tiny.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1",
}  # fmt: skip


class Serving:
    """The server; can be killed and started again.

    Args:
        vllm: the program.
        folder: for the model, which is made there, and the log.
        one_core: whether it has the first core alone: its processes spin while they wait for each
            other (vLLM 0.32), so that on two cores nothing else gets time.
    """

    def __init__(self, vllm: str, folder: Path, *, one_core: bool = False) -> None:
        self.vllm = vllm
        self.prefix = ("taskset", "-c", "0") if one_core else ()
        self.model = folder / "tiny"
        self.log = folder / "vllm.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        python = str(Path(vllm).with_name("python"))
        subprocess.run([python, str(TINY_MODEL), str(self.model)], check=True, capture_output=True)

    def start(self) -> str:
        """Wait until it answers; what it printed."""
        program = [sys.executable, "-m", "rearank_agent"]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [
                    *self.prefix, *program, "serve", str(self.model),
                    "--name", "tiny", "--port", str(self.port),
                    "--vllm", self.vllm, "--", "--dtype", "float32", "--enforce-eager",
                ],
                stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, **SETTINGS, "VLLM_CACHE_ROOT": str(self.model.parent / "cache")},
            )  # fmt: skip
        assert self.process.stdout
        first = self.process.stdout.readline()
        assert first.startswith("ready after "), self.log.read_text()[-5000:]
        return first + "".join(self.process.stdout.readline() for _ in range(3))

    def kill(self) -> int:
        """Kill vLLM, as a machine short of memory would; the exit code of `serve`."""
        done = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=True
        )
        os.killpg(int(done.stdout.split()[0]), signal.SIGKILL)
        return self._ended()

    def stop(self) -> int:
        """Stop it in order; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self) -> int:
        code = self.process.wait(60)
        assert self.process.stdout
        self.process.stdout.close()
        return code
