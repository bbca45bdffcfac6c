"""Runs on a CUDA GPU: the selection tests, and tables of 1,000 of 10,000,000 rows; ends within ten minutes.

make gpu    (or: python3 benchmarks/gpu.py; it needs nothing but a Python with a CUDA build of torch somewhere)

Without a GPU, or without such a torch, it says so and exits with status 1. It never installs torch: it takes the first
interpreter whose torch sees a GPU, and puts the few small packages that are missing beside it, in .venv-gpu.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 590
"""Seconds that all of it may take."""

TESTS = ("objectives", "optimizers", "strategies", "test_select.py", "test_candidates.py", "test_promises.py")
SEES_GPU = "import torch; assert torch.cuda.is_available(); print(torch.__version__, torch.cuda.get_device_name())"
SMALL = {
    "numpy": "numpy",
    "jaxtyping": "jaxtyping",
    "beartype": "beartype",
    "tqdm": "tqdm",
    "filelock": "filelock",
    "typer": "typer",
    "safetensors": "safetensors",
    "pytest": "pytest",
    "sklearn": "scikit-learn",
}
"""Modules that tests and tables need, with their packages."""


def main() -> int:
    deadline = time.monotonic() + LIMIT
    python = _with_gpu()
    if python is None:
        print("There is no CUDA GPU that a torch of this machine can use: nothing was run.")
        return 1
    python = _with_packages(python)
    if python is None:
        return 1
    tests = [f"tests/{name}" for name in TESTS if (ROOT / "tests" / name).exists()]
    failed = _run(
        [python, "-m", "pytest", "-q", "-x", "-o", "addopts=", "-m", "not product", "--device", "cuda", *tests],
        min(deadline, deadline - 240),
    )
    folder = ROOT / "runs" / "gpu"
    table = [python, "-m", "benchmarks.scale", "--device", "cuda", "--only", "ten-million", "--repeats", "2"]
    failed |= _run([*table, "--folder", str(folder), "--out", str(folder / "scale.json")], deadline)
    return failed


def _with_gpu() -> str | None:
    """The first interpreter whose torch sees a GPU."""
    known = [ROOT / ".venv-gpu" / "bin" / "python", ROOT / ".venv" / "bin" / "python", Path(sys.executable)]
    found = [shutil.which(name) for name in ("python3.11", "python3.12", "python3.13", "python3", "python")]
    for python in dict.fromkeys([*map(str, known), *(path for path in found if path)]):
        if not Path(python).exists():
            continue
        seen = subprocess.run([python, "-c", SEES_GPU], capture_output=True, text=True)
        if seen.returncode == 0:
            print(f"{python}: torch {seen.stdout.strip()}")
            return python
    return None


def _with_packages(python: str) -> str | None:
    """An interpreter with torch as it is, tonsure, and the small packages; None where they cannot be had."""
    if not _missing(python) and _imports(python, "tonsure"):
        return python
    venv = ROOT / ".venv-gpu"
    if not (venv / "bin" / "python").exists():
        subprocess.run([python, "-m", "venv", "--system-site-packages", str(venv)], check=True)
    mine = str(venv / "bin" / "python")
    pip = [mine, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], check=False)
    if not _imports(mine, "tonsure"):  # where nothing can be built, the source will do
        place = subprocess.run(
            [mine, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True
        ).stdout.strip()
        Path(place, "tonsure-source.pth").write_text(str(ROOT / "src") + "\n", encoding="utf-8")
    if missing := _missing(mine):
        constraints = ["-c", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, *constraints, *(SMALL[name] for name in missing)], check=False)
    if missing := _missing(mine):
        print(f"These packages are missing and could not be installed: {', '.join(SMALL[name] for name in missing)}.")
        return None
    return mine


def _missing(python: str) -> list[str]:
    return [name for name in SMALL if not _imports(python, name)]


def _imports(python: str, module: str) -> bool:
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True, cwd=ROOT).returncode == 0


def _run(command: list[str], deadline: float) -> int:
    print(f"\n$ {' '.join(command)}", flush=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    try:
        return subprocess.run(command, cwd=ROOT, env=environment, timeout=deadline - time.monotonic()).returncode
    except subprocess.TimeoutExpired:
        print("It was stopped, for it took too long.")
        return 1


if __name__ == "__main__":
    sys.exit(main())
