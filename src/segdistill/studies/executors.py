"""How the runs of a study get done: here one after the other, several at a time, by Ray, or as a SLURM array."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Literal, get_args

import torch

from segdistill.core.errors import RecipeError, SegdistillError, nearest
from segdistill.core.storage import write_text
from segdistill.runtime.interruption import Interrupted
from segdistill.studies.jobs import do
from segdistill.studies.plan import Job, Plan
from segdistill.studies.result import TEACHER
from segdistill.training.handed_in import handed_in

Executor = Literal["local", "ray", "slurm"]
Done = tuple[Job, str | None]
"""A run that ended, and why it could not be finished, or nothing."""

_PAUSE = 0.2  # seconds between looks at which process has ended


def check_executor(name: str, processes: int | None) -> None:
    """Refuse what no study can be run by.

    Args:
        name: Of the executor.
        processes: How many runs go on at a time; None leaves it to the executor.

    Raises:
        RecipeError: There is no such executor, or no such number.
    """
    if name not in get_args(Executor):
        raise RecipeError(f"No executor is called '{name}'.{nearest(name, get_args(Executor))}")
    if processes is not None and processes < 1:
        raise RecipeError(f"processes is {processes}; expected how many runs go on at a time, 1 or more.")


def run_all(
    plan: Plan, folder: Path, jobs: Sequence[Job], executor: str, processes: int | None, *, quiet: bool
) -> Iterator[Done]:
    """Do the jobs and yield each as it ends. A job that fails does not stop the others; Ctrl-C stops all.

    Args:
        plan: Of the study.
        folder: Of the study.
        jobs: What is to be done.
        executor: "local" or "ray".
        processes: How many go on at a time.
        quiet: Show no progress.

    Yields:
        Each job, and why it failed or None.
    """
    if executor == "ray":
        yield from _by_ray(folder, jobs, processes)
        return
    devices = torch.cuda.device_count()
    at_once = min(processes or (1 if handed_in(plan.recipe) else max(1, devices)), len(jobs))
    if at_once > 1:
        yield from _side_by_side(folder, jobs, at_once, devices)
        return
    for job in jobs:
        yield job, attempt(lambda job=job: do(plan, folder, job, quiet=quiet), folder, job)  # type: ignore[misc]


def attempt(work: Callable[[], object], folder: Path, job: Job) -> str | None:
    """Do some work of a job, whatever becomes of it.

    Args:
        work: What is called.
        folder: Of the study; what no user can put right leaves its traceback in its logs.
        job: Whose work it is.

    Returns:
        Why it failed, or None.

    Raises:
        Interrupted: It was stopped, by Ctrl-C for example.
    """
    try:
        work()
    except Interrupted as stop:
        raise Interrupted(
            f"{job} is saved. The same command, or segdistill compare {folder}, goes on.", stop.code
        ) from stop
    except SegdistillError as error:
        return str(error)
    except Exception as error:  # hours of other runs must not be lost to a defect in one
        log = _log(folder, job)
        write_text(log, traceback.format_exc())
        return f"{type(error).__name__}: {error} (see {log})"
    return None


def _side_by_side(folder: Path, jobs: Sequence[Job], at_once: int, devices: int) -> Iterator[Done]:
    """Each job in a process of its own, with a device of its own where there are several."""
    threads = str(max(1, (os.cpu_count() or 1) // at_once))
    waiting, running = list(jobs), dict[Job, subprocess.Popen[bytes]]()
    slots = list(range(at_once))
    taken: dict[Job, int] = {}
    with _stopping_at_sigterm():
        try:
            while waiting or running:
                while waiting and slots:
                    job, slot = waiting.pop(0), slots.pop(0)
                    environment = {"OMP_NUM_THREADS": threads, **os.environ}
                    if devices:
                        environment["CUDA_VISIBLE_DEVICES"] = _visible(slot % devices)
                    taken[job], running[job] = slot, _start(folder, job, environment)
                ended = next((job for job, process in running.items() if process.poll() is not None), None)
                if ended is None:
                    time.sleep(_PAUSE)
                    continue
                slots.append(taken.pop(ended))
                yield ended, _failure_of(folder, ended, running.pop(ended).returncode)
        finally:  # all have ended, but for Ctrl-C and the like: then they save and go, too
            for process in running.values():
                process.send_signal(signal.SIGTERM)
            for process in running.values():
                process.wait()


@contextlib.contextmanager
def _stopping_at_sigterm() -> Iterator[None]:
    """SIGTERM raises, as Ctrl-C does; it would end this process at once and leave its runs alone."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted("Stopped by SIGTERM; the runs are saved, and the same command goes on.", 128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _visible(slot: int) -> str:
    """The device of that number among those this process may see."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",")[slot] if given else str(slot)


def _start(folder: Path, job: Job, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """The job in a process of its own that writes what it says to its log."""
    log = _log(folder, job)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as written:
        return subprocess.Popen(
            [sys.executable, *_arguments(folder, job)], stdout=written, stderr=written, env=environment
        )


def _failure_of(folder: Path, job: Job, status: int) -> str | None:
    """Why a job's process failed, from its log; nothing if it did not."""
    if status == 0:
        return None
    log = _log(folder, job)
    errors = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("Error: ")]
    return f"{errors[-1].removeprefix('Error: ') if errors else f'its process ended with status {status}'} (see {log})"


def _by_ray(folder: Path, jobs: Sequence[Job], processes: int | None) -> Iterator[Done]:
    """Each job as a task of Ray, on the cluster that RAY_ADDRESS names or on this machine.

    The study's folder and the data must be at the same paths on all of its machines.
    """
    try:
        import ray
    except ImportError as error:
        raise RecipeError("executor=ray needs Ray: pip install 'segdistill[ray]'.") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    cpus = 1 if processes is None else max(1, int(ray.cluster_resources().get("CPU", 1)) // processes)

    @ray.remote(num_gpus=gpus, num_cpus=cpus, max_retries=1)  # type: ignore[untyped-decorator]
    def task(arguments: list[str], log: Path) -> int:  # names nothing of this library: its import takes seconds
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": str(cpus)}
        with log.open("wb") as written:
            return subprocess.call([sys.executable, *arguments], stdout=written, stderr=written, env=environment)

    waiting: dict[Any, Job] = {task.remote(_arguments(folder, job), _log(folder, job)): job for job in jobs}
    while waiting:
        (ended,), _ = ray.wait(list(waiting), num_returns=1)
        job = waiting.pop(ended)
        try:
            yield job, _failure_of(folder, job, ray.get(ended))
        except ray.exceptions.RayError as error:
            yield job, f"Ray could not finish it: {error}"


def write_slurm(folder: Path, jobs: Sequence[Job], *, needs_teacher: bool) -> Path:
    """Write an array script, a run a task; it goes on where it stopped whenever it is submitted again.

    Args:
        folder: Of the study.
        jobs: The runs.
        needs_teacher: Whether the teacher has to be trained first.

    Returns:
        The script.
    """
    script = folder / "slurm.sh"
    names = " ".join(job.name for job in jobs)
    command = shlex.join([sys.executable, "-m", "segdistill", "compare", str(folder.absolute())])
    teacher = (
        f"""if [ -z "${{SLURM_ARRAY_TASK_ID:-}}" ]; then  # submitted without an array: the teacher
    exec srun {command} job={TEACHER}
fi
"""
        if needs_teacher
        else ""
    )
    submit = f"sbatch --array=0-{len(jobs) - 1} {script}"
    if needs_teacher:
        submit = f"teacher=$(sbatch --parsable {script})\n#   sbatch --dependency=afterok:$teacher {submit[7:]}"
    text = f"""#!/bin/bash
#SBATCH --job-name=segdistill
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
# Submit with
#   {submit}
# and when all are done make the table with
#   {command}
set -euo pipefail
{teacher}runs=({names})
exec srun {command} "job=${{runs[$SLURM_ARRAY_TASK_ID]}}"
"""
    write_text(script, text)
    return script


def _arguments(folder: Path, job: Job) -> list[str]:
    """What Python is called with for the job."""
    return ["-m", "segdistill", "compare", str(folder), f"job={job.name}"]


def _log(folder: Path, job: Job) -> Path:
    return folder / "logs" / f"{job.name}.log"
