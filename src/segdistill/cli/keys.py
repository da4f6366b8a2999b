"""The keys that verbs have beside those of a recipe: each is described here once, for help and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from segdistill.core.numbers import Count
from segdistill.core.paths import HomePath
from segdistill.core.typed_settings import TypedSettings
from segdistill.reporting.label_files.settings import LabelSettings


class RunKeys(TypedSettings):
    """Of `train`, `distill` and `pretrain`."""

    nproc: int | None = None
    """How many processes of this machine share the work, as one a GPU."""


class EvaluateKeys(TypedSettings):
    """Of `evaluate`."""

    split: Literal["train", "val", "test"] = "val"
    """Which part of the data set is scored: train, val or test."""

    nproc: int | None = None
    """How many processes of this machine share the work, as one a GPU."""


class CompareKeys(TypedSettings):
    """Of `compare`."""

    methods: str = ""
    """What is compared, as default,longer,kd,cwd,bpkd_light,kd+at or 'kd4={name: kd, temperature: 4}'."""

    seeds: str = ""
    """The seeds of every method, as 0,1,2, which is the default."""

    budget: str | None = None
    """What every run gets: steps:2000 or minutes:30; without it the recipe's steps."""

    executor: str = "local"
    """Where runs are made: local, ray or slurm."""

    processes: int | None = None
    """How many runs are made at a time."""

    job: str | None = None
    """Only this run of the study, as kd-0; for executors."""


class ReportKeys(TypedSettings):
    """Of `report`."""

    images: str = ""
    """Names or numbers of validation images, with commas; without it those with the largest changes."""

    out: HomePath | None = None
    """The file that is written; without it report.html in the folder."""


class PredictKeys(LabelSettings):
    """Of `predict`."""

    out: HomePath = Path("predictions")
    """The folder that masks, overlays and labels go to; the same command goes on where it was stopped."""

    nproc: int | None = None
    """How many processes of this machine share the work, as one a GPU."""


class ShowKeys(TypedSettings):
    """Of `show`."""

    what: str = "compare,curves"
    """Of compare, activations, embeddings and curves, with commas."""

    images: str = ""
    """Names or numbers of validation images, with commas; without it four."""

    of_class: str | None = Field(None, alias="class")
    """The class of the activation maps; without it the largest."""

    out: HomePath | None = None
    """Where pictures go; without it the folder pictures of the run."""


class SubmitKeys(TypedSettings):
    """Of `submit`."""

    out: HomePath = Path("submission")
    """The folder of the maps; the zip stands beside it."""


class InspectKeys(TypedSettings):
    """Of `inspect`."""

    part: Literal["student", "teacher"] = "student"
    """Which network of a distillation run's file."""


class ConvertKeys(InspectKeys):
    """Of `convert`."""

    layout: str = "segdistill"
    """What is written: segdistill, openmmlab, nvlabs, huggingface or cirkd."""

    role: Literal["student", "teacher"] = "teacher"
    """The name that the network gets in a folder."""


class PrepareKeys(TypedSettings):
    """Of `prepare`; the options of the data set come beside them."""

    root: HomePath
    """The folder that the data set is in, or goes to; needed."""

    archives: HomePath | None = None
    """A folder of downloads to unpack into it."""

    out: HomePath | None = None
    """Where converted masks go."""


def _all(value: object) -> object:
    """ "all" as None."""
    return None if value == "all" else value


class DoctorKeys(TypedSettings):
    """Of `doctor`."""

    images: Annotated[Count | None, BeforeValidator(_all)] = 500
    """How many images of each split are read, evenly spread, or all."""


class ReplayKeys(TypedSettings):
    """Of `replay`."""

    step: Count | None = None
    """Which of the saved steps; without it the first."""
