"""What an install weighs: site-packages of the base and of the extras in fresh environments.

python -m benchmarks.size
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOT_OURS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
EXTRAS = ("", "[llm]", "[mcp]", "[eval]")
HEAVIEST = 8


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    return sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file())


def installed(extra: str) -> dict[str, int]:
    """The bytes of everything that an install brings, by name."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, f"{ROOT}{extra}"], check=True, stderr=subprocess.DEVNULL)
        site = next(Path(folder).glob("lib/python*/site-packages"))
        return {p.name: size(p) for p in site.iterdir() if not p.name.startswith(NOT_OURS)}


def main() -> None:
    """Print the sum and the number of packages of each install, and what is heaviest in it."""
    print(f"{'MB':>6} {'packages':>8}  installed, without pip and setuptools; the heaviest parts")
    for extra in EXTRAS:
        sizes = installed(extra)
        packages = sum(name.endswith(".dist-info") for name in sizes)
        heavy = sorted(sizes, key=sizes.__getitem__, reverse=True)[:HEAVIEST]
        told = ", ".join(f"{name} {sizes[name] / 1e6:.0f}" for name in heavy)
        total = sum(sizes.values()) / 1e6
        print(f"{total:6.0f} {packages:8}  rearank-agent{extra}: {told}")


if __name__ == "__main__":
    main()
