"""The first change that CONTRIBUTING shows works as written."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL
)


def test_a_policy_is_added_as_shown(tmp_path):
    policy, line, test = BLOCKS
    shutil.copytree(ROOT / "rearank_agent", tmp_path / "rearank_agent")
    policies = tmp_path / "rearank_agent" / "policies"
    (policies / "coverage.py").write_text(policy)
    registry = (policies / "registry.py").read_text()
    before = "POLICIES = {\n"
    assert before in registry
    if line not in registry:  # whoever makes the first change has it already
        (policies / "registry.py").write_text(registry.replace(before, before + line))
    (tmp_path / "test_coverage.py").write_text(test)
    own = {"PYTHONPATH": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_coverage.py"],
        cwd=tmp_path,
        env=own,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    for command in (["check"], ["format", "--check"]):
        looked = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *config, str(policies)],
            capture_output=True,
            text=True,
        )
        assert looked.returncode == 0, looked.stdout
