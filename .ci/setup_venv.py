"""Makes .venv: `setup_venv.py tune` installs what tuning needs, `setup_venv.py test` the developers' tools as well.

Versions come from constraints.txt. A machine whose python3 already has a torch that sees its GPU keeps it: that torch
matches the machine's driver, it is a download of gigabytes, and such a machine may have no network. Then .venv reads
the packages of that python3 as they are, and installs only those that it lacks. PIP_NO_INDEX and PIP_FIND_LINKS work.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
OLDEST_PYTHON = (3, 11)
SETUPTOOLS = "setuptools>=77"
# The other Triton that we support, beside the one in constraints.txt. The tests that compile kernels run under both.
OTHER_TRITON = "triton==3.6.0"


def main(purpose: str) -> None:
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        found = f"{sys.executable} is Python {sys.version.split()[0]}"
        sys.exit(f"Error: {found}: name {oldest} or a later one, as in `make PYTHON=python{oldest} {purpose}`")
    run([sys.executable, "-m", "venv", VENV], "Debian and Ubuntu keep venv in the package python3-venv")
    host = host_packages()
    constraints = ROOT / "constraints.txt"
    if host is not None:
        print(f"set-up: taking torch and what else is there from {host}", flush=True)
        # Until Python 3.12 a new venv holds a setuptools too old for us, which would hide the host's.
        pip("uninstall", "--yes", "setuptools")
        (site_packages() / "host.pth").write_text(f"{host}\n")
        constraints = without_installed(constraints, host)
    print("set-up: installing into .venv (once, a few minutes where torch has to be downloaded)", flush=True)
    # The build backend goes in first, so that no isolated build has to fetch another.
    pip("install", "-c", constraints, SETUPTOOLS)
    pip("install", "-c", constraints, "--no-build-isolation", "-e", f"{ROOT}[dev]" if purpose == "test" else ROOT)
    if purpose == "test" and host is None and sys.platform == "linux":
        pip("install", "--no-deps", "--upgrade", "--target", VENV / "other-triton", OTHER_TRITON)
    for stamp in ("tune", purpose):  # who can test can tune
        (VENV / f"{stamp}.stamp").touch()


def host_packages() -> Path | None:
    """The folder that holds this python3's own torch, where that torch sees a GPU."""
    try:
        import torch
    except ImportError:
        return None
    return Path(torch.__file__).parents[1] if torch.cuda.is_available() else None


def without_installed(constraints: Path, host: Path) -> Path:
    """The constraints less those on packages that `host` holds, as a file in .venv."""
    installed = {canonical(found.metadata["Name"]) for found in importlib.metadata.distributions(path=[str(host)])}
    kept = [line for line in constraints.read_text().splitlines() if canonical(line.split("==")[0]) not in installed]
    path = VENV / "constraints.txt"
    path.write_text("\n".join(kept) + "\n")
    return path


def canonical(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def site_packages() -> Path:
    return next(VENV.glob("lib*/python3*/site-packages"))


def pip(*arguments: str | Path) -> None:
    command = [VENV / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    run(command, "with no network, set PIP_NO_INDEX=1 and PIP_FIND_LINKS to a folder of wheels")


def run(command: list[str | Path], hint: str) -> None:
    """Runs `command`; where it fails it has said why, and the process ends with what may help."""
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"Error: `{' '.join(map(str, command))}` failed, as it says above; {hint}")


if __name__ == "__main__":
    main(sys.argv[1])
