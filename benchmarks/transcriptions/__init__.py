"""The losses written straight from their formulas in plain PyTorch, as a reader of the papers would: what to beat.

Each takes our method, whose weights and learned parts it uses, a student's and a teacher's `SegOutput` and labels
(N,H,W), 255 void, and gives a loss. They count void positions as published code does, so they equal the methods with
`as_published`; `task`, `canonical` and `dkd`, of which there is no such code, leave void out as the methods do, and so
does `ifvd` but for its divisor. The rows of `PARTS` are equal with the options that stand there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from segdistill.core.outputs import SegOutput
from transcriptions import features, logits, relations, structure

Transcription = Callable[[Any, SegOutput, SegOutput, Tensor], Tensor]

TRANSCRIPTIONS: dict[str, Transcription] = {
    "task": logits.task,
    "kd": logits.kd,
    "cwd": logits.cwd,
    "dist": logits.dist,
    "dkd": logits.dkd,
    "bpkd": logits.bpkd,
    "fitnet": features.fitnet,
    "at": features.at,
    "mgd": features.mgd,
    "pkd": features.pkd,
    "canonical": features.canonical,
    "ifvd": structure.ifvd,
    "dsd": structure.dsd,
    "skds": structure.skds,
    "skds dense pairs": structure.dense_pairs,
    "cirkd minibatch": relations.minibatch,
    "cirkd memory update": relations.memory_update,
    "cirkd memory terms": relations.memory_terms,
    "cirkdv2 channel": relations.channels,
}

_NO_BASE: dict[str, Any] = {"minibatch_weight": 0.0, "pixel_weight": 0.0, "region_weight": 0.0}
PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "skds dense pairs": ("skds", {"places": "dense", "pixel_weight": 0.0}),
    "cirkd minibatch": ("cirkd", {"pixel_weight": 0.0, "region_weight": 0.0}),
    "cirkd memory update": ("cirkd", {"minibatch_weight": 0.0}),
    "cirkd memory terms": ("cirkd", {"minibatch_weight": 0.0}),
    "cirkdv2 channel": ("cirkdv2", {**_NO_BASE, "fitnet_weight": 0.0, "context": False}),
}
"""Named parts of methods: the method and the options that leave only the part."""
