"""Two processes that are one gloo group, from a server that has imported torch already: they start in no time."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
import torch.distributed as dist
from forked import context

import segdistill


def in_two(work: Callable[..., Any], *arguments: Any, joined: bool = True) -> list[Any]:
    """What `work(rank, *arguments)` returns in each of the processes; `work` is a function of a module.

    joined: they are a group already; else only their variables say so, and the first call of the library makes it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ProcessPoolExecutor(2, mp_context=context()) as both:
        running = [both.submit(_one, rank, port, work, arguments, joined) for rank in (0, 1)]
        return [torch.load(io.BytesIO(each.result()), weights_only=False) for each in running]


def _one(rank: int, port: int, work: Callable[..., Any], arguments: tuple[Any, ...], joined: bool) -> bytes:
    torch.set_num_threads(1)
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in variables.items()}})
    if joined:
        dist.init_process_group("gloo")
    written = io.BytesIO()
    try:
        torch.save(work(rank, *arguments), written)
        dist.barrier()
    finally:
        dist.destroy_process_group()  # or the other would wait for this one
    return written.getvalue()


def trained_by(rank: int, words: list[str]) -> None:
    """`segdistill train WORDS` as one of the processes."""
    segdistill.train(*words, quiet=True)
