"""What the tests share: tiny runs on generated scenes, and the command line as a real process."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from forked import Forked
from layouts import all_layouts

TINY = (
    "streets",
    "data.size=[32,48]",
    "data.count=12",
    "augment.crop=[32,48]",
    "student={backbone: test_efficientnet, head: pspnet, channels: 8, output_stride: 16, auxiliary_channels: 8}",
    "teacher.check=false",  # teachers of a few steps guess
    "teacher.network={backbone: test_resnet, head: deeplabv3plus, channels: 8, output_stride: 16}",
    "steps=6",
    "validate_every=3",
    "checkpoint_every=3",
    "batch_size=4",
    "workers=0",
    "log_every=1",
    "precision=fp32",  # what tests compare bit for bit must not depend on what a trial finds
)
"""Recipe parts of a run that takes a second."""

pytest_plugins = ["needs"]

# What torch reads when it is imported, here and in every process that tests start: a network that a test compiles is
# too small for precompiled headers, vector units and a pool of compilers, which cost seconds of their own.
for _name, _value in {
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0",
    "TORCHINDUCTOR_VEC_ISA_OK": "0",
}.items():
    os.environ.setdefault(_name, _value)


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    return TINY


@pytest.fixture(scope="session", autouse=True)
def _few_rounds() -> Iterator[None]:
    """The networks of a run are timed in three rounds and not in fifteen, which take a tiny run as long as training."""
    from segdistill.evaluation.cost.cost import milliseconds  # imports torch, for which the environment is set below

    with mock.patch.dict(milliseconds.__kwdefaults__, rounds=3, warmup=1):
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Flushing makes files outlive a power cut, which no test can see; a tiny run spends a tenth of its time on it."""
    with mock.patch("os.fsync"):
        yield


@pytest.fixture
def camvid_root(shared: Path) -> Path:
    return shared / "data" / "CamVid"


@pytest.fixture
def samples(shared: Path) -> Path:
    """A few files of each published data set, in its own layout."""
    return shared / "data" / "samples"


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Roots of the published data sets in small, by their names."""
    return all_layouts(tmp_path_factory.mktemp("data"))


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture
def segdistill() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line to its end, in a process of its own; the options are those of `Forked`."""

    def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        process = Forked(*words, **options)
        output, errors = process.communicate()
        return subprocess.CompletedProcess(words, process.wait(), output, errors)

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., Forked]]:
    """Start the command line, in a process group of its own, and leave it running until the test is over."""
    started: list[Forked] = []

    def run(*words: object, **options: Any) -> Forked:
        started.append(Forked(*words, joined=True, **options))
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.kill_group()


def pytest_collection_finish() -> None:
    """What the tests import stays: the garbage collector need not look through its millions of objects each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A class that inherits the checks of `checks.py` runs them on each of its `names`."""
    if "name" in metafunc.fixturenames and hasattr(metafunc.cls, "names"):
        metafunc.parametrize("name", metafunc.cls.names, scope="class")  # name by name, so that they can share it
