"""The command line as a process of its own that need not import anything: forked from a server that has, once.

A start costs milliseconds instead of seconds. It is a process like any other: with its own id and process group, to be
killed, limited and waited for.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

_FORK = multiprocessing.get_context("forkserver")
_VERBS = ("compare", "convert", "distill", "doctor", "evaluate", "predict", "prepare", "profile", "publish", "replay",
          "report", "reproduce", "show", "submit", "train")  # fmt: skip
_PRELOADED = ["segdistill.cli.main", *(f"segdistill.commands.{verb}" for verb in _VERBS), "accelerate.state",
              "torch._dynamo", "torch.distributed.fsdp", "torch.utils.tensorboard", "pytest", "frozen"]  # fmt: skip


def context() -> multiprocessing.context.ForkServerContext:
    """Of processes from the server, which runs from now on: with one thread, and with the same imports for all."""
    with mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}):  # both are read by imports
        _FORK.set_forkserver_preload(_PRELOADED)
        forkserver.ensure_running()
    return _FORK


class Forked:
    """`segdistill WORDS...`, started. What it prints to both streams goes into files, or into one.

    environment: added to that of this process. folder: where it works. file_bytes, more_bytes: limits on the size of a
    file it writes, and on the memory it takes beyond what a fresh process has.
    """

    def __init__(
        self,
        *words: object,
        joined: bool = False,
        environment: Mapping[str, str] | None = None,
        file_bytes: int | None = None,
        more_bytes: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name) / name for name in ("out", "out" if joined else "err")]
        given = {**os.environ, **(environment or {})}
        self._process = context().Process(
            target=_main,
            args=([str(word) for word in words], self._files, given, file_bytes, more_bytes, folder or Path.cwd()),
        )
        self._process.start()
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill_group(self, number: int = signal.SIGKILL) -> None:
        """The process and all that it has started."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:  # it has no group yet
            self.send_signal(number)

    def wait(self, timeout: float = 300) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            self.kill_group()
            raise subprocess.TimeoutExpired("segdistill", timeout, self.output)
        return self.returncode

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        self.wait(timeout)
        return self.output, self.errors

    @property
    def output(self) -> str:
        return self._files[0].read_text(errors="replace") if self._files[0].exists() else ""

    @property
    def errors(self) -> str:
        return self._files[1].read_text(errors="replace") if self._files[1].exists() else ""


def ranks(*words: object, number: int = 2) -> list[Forked]:
    """The processes of one distributed run, as a launcher would start them; no launcher looks after them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(number)}
    each = [{**address, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(number)]
    return [Forked(*words, joined=True, environment=variables) for variables in each]


def run_tests(*words: str, path: Path) -> tuple[int, str]:
    """`pytest WORDS...` of the package that lies in `path`, a copy: its status and what it prints."""
    with tempfile.NamedTemporaryFile() as output:
        process = context().Process(target=_tests, args=(words, path, output.name))
        process.start()
        process.join(300)
        process.kill()
        process.join()
        assert process.exitcode is not None
        return process.exitcode, Path(output.name).read_text(errors="replace")


def _tests(words: tuple[str, ...], path: Path, output: str) -> None:
    handle = os.open(output, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(handle, stream)
    for name in [name for name in sys.modules if name.partition(".")[0] == "segdistill"]:
        del sys.modules[name]
    sys.path.insert(0, str(path))
    import pytest
    import torch

    torch.set_num_threads(1)
    sys.exit(pytest.main([*words]))


def _main(
    words: list[str],
    files: list[Path],
    environment: dict[str, str],
    file_bytes: int | None,
    more_bytes: int | None,
    folder: Path,
) -> None:
    os.setsid()
    os.chdir(folder)
    multiprocessing.set_start_method("fork", force=True)  # as in a process that was started anew: loaders fork workers
    for stream, path in zip((1, 2), files, strict=True):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, stream)
        os.close(handle)
    os.environ.clear()
    os.environ.update(environment | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"})
    import torch

    from segdistill.cli.main import main

    torch.set_num_threads(1)
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes,) * 2)
    if more_bytes is not None:
        (torch.ones(2, 2, requires_grad=True) @ torch.ones(2, 2)).sum().backward()  # the threads are there
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more_bytes,) * 2)
    sys.argv = ["segdistill", *words]
    main()
