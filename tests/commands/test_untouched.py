"""A call leaves the caller's random numbers, warnings, logging, hooks and limits as they were."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import segdistill as sd
from segdistill.runtime.allocator import keeps_freed_memory


def state() -> dict[str, Any]:
    root = logging.getLogger()
    return {
        "random": random.getstate(), "numpy": repr(np.random.get_state()), "torch": torch.get_rng_state().tolist(),
        "warnings": [*warnings.filters], "excepthook": sys.excepthook, "threads": threading.excepthook,
        "logging": (root.level, root.manager.disable, [*root.handlers]), "pixels": Image.MAX_IMAGE_PIXELS,
        "torch threads": torch.get_num_threads(), "cudnn": torch.backends.cudnn.benchmark,
        "malloc": keeps_freed_memory(),
    }  # fmt: skip


def test_a_distillation_leaves_nothing_global_changed(tiny: tuple[str, ...], tmp_path: Path) -> None:
    distill = sd.distill  # the first use of the name imports other libraries, some of which add filters of warnings
    before = state()
    distill(*tiny, "kd", out=tmp_path / "run", quiet=True)
    assert state() == before


CODE = """
import warnings
from PIL import Image
before = Image.MAX_IMAGE_PIXELS
import segdistill.data.reading as reading
assert Image.MAX_IMAGE_PIXELS == before
assert not any(each[2] is Image.DecompressionBombWarning for each in warnings.filters)
assert reading.largest_image() == 5000
"""


def test_importing_what_reads_images_changes_no_limit_and_no_filter() -> None:
    environment = {"SEGDISTILL_MAX_PIXELS": "5000", "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", CODE], check=True, env=environment)
