"""What an install weighs: site-packages of the core in a fresh environment.

python -m benchmarks.size
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOT_OURS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    return sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file())


def main() -> None:
    """Install into a fresh environment and print the heaviest packages and the sum."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/pip", "install", "-q", "--disable-pip-version-check", str(ROOT)]
        subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
        site = next(Path(folder).glob("lib/python*/site-packages"))
        sizes = {p.name: size(p) for p in site.iterdir() if not p.name.startswith(NOT_OURS)}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True)[:12]:
        print(f"{sizes[name] / 1e6:8.1f} MB  {name}")
    print(f"{sum(sizes.values()) / 1e6:8.1f} MB  in all, without pip and setuptools")


if __name__ == "__main__":
    main()
