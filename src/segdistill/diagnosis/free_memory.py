"""How much memory a process may still take: what the machine has, and what its container, job or shell allows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def free_memory(system: Path = Path("/")) -> int | None:
    """The least of the machine's available memory and what control groups and `ulimit -v` leave.

    Args:
        system: the root of the file system, whose proc and sys are read.

    Returns:
        Bytes; None if nothing is known.
    """
    return min((*_available(system), *_of_groups(system), *_of_shell(system)), default=None)


def _available(system: Path) -> Iterator[int]:
    for line in _lines(system / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield 1024 * int(line.split()[1])


def _of_groups(system: Path) -> Iterator[int]:
    """What each control group of this process leaves, of either version, its own and those above it.

    A line of /proc/self/cgroup is "0::/path" in version 2, and "4:memory:/path" in version 1. Inside a container the
    path may be that of the host, while the container's own group is at the top.
    """
    for line in _lines(system / "proc/self/cgroup"):
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        top = system / "sys/fs/cgroup" / ("memory" if controllers else "")
        names = ("limit_in_bytes", "usage_in_bytes") if controllers else ("max", "current")
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            limit, used = (_number(folder / f"memory.{name}") for name in names)
            if limit is not None and used is not None:
                yield max(0, limit - used + _given_back(folder))


def _given_back(group: Path) -> int:
    """Bytes of files that were read and would be given back."""
    counts = dict(line.split(maxsplit=1) for line in _lines(group / "memory.stat") if " " in line)
    return int(counts.get("total_inactive_file", counts.get("inactive_file", 0)))


def _of_shell(system: Path) -> Iterator[int]:
    """What `ulimit -v` leaves of addresses."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0] if resource is not None else -1
    used = next(iter(_lines(system / "proc/self/statm")), None)
    if resource is not None and limit != resource.RLIM_INFINITY and used is not None:
        yield max(0, limit - resource.getpagesize() * int(used.split()[0]))


def _number(file: Path) -> int | None:
    """None where there is no limit: "max"."""
    text = next(iter(_lines(file)), "")
    return int(text) if text.isdigit() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeError):
        return []
