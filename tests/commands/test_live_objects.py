"""Networks, methods and data sets that are handed in as objects: what runs, what the folder says, what goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

import segdistill as sd
from segdistill.commands.distill import Distilled

CLASSES = ["left", "right", "far"]


class Small(nn.Sequential):
    """Two layers that score three classes."""

    def __init__(self, width: int = 8) -> None:
        super().__init__(nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, len(CLASSES), 1))


class Squares(sd.Method):
    """The mean squared difference of the logits."""

    def __init__(self, student: Any, teacher: Any, num_classes: int, *, weight: float = 1.0) -> None:
        super().__init__(student, teacher, num_classes)
        self.weight = weight

    def terms(self, student: Any, teacher: Any, label: Tensor | None) -> dict[str, Tensor]:
        target = F.interpolate(teacher.logits, student.logits.shape[-2:])
        return {"squares": self.weight * (student.logits - target).square().mean()}


class Halves:
    """Images whose left half is dark: a map-style data set of float images and whole-number masks."""

    classes = CLASSES

    def __init__(self, count: int = 10) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        label = torch.zeros(32, 48, dtype=torch.long)
        label[:, 24:] = 1
        return (label * 0.8 + 0.01 * index).expand(3, 32, 48), label


KEYS: dict[str, Any] = {
    "steps": 2, "batch_size": 2, "workers": 0, "augment": {"crop": [32, 48]}, "quiet": True, "log_every": 1,
}  # fmt: skip


def run(out: Path, **keys: Any) -> Distilled:
    torch.manual_seed(0)
    given = {"data": Halves(), "student": Small(), "teacher": Small(16), "method": Squares, "out": out}
    return sd.distill(**{**KEYS, "teacher": {"weights": given.pop("teacher"), "check": False}, **given, **keys})


def hashes(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.rglob("student.safetensors"))]


def test_everything_handed_in_alive_distils_and_leaves_the_objects_alone(tmp_path: Path) -> None:
    student = Small()
    before = {key: value.clone() for key, value in student.state_dict().items()}
    result = run(tmp_path / "run", student=student)
    assert [row.label for row in result.study.summary] == ["student alone", result.study.methods()[0].label]
    assert result.study.images == 2  # every fifth of ten
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())
    assert student.training
    assert not student[0]._forward_hooks
    assert all(parameter.grad is None for parameter in student.parameters())
    network = sd.load_model(result.folder)  # while the module lives
    assert not torch.equal(network.state_dict()["module.0.weight"], before["0.weight"])


def test_the_folder_says_what_cannot_be_read_back(tmp_path: Path, segdistill: Any) -> None:
    run(tmp_path / "run", baseline="none")
    note = yaml.safe_load((tmp_path / "run" / "handed_in.yaml").read_text(encoding="utf-8"))
    assert {*note["objects"]} >= {"data", "student", "teacher.weights"}
    done = segdistill("distill", tmp_path / "run" / "recipe.yaml", "--resume")
    assert done.returncode == 1
    assert "handed in from Python" in " ".join(done.stderr.split())
    assert "Sequential(" not in done.stderr


def test_a_changed_network_method_or_data_set_is_another_recipe(tmp_path: Path) -> None:
    run(tmp_path / "run", resume="auto", baseline="none")
    for changed in ({"student": Small(4)}, {"method": [sd.MethodSpec(Squares, weight=2.0)]}, {"data": Halves(15)}):
        with pytest.raises(sd.SegdistillError, match="another recipe"):
            run(tmp_path / "run", resume="auto", baseline="none", **changed)


def test_auto_begins_goes_on_and_returns_what_is_finished(tmp_path: Path) -> None:
    first = run(tmp_path / "run", resume="auto")
    weights, written = hashes(tmp_path), (tmp_path / "run" / "study.json").stat().st_mtime_ns
    again = run(tmp_path / "run", resume="auto", student=Small())  # of other first weights
    assert again.study == first.study
    assert (tmp_path / "run" / "study.json").stat().st_mtime_ns == written
    for path in (tmp_path / "run" / "student.yaml", tmp_path / "run" / "checkpoints" / "last.pt"):
        path.unlink()
    run(tmp_path / "run", resume="auto", student=Small())  # makes the steps again, from the folder's first weights
    assert hashes(tmp_path) == weights


def test_auto_refuses_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(sd.SegdistillError, match="holds no run"):
        run(tmp_path, resume="auto")


def test_a_network_of_ours_that_was_handed_in_can_be_read_back(tmp_path: Path, tiny: tuple[str, ...]) -> None:
    student = sd.create_model("mobilenetv2_035_fcn", len(CLASSES))
    run(tmp_path / "run", student=student, baseline="none")
    del student
    assert sd.load_model(tmp_path / "run").num_classes == len(CLASSES)


def test_a_module_is_never_printed_and_named_where_it_has_no_place() -> None:
    for keys in ({"steps": Small()}, {"student": {"name": Small()}}, {"optimizer": {"lr": [Small()]}}):
        with pytest.raises(sd.SegdistillError) as raised:
            sd.load_recipe("streets", **keys)
        assert "Conv2d" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([(torch.zeros(3, 8, 8), torch.zeros(8, 8).long())] * 5, "which classes"),
        ({"train": [], "classes": CLASSES}, "map-style"),
        ({"train": [(torch.full((3, 8, 8), 3.0), torch.zeros(8, 8).long())] * 5, "classes": CLASSES}, "normalized"),
        ({"train": [(torch.zeros(3, 8, 8), torch.full((8, 8), 7))] * 5, "classes": CLASSES}, "holds 7"),
        ({"train": [(torch.zeros(3, 8, 8), torch.zeros(8, 9).long())] * 5, "classes": CLASSES}, "size"),
    ],
)
def test_data_that_cannot_be_used_is_refused_with_the_sample(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(sd.SegdistillError, match=message):
        run(tmp_path / "run", data=data)


def test_compare_takes_objects_and_refuses_other_processes(tmp_path: Path) -> None:
    keys = {**KEYS, "data": Halves(), "student": Small(), "out": tmp_path / "study"}
    keys["teacher"] = {"weights": Small(16), "check": False}
    study = sd.compare(methods=[Squares, sd.MethodSpec("kd", temperature=2.0)], seeds=[0], **keys)
    assert {row.label for row in study.methods()} == {"Squares", "kd"}
    assert sd.compare(methods=[Squares], seeds=[0], **keys).outcomes == study.outcomes  # goes on with the same objects
    with pytest.raises(sd.SegdistillError, match="other processes"):
        sd.compare(methods=[Squares], seeds=[0], processes=2, **keys)


def test_a_recipe_stands_wherever_words_do(tiny: tuple[str, ...], tmp_path: Path) -> None:
    recipe = sd.load_recipe(*tiny, "kd")
    changed = sd.load_recipe(recipe, "steps=3", **{"optimizer.lr": 0.5, "method.kd.temperature": 2.0})
    assert (changed.steps, changed.optimizer.lr, changed.method[0].options) == (3, 0.5, {"temperature": 2.0})
    assert changed.student == recipe.student
    assert sd.load_recipe(preset=["streets", "kd"]).method[0].name == "kd"
    assert sd.train(recipe, out=tmp_path / "run", quiet=True, method=[]).folder == tmp_path / "run"
