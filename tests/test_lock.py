"""The versions that the Dockerfile installs are what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
INSTALLED = re.findall(r"--extra (\w+)", MAKEFILE)
"""The extras that `make lock` names."""

WANTED = [
    Requirement(line)
    for line in (
        *PROJECT["dependencies"],
        *(more for extra in INSTALLED for more in PROJECT["optional-dependencies"][extra]),
    )
]


def _locked(name: str) -> dict[str, tuple[Version, int]]:
    """Package -> its version and the number of its hashes."""
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = re.findall(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    assert len(entries) == len(re.findall(r"^[\w.-]+==", text, re.MULTILINE)), f"{name}: an entry without hashes"
    return {
        canonicalize_name(package): (Version(version), hashes.count("--hash")) for package, version, hashes in entries
    }


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_the_lock_has_what_the_project_asks_for(wanted: Requirement) -> None:
    locked = _locked("requirements.lock")
    name = canonicalize_name(wanted.name)
    assert name in locked, f"requirements.lock lacks {wanted.name}: make lock"
    assert wanted.specifier.contains(locked[name][0]), (
        f"requirements.lock has {locked[name][0]}, not {wanted}: make lock"
    )


def test_the_cpu_image_has_the_same_without_torch_and_cuda() -> None:
    everything, cpu = _locked("requirements.lock"), _locked("requirements-cpu.lock")
    assert cpu.items() <= everything.items()
    left_out = everything.keys() - cpu.keys()
    assert {"torch", "torchvision"} <= left_out
    assert all(re.fullmatch(r"torch|torchvision|triton|(nvidia|cuda)-.*", name) for name in left_out), left_out


def test_the_image_has_the_python_that_the_lock_is_for() -> None:
    (locked,) = re.findall(r"--python-version (\S+)", MAKEFILE)
    assert re.findall(r"^FROM python:(\d+\.\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE) == [locked]


def test_the_build_needs_nothing_that_is_not_locked() -> None:
    """The Dockerfile installs segdistill without build isolation."""
    (backend,) = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    assert Requirement(backend).specifier.contains(_locked("requirements-cpu.lock")["setuptools"][0])
