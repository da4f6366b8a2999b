"""Several processes on this machine, started by torchrun's launcher; each runs the command that was given."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import torch
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from segdistill.cli.terminal import ProcessFailedError
from segdistill.core.errors import RecipeError
from segdistill.recipe.recipe import load_recipe
from segdistill.runtime.interruption import Interrupted
from segdistill.runtime.slurm import as_ranks
from segdistill.training.shares import require_possible

_SECONDS_TO_SAVE = "600"
"""How long processes that were asked to stop may take to save before torchrun kills them."""


def launch(nproc: int | None, parts: Sequence[str] = ()) -> bool:
    """Run this command line as `nproc` processes and wait for them. SIGINT and SIGTERM are handed to all of them.

    Args:
        nproc: How many processes share the work; None and 1 start none.
        parts: The recipe that is trained, in words; it is refused here where so many processes can't train it.

    Returns:
        Whether they were started, and have thus done all the work. A process that was started so starts none.

    Raises:
        RecipeError: The number is impossible, or does not go with the recipe.
        Interrupted: A signal has come; the processes have saved their work and left.
        ProcessFailedError: A process has failed.
    """
    if nproc is None or not _starts_processes(nproc):
        return False
    if parts:
        require_possible(load_recipe(*parts), nproc)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // nproc)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", _SECONDS_TO_SAVE)
    logging.disable(logging.ERROR)  # the processes print their own errors
    # What `torchrun --standalone` does; its parser would read our words.
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=nproc, max_restarts=0,
        run_id=str(os.getpid()), rdzv_backend="c10d", rdzv_endpoint="127.0.0.1:0", local_addr="127.0.0.1",
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)("-m", "segdistill", *sys.argv[1:])
    except SignalException as stop:
        raise Interrupted("All processes have been stopped.", 128 + stop.sigval) from None
    except ChildFailedError as error:
        first = min(error.failures.values(), key=lambda failure: failure.timestamp)
        code = first.exitcode if first.exitcode > 0 else 128 - first.exitcode
        raise ProcessFailedError(
            f"Process {first.local_rank} of {nproc} ended first, with status {first.exitcode}.", code
        ) from None
    return True


def _starts_processes(nproc: int) -> bool:
    """Whether `nproc` processes have to be started; an impossible number is refused."""
    environment = {**as_ranks(os.environ), **os.environ}
    local_processes = int(environment.get("LOCAL_WORLD_SIZE", environment.get("WORLD_SIZE", "1")))
    if "RANK" in environment:  # a process that was started already, by nproc= itself or by another launcher
        if local_processes != nproc:
            raise RecipeError(
                f"nproc is {nproc}, but a launcher has already started {local_processes} processes here. Leave nproc "
                "out."
            )
        return False
    if nproc < 1:
        raise RecipeError(f"nproc is {nproc}; expected how many processes share the work, 1 or more.")
    devices = torch.cuda.device_count() if torch.cuda.is_available() else nproc
    if nproc > devices:
        raise RecipeError(f"nproc is {nproc}, but there are {devices} CUDA devices here. Set nproc={devices}.")
    return nproc > 1
