"""What a run would see, before it runs: its data, its teacher, its cost, and every problem with what to do."""

from __future__ import annotations

import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from segdistill.core.classes import Classes
from segdistill.core.errors import DataError, RecipeError, SegdistillError
from segdistill.core.findings import Finding, shortened
from segdistill.core.results import Result
from segdistill.data import SegmentationDataset
from segdistill.data.pairs import FilePairs
from segdistill.data.spread import chosen
from segdistill.diagnosis.capacity import check_capacity
from segdistill.diagnosis.duplicates import duplicate_findings
from segdistill.diagnosis.evidence import Evidence, add_up
from segdistill.diagnosis.extra_images import EXTRA, look_at_extra
from segdistill.diagnosis.files import PairReport
from segdistill.diagnosis.listing import list_findings, understood
from segdistill.diagnosis.machine import Machine, describe_machine
from segdistill.diagnosis.masks import FEW, findings_of
from segdistill.diagnosis.opening import SPLITS, Split, open_split
from segdistill.diagnosis.scan import scan
from segdistill.evaluation import teacher_check as agreement
from segdistill.evaluation.finite import NonFiniteScoresError
from segdistill.evaluation.teacher_check import Agreement
from segdistill.models.teacher import Teacher
from segdistill.recipe.recipe import Recipe
from segdistill.runtime.display import console
from segdistill.training.dry_run import DryRun, dry_run
from segdistill.training.pairing import Pairing, open_pairing
from segdistill.training.plan import Plan, plan_alone, plan_student
from segdistill.training.task import Splits, require_choosable

_TIMED = 5  # images that are read once more for the time it takes


@dataclass(frozen=True, repr=False)
class Diagnosis(Result):
    """What was found.

    Attributes:
        dataset: name of the data set.
        machine: what the machine has.
        splits: "train", "val" -> what its masks hold.
        teacher: how far it agrees with the labels; None if that was not measured.
        runs: what each run will take.
        findings: problems first, then warnings, then notes.
        interrupted: whether Ctrl-C ended it before all was seen.
    """

    dataset: str
    machine: Machine
    splits: dict[str, Evidence] = field(default_factory=dict)
    teacher: Agreement | None = None
    runs: list[DryRun] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    interrupted: bool = False

    @property
    def problems(self) -> list[Finding]:
        """What would spoil a run."""
        return [finding for finding in self.findings if finding.level == "problem"]

    def records(self) -> list[dict[str, Any]]:
        """A line a finding."""
        return [
            {"level": each.level, "where": each.where, "what": each.text, "try": each.advice} for each in self.findings
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "dataset": self.dataset,
            "healthy": not self.problems,
            "interrupted": self.interrupted,
            "findings": [asdict(finding) for finding in self.findings],
            "splits": {name: split.as_dict() for name, split in self.splits.items()},
            "teacher": None if self.teacher is None else asdict(self.teacher),
            "runs": [asdict(run) for run in self.runs],
            "machine": asdict(self.machine),
        }


def diagnose(recipe: Recipe, *, images: int | None = 500, quiet: bool = False) -> Diagnosis:
    """Look at a recipe's data, then at its networks if it has some. Ctrl-C ends it.

    Args:
        recipe: of a run.
        images: of each split that are read, evenly spread; None for all.
        quiet: show no progress.

    Returns:
        What was found; after Ctrl-C what was found so far.
    """
    done = Diagnosis(recipe.data.name, describe_machine(recipe.out))
    try:
        data, healthy = _look_at_data(recipe, done, images, quiet)
        if len(data) == len(SPLITS):
            pairing = _open_teacher(recipe, done, data["train"].classes)
            if pairing is not None:
                done = replace(done, teacher=_look_at_teacher(pairing, done, data["val"], healthy["val"], quiet))
            if pairing is not None or recipe.teacher.weights is None:
                _look_at_runs(recipe, done, Splits(data["train"], data["val"]), pairing, quiet)
    except KeyboardInterrupt:
        done = replace(done, interrupted=True)
    order = ("problem", "warning", "note")
    done.findings.sort(key=lambda finding: order.index(finding.level))
    return done


def _look_at_data(
    recipe: Recipe, done: Diagnosis, images: int | None, quiet: bool
) -> tuple[dict[Split, SegmentationDataset], dict[Split, list[int]]]:
    """The splits, and of each the places of the samples that can be read.

    Raises:
        KeyboardInterrupt: After Ctrl-C, once `done` has what was seen until then.
    """
    data: dict[Split, SegmentationDataset] = {}
    healthy: dict[Split, list[int]] = {}
    read: dict[Split, list[PairReport]] = {}
    missing = False
    for split in SPLITS:
        opened, findings = open_split(recipe.data, split)
        done.findings.extend(findings)
        missing = missing or bool(findings)
        if opened is not None:
            data[split] = opened
    for split, opened in data.items():
        indices = chosen(len(opened), images)
        _print(f"{split}: reading {len(indices)} of {len(opened)} images", quiet)
        reports, interrupted = scan(f"reading {split}", opened, indices, quiet=quiet)
        seen = read[split] = [*reports.values()]
        evidence = add_up(split, opened, seen, None)
        unknown = set(evidence.unknown())
        healthy[split] = [
            index for index, look in reports.items() if not look.faults and unknown.isdisjoint(look.raw or ())
        ]
        if not interrupted:
            evidence = add_up(split, opened, seen, _milliseconds(opened, healthy[split][:_TIMED]))
        done.splits[split] = evidence
        done.findings.extend(findings_of(recipe.data.name, evidence, seen))
        done.findings.extend(_sizes(evidence, seen, recipe.augment.crop))
        if interrupted:
            raise KeyboardInterrupt
    for finding in look_at_extra(recipe.data, data, read.get("val", []), images, quiet=quiet):
        done.findings.append(finding)  # one by one: Ctrl-C keeps those until then
    files: dict[str, FilePairs] = {split: opened for split, opened in data.items() if isinstance(opened, FilePairs)}
    done.findings.extend(duplicate_findings(data, read))
    done.findings.extend(list_findings(files, missing))
    done.findings.extend(understood(data))
    if {"train", "val"} <= done.splits.keys():
        done.findings.extend(_only_in_validation(done.splits["train"], done.splits["val"]))
    return data, healthy


def _milliseconds(data: SegmentationDataset, indices: Sequence[int]) -> float | None:
    times = []
    for index in indices:
        began = time.perf_counter()
        data[index]
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times) if times else None


def _sizes(evidence: Evidence, seen: Sequence[PairReport], crop: tuple[int, int]) -> Iterator[Finding]:
    """Images of an odd size, where nearly all have one; and images that are smaller than the crop."""
    usual = next(iter(evidence.sizes), None)
    odd = [look.image for look in seen if look.size not in (None, usual)]
    if usual is not None and odd and evidence.sizes[usual] >= 0.9 * sum(evidence.sizes.values()):
        text = f"{len(odd)} images are not {usual[0]}x{usual[1]} (HxW) as the others: {shortened(odd, 3)}."
        yield Finding("note", evidence.split, text, files=tuple(odd))
    small = sum(n for size, n in evidence.sizes.items() if size[0] < crop[0] / 2 or size[1] < crop[1] / 2)
    if evidence.split == "train" and small:
        text = f"{small} images have less than half the side of the crop, {crop[0]}x{crop[1]} (HxW)."
        yield Finding("note", evidence.split, text, "What they lack is filled up and void; augment.crop sets the crop.")


def _only_in_validation(train: Evidence, val: Evidence) -> Iterator[Finding]:
    names = [name for name in train.absent() if name not in val.absent()]
    if names and train.complete and train.masks >= FEW:
        text = f"Classes that occur in validation and never in training: {shortened(names, 12)}."
        yield Finding("warning", "data", text, "They can't be learnt: split otherwise, or merge them.")


def _open_teacher(recipe: Recipe, done: Diagnosis, classes: Classes) -> Pairing | None:
    """The teacher whose weights the recipe names, if it names some and they can be read."""
    if recipe.teacher.weights is None:
        return None
    try:
        return open_pairing(recipe.teacher.weights, recipe.teacher, classes)
    except SegdistillError as error:
        done.findings.append(Finding("problem", "teacher", str(error)))
        return None


def _look_at_runs(recipe: Recipe, done: Diagnosis, splits: Splits, pairing: Pairing | None, quiet: bool) -> None:
    """A few steps of each run that the recipe asks for."""
    done.findings.extend(_choosing(recipe, splits.val))
    if any(finding.where in (*SPLITS, EXTRA) for finding in done.problems):
        if recipe.student is None and recipe.teacher.network is None:
            return
        done.findings.append(Finding("note", "run", "Time and memory are estimated once the data has no problem."))
        return
    for name, make in _plans(recipe, splits, pairing):
        _print(f"{name}: a few steps", quiet)
        try:
            run = dry_run(name, make().task_with_teacher(), recipe.augment)
        except (SegdistillError, torch.OutOfMemoryError) as error:
            done.findings.append(Finding("problem", name, str(error)))
            continue
        done.runs.append(run)
        done.findings.extend(check_capacity(run, done.machine))


def _choosing(recipe: Recipe, validation: SegmentationDataset) -> Iterator[Finding]:
    """keep=best where nothing can be chosen by; said whatever else is wrong with the data."""
    networks = (recipe.training(), recipe.student), (recipe.teacher_training(), recipe.teacher.network)
    try:
        with contextlib.suppress(DataError):  # a file that can't be read is found by the scan
            for config in (config for config, network in networks if network is not None):
                require_choosable(config, validation)
    except RecipeError as error:
        yield Finding("problem", "val", str(error))


def _look_at_teacher(
    pairing: Pairing, done: Diagnosis, data: SegmentationDataset, healthy: Sequence[int], quiet: bool
) -> Agreement | None:
    """How far the teacher agrees with the labels, if that can be measured; the findings get what there is to say."""
    if pairing.incompatibility:
        done.findings.append(Finding("warning", "teacher", f"{pairing.incompatibility}."))
        return None
    indices = [healthy[position] for position in chosen(len(healthy), agreement.IMAGES)] if healthy else []
    if not indices or not isinstance(pairing.model.network, Teacher):
        done.findings.append(Finding("note", "teacher", "No image can be read to compare the teacher with its label."))
        return None
    _print(f"the teacher on {len(indices)} images", quiet)
    try:
        measured = agreement.agreement(pairing.model.network, data, indices)
    except NonFiniteScoresError as error:
        done.findings.append(Finding("problem", "teacher", str(error)))
        return None
    done.findings.append(agreement.check_agreement(measured))
    return measured


def _plans(recipe: Recipe, splits: Splits, pairing: Pairing | None) -> Iterator[tuple[str, Callable[[], Plan]]]:
    """What `train` or `distill` would train, by name; each is made when it is called, so that each can be refused."""
    teacher = functools.cache(lambda: plan_alone(recipe, splits, "teacher"))
    has_student = recipe.student is not None and recipe.role == "student"
    if has_student:
        yield "student alone", lambda: plan_alone(recipe, splits, "student")
    if recipe.teacher.network is not None and pairing is None:
        yield "teacher", teacher
    if has_student and (pairing or recipe.teacher.network):
        yield "distillation", lambda: plan_student(recipe, splits, pairing or teacher())


def _print(text: str, quiet: bool) -> None:
    if not quiet:
        console.print(text, soft_wrap=True, markup=False)
