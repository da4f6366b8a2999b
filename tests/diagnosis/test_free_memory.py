"""What a container or a job allows counts, not only what the machine has."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdistill.diagnosis.free_memory import free_memory

GB = 10**9


def system(root: Path, files: dict[str, object]) -> Path:
    for name, content in {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 20000000 kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


def group(folder: str, limit: object, used: int, *, version: int = 2) -> dict[str, object]:
    names = ("max", "current") if version == 2 else ("limit_in_bytes", "usage_in_bytes")
    return {f"{folder}/memory.{name}": value for name, value in zip(names, (limit, used), strict=True)}


def test_without_a_limit_it_is_the_machine_that_counts(tmp_path: Path) -> None:
    made = system(tmp_path, {"proc/self/cgroup": "0::/job", **group("sys/fs/cgroup/job", "max", 3 * GB)})
    assert free_memory(made) == 20_000_000 * 1024
    assert free_memory(tmp_path / "nowhere") is None


@pytest.mark.parametrize("where", ["", "/docker/4f", "/docker"])
def test_a_container_of_version_2_is_seen_from_inside_and_below(tmp_path: Path, where: str) -> None:
    files = {"proc/self/cgroup": "0::/docker/4f", **group(f"sys/fs/cgroup{where}", 4 * GB, 3 * GB)}
    files[f"sys/fs/cgroup{where}/memory.stat"] = f"anon 12\ninactive_file {GB // 2}"
    assert free_memory(system(tmp_path, files)) == 1.5 * GB


def test_a_job_of_version_1(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "5:cpu:/x\n4:memory:/slurm/job\n0::/"}
    files |= group("sys/fs/cgroup/memory/slurm/job", 2 * GB, GB, version=1)
    assert free_memory(system(tmp_path, files)) == GB
