"""The teacher's agreement with the labels, and what a run is said to take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import segdistill
from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.outputs import SegOutput
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.tables import label_table
from segdistill.diagnosis.capacity import check_capacity
from segdistill.diagnosis.machine import describe_machine
from segdistill.evaluation.teacher_check import Agreement, agreement, check_agreement
from segdistill.models.network import SegmentationNetwork
from segdistill.models.teacher import Teacher
from segdistill.training import dry_run as dry_runs
from segdistill.training.dry_run import dry_run
from segdistill.training.plan import resolve
from segdistill.training.task import make_task

CLASSES = label_table("cityscapes").classes
COLORS = torch.tensor(CLASSES.colors, dtype=torch.uint8)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Painted(SegmentationDataset):
    """Images whose every block has the color of its class, a little noise, and some void."""

    classes = CLASSES

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Sample:
        generator = torch.Generator().manual_seed(index)
        label = torch.randint(len(CLASSES), (6, 8), generator=generator).repeat_interleave(8, 0).repeat_interleave(8, 1)
        noise = torch.randint(-3, 4, (3, 48, 64), generator=generator)
        image = (COLORS[label].permute(2, 0, 1).int() + noise).clamp(0, 255).to(torch.uint8)
        label[:4] = IGNORE_INDEX
        return Sample(image, label.to(torch.uint8), str(index))


class Nearest(SegmentationNetwork):
    """Knows the colors of the classes as its training normalised them; `order`: its class of each color."""

    def __init__(self, order: list[int], mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> None:
        super().__init__(num_classes=len(order), mean=mean, std=std)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        trained = (COLORS.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
        self.centres = torch.empty_like(trained)
        self.centres[order] = trained

    def forward(self, image: Tensor) -> SegOutput:
        pixels = self.normalize(image)
        logits = -torch.stack([(pixels - centre.view(1, 3, 1, 1)).square().sum(1) for centre in self.centres], 1)
        return SegOutput(logits=logits, embedding=pixels, features=(pixels,))


def look(network: SegmentationNetwork) -> Agreement:
    return agreement(Teacher(network).eval(), Painted(), range(4))


def best(result: Agreement) -> str:
    return max(result.others, key=lambda name: result.others[name])


IN_ORDER = list(range(19))


def test_a_good_teacher_is_only_noted() -> None:
    result = look(Nearest(IN_ORDER))
    assert result.miou > 95
    assert check_agreement(result).level == "note"
    assert f"{result.miou:.1f}" in check_agreement(result).text


def test_classes_shifted_by_one_are_found() -> None:
    result = look(Nearest([*range(1, 19), 0]))
    assert result.miou < 10
    assert result.others["its class index - 1"] > 95
    assert check_agreement(result).level == "problem"
    assert "teacher.class_map" in check_agreement(result).advice


def test_another_order_of_the_classes_is_found() -> None:
    result = look(Nearest(IN_ORDER[::-1]))
    assert best(result) == "its classes in the order that fits best"
    assert result.others[best(result)] > 95
    assert check_agreement(result).level == "problem"


def test_swapped_channels_are_found_and_left_as_they_were() -> None:
    network = Nearest(IN_ORDER)
    network.bgr = True
    result = look(network)
    assert best(result) == "channels as RGB"
    assert "channels as RGB" in check_agreement(result).text
    assert check_agreement(result).level == "problem"
    assert network.bgr
    assert network.mean.flatten().tolist() == pytest.approx(MEAN)


def test_another_normalisation_is_found() -> None:
    result = look(Nearest(IN_ORDER, mean=(0.0,) * 3, std=(1.0,) * 3))
    assert best(result) == "ImageNet's mean and std"
    assert check_agreement(result).level == "problem"


def test_a_teacher_that_knows_nothing_is_a_problem() -> None:
    network = Nearest(IN_ORDER)
    network.centres.fill_(9.0)
    assert "hardly agrees" in check_agreement(look(network)).text
    assert check_agreement(look(network)).level == "problem"


def test_a_pair_with_a_trained_teacher(tmp_path: Path, tiny: tuple[str, ...]) -> None:
    teacher = segdistill.train(*tiny, "role=teacher", out=tmp_path / "teacher", quiet=True)
    words = (*tiny, "kd", f"teacher.weights={teacher.folder}")
    done = segdistill.doctor(*words, out=tmp_path / "run", images=10, quiet=True)
    assert done.teacher is not None
    assert done.teacher.images == 8
    assert [run.what for run in done.runs] == ["student alone", "distillation"]
    assert all(run.hours > 0 and run.steps == 6 and run.batch_size == 4 for run in done.runs)
    assert not (tmp_path / "run").exists()
    finished = segdistill.distill(*words, baseline="none", out=tmp_path / "run", quiet=True)
    files = [*finished.folder.glob("*.safetensors"), *(finished.folder / "checkpoints").iterdir()]
    written = sum(path.stat().st_size for path in files)
    assert written <= done.runs[-1].disk <= 2.5 * written


def test_the_queues_of_a_method_count(tiny: tuple[str, ...]) -> None:
    plain, queued = (segdistill.doctor(*tiny, name, images=4, quiet=True).runs[-1] for name in ("kd", "cirkdv2"))
    assert queued.memory > plain.memory + 2**20
    assert queued.disk > plain.disk + 2**20


def test_a_teacher_of_other_classes_is_named_before(
    tmp_path: Path, tiny: tuple[str, ...], roots: dict[str, Path]
) -> None:
    teacher = segdistill.train(*tiny, "role=teacher", "steps=1", out=tmp_path / "teacher", quiet=True)
    data = {"root": str(roots["voc"]), "partial": True}
    done = segdistill.doctor(
        "voc", "kd", data=data, teacher={"weights": str(teacher.folder)}, student=tiny_student(), quiet=True
    )
    assert any("other classes" in finding.text for finding in done.findings if finding.where != "train")
    assert any(finding.where == "distillation" for finding in done.problems)


def tiny_student() -> dict[str, object]:
    return {"backbone": "mobilenetv2_035", "head": "fcn", "channels": 8, "auxiliary_channels": 0}


def test_memory_is_extrapolated_rightly(tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """From two images to eight, against eight images themselves."""
    recipe = segdistill.load_recipe(*tiny, "batch_size=8")
    two = dry_run("x", make_task(recipe, "student"), recipe.augment)
    monkeypatch.setattr(dry_runs, "_IMAGES", 8)
    eight = dry_run("x", make_task(recipe, "student"), recipe.augment)
    assert (two.images, eight.images) == (2, 8)
    assert two.memory == pytest.approx(eight.memory, rel=0.1)
    assert two.disk == eight.disk


def test_what_is_timed_are_the_steps_that_a_run_has_most_of(tiny: tuple[str, ...], tmp_path: Path) -> None:
    """While a share is measured a method costs more, and its terms are 0; before its start it costs nothing."""
    recipe = segdistill.load_recipe(*tiny, "steps=4000", "teacher.weights=streets_teacher", "kd", f"out={tmp_path}")
    for words in ([], ["method.kd.schedule.start=1000"], ["teacher.cache=logits"]):
        late = segdistill.load_recipe(recipe, *words)
        task = resolve(late, distills=True).task_with_teacher()
        terms: list[float] = []
        task.distiller.register_forward_hook(lambda *seen, into=terms: into.append(seen[-1]["kd"].item()))  # type: ignore[misc]
        dry_run("kd", task, late.augment)
        assert len(terms) == 3
        assert min(terms) > 0


def test_a_machine_that_is_too_small(tiny: tuple[str, ...]) -> None:
    recipe = segdistill.load_recipe(*tiny)
    run = dry_run("student alone", make_task(recipe, "student"), recipe.augment)
    machine = describe_machine(None)
    assert not list(check_capacity(run, machine))
    small = replace(machine, memory=run.memory // 2, device_memory=None, disk=run.disk // 2)
    memory, disk = check_capacity(run, small)
    assert "augment.crop" in memory.advice
    assert "out=FOLDER" in disk.advice
