"""Pairs that don't match: other classes, strides, widths, normalisation and image size, from recipe to study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import segdistill
from segdistill.core.classes import Classes, distinct_colors
from segdistill.core.errors import RecipeError
from segdistill.data import create_dataset
from segdistill.data.tables import label_table
from segdistill.methods import create_method
from segdistill.models.build import build, probe
from segdistill.models.class_map import class_map
from segdistill.models.files import save_model
from segdistill.models.open import create_model, open_model
from segdistill.models.teacher import Teacher
from segdistill.models.zoo import resolve_spec
from segdistill.recipe.recipe import load_recipe
from segdistill.studies.result import Study
from segdistill.training.distiller import Distiller

STREETS = label_table("streets").classes.names
MORE = ("Road", "lane", "pavement", "building", "sky", "palm", "vegetation", "pole", "car", "truck", "person", "cat")
MAP = {
    "road": "road", "lane": "road", "pavement": "sidewalk", "building": "building", "sky": 0, "palm": "tree",
    "vegetation": "tree", "pole": "pole", "car": "car", "truck": "car", "person": "person", "cat": None,
}  # fmt: skip
SHORT = ("steps=2", "validate_every=2", "data.count=6", "baseline=none")


def save_teacher(folder: Path, names: tuple[str, ...], **options: Any) -> Path:
    """A network of random weights that knows `names`, with a grid, a width and a normalisation unlike the student's."""
    student = {
        "backbone": "mobilenetv2_050",
        "head": "fcn",
        "channels": 12,
        "output_stride": 8,
        "auxiliary_channels": 8,
    }
    spec = resolve_spec({**student, "mean": (0.5, 0.4, 0.3), "std": (0.5, 0.5, 0.5), "bgr": True, **options})
    torch.manual_seed(3)
    save_model(folder, "teacher", build(spec, len(names)), spec, Classes(names, distinct_colors(len(names))), {})
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of twelve classes for the eight of streets."""
    return save_teacher(tmp_path_factory.mktemp("teacher"), MORE)


def distill(tiny: tuple[str, ...], run: Path, teacher: Path, *words: str) -> Study:
    return segdistill.distill(*tiny, *SHORT, *words, f"teacher.weights={teacher}", out=run, quiet=True).study


def test_every_method_learns_from_a_mapped_teacher_at_half_size(
    tiny: tuple[str, ...], tmp_path: Path, other: Path
) -> None:
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(MAP))
    words = ("kd", "bpkd", "cwd", f"teacher.class_map={tmp_path / 'map.yaml'}", "teacher.input_scale=0.5")
    study = distill(tiny, tmp_path / "run", other, *words)
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in logged if line["kind"] == "train"]  # in the first one the methods are measured
    assert all(steps[1][term] > 0 for term in ("kd", "cwd", "bpkd/body", "bpkd/edge"))
    assert study.teacher is not None
    assert len(study.teacher.iou) == len(STREETS)
    for text in (study.teacher_description, (tmp_path / "run" / "table.md").read_text()):
        assert "dropped: cat" in text
        assert "0.5 times" in text
    # The folder holds the map itself, so it says all that the run depends on.
    recorded = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["teacher"]["class_map"]
    assert recorded["vegetation"] == "tree"
    assert recorded["cat"] is None
    (tmp_path / "map.yaml").unlink()
    assert segdistill.evaluate(tmp_path / "run").scores.aacc > 0


def test_the_teachers_score_is_that_of_its_classes_merged(tiny: tuple[str, ...], tmp_path: Path, other: Path) -> None:
    """The study's numbers against probabilities that are added up here."""
    words = ("method=[{name: cwd, source: embedding}]", f"teacher.class_map={json.dumps(MAP)}")
    study = distill(tiny, tmp_path / "run", other, *words)
    data = create_dataset(load_recipe(*tiny, *SHORT).data, "val")
    network = open_model(other).network
    index = [STREETS[v] if isinstance(v, int) else v for v in MAP.values()]
    hits = total = 0
    for sample in (data[i] for i in range(len(data))):
        with torch.no_grad():
            p = network(sample.image[None] / 255).logits.softmax(1)
        merged = torch.stack([p[0, [i for i, v in enumerate(index) if v == name]].sum(0) for name in STREETS])
        scores = torch.nn.functional.interpolate(merged.log()[None], sample.label.shape, mode="bilinear")[0]
        hits += int((scores.argmax(0) == sample.label).sum())
        total += int((sample.label != 255).sum())
    assert study.teacher is not None
    assert study.teacher.aacc == pytest.approx(100 * hits / total, abs=0.2)


def test_embeddings_are_distilled_from_any_class_set(tiny: tuple[str, ...], tmp_path: Path, other: Path) -> None:
    study = distill(tiny, tmp_path / "run", other, "method=[{name: cwd, source: embedding}]")
    assert study.teacher is None
    assert study.teacher_cost.milliseconds > 0
    assert study.outcomes[0].aacc > 0
    table = (tmp_path / "run" / "table.md").read_text()
    assert "| teacher | - | - |" in table
    assert f" {study.teacher_cost.parameters / 1e6:.2f} |" in table
    assert "other classes" in table


@pytest.mark.parametrize(
    ("names", "words", "message"),
    [
        (MORE, ("kd",), r"knows other classes \(12: Road.*teacher\.class_map=names.*kd here reads them"),
        (MORE, ("kd", "teacher.class_map={road: road}"), r"no class of the teacher to sky, building.*not used: lane"),
        (MORE, ("kd", "teacher.class_map={trck: car}"), r"no class 'trck'.*Did you mean 'truck'"),
        (MORE, ("kd", "teacher.class_map=nowhere.yaml"), r"nowhere\.yaml"),
        (STREETS[::-1], ("bpkd",), r"in another order.*teacher\.class_map=names"),
        (tuple(f"class {i}" for i in range(5)), ("cwd",), r"5 classes without names.*index: class"),
        (MORE, ("cwd", "method.cwd.source=embedding", "kd"), r"\(kd here reads them\)"),
    ],
)
def test_a_pair_that_can_not_work_is_refused_before_a_folder_is_made(
    names: tuple[str, ...], words: tuple[str, ...], message: str, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    teacher = save_teacher(tmp_path / "teacher", names, backbone="mobilenetv2_035")
    with pytest.raises(RecipeError, match=message):
        distill(tiny, tmp_path / "run", teacher, *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("teacher.class_map=names",), r"'teacher': .*one that is trained here"),
        (("teacher.class_map=3", "teacher.weights=x"), r"'teacher\.class_map': .*found 3"),
        (("teacher.class_map={false: road}", "teacher.weights=x"), r"'teacher\.class_map': .*quotes"),
        (("teacher.input_scale=0",), r"'teacher\.input_scale': .*greater than or equal to 0\.125"),
    ],
)
def test_a_recipe_that_can_not_work_is_refused(words: tuple[str, ...], message: str, tiny: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(*tiny, *words)


def test_classes_in_another_order_are_paired_by_name(tiny: tuple[str, ...], tmp_path: Path) -> None:
    """A teacher whose classes are only listed the other way round teaches and scores what the straight one does."""
    straight = save_teacher(tmp_path / "straight", STREETS)
    network = open_model(straight)
    weights = network.network.state_dict()
    turned = {key: value.flip(0) if "classifier" in key else value for key, value in weights.items()}
    spec = resolve_spec(yaml.safe_load((straight / "teacher.yaml").read_text())["network"])
    backwards = build(spec, len(STREETS))
    backwards.load_state_dict(turned)
    save_model(tmp_path / "turned", "teacher", backwards, spec, Classes(STREETS[::-1], distinct_colors(8)), {})
    a = distill(tiny, tmp_path / "a", straight, "kd")
    b = distill(tiny, tmp_path / "b", tmp_path / "turned", "kd", "teacher.class_map=names")
    assert a.teacher is not None
    assert b.teacher is not None
    assert a.teacher.iou == b.teacher.iou
    assert [row.iou for row in a.outcomes] == [row.iou for row in b.outcomes]
    students = [(tmp_path / run / "student.safetensors").read_bytes() for run in "ab"]
    assert students[0] == students[1]


def test_a_teacher_without_class_names_is_taken_at_its_number(
    tiny: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    teacher = save_teacher(tmp_path / "teacher", tuple(f"class {i}" for i in range(8)), backbone="mobilenetv2_035")
    segdistill.distill(*tiny, *SHORT, "kd", out=tmp_path / "run", teacher={"weights": teacher})
    assert "no names and are taken for the data set's 8, in the same order" in capfd.readouterr().err
    assert segdistill.evaluate(teacher, *tiny).images > 0


def test_a_teacher_trained_here_may_look_at_a_larger_image(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = (*tiny, *SHORT, "kd", "teacher.train.steps=1")
    plain, scaled = (
        segdistill.distill(*words, f"teacher.input_scale={scale}", out=tmp_path / str(scale), quiet=True).study
        for scale in (1, 2)
    )
    assert scaled.teacher_cost.gflops == pytest.approx(4 * plain.teacher_cost.gflops, rel=0.2)
    assert scaled.student_cost.gflops == plain.student_cost.gflops


def test_a_run_with_a_map_is_resumed_with_that_map_only(tiny: tuple[str, ...], tmp_path: Path, other: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text(yaml.safe_dump(MAP))
    words = (*tiny, *SHORT, "kd", f"teacher.class_map={file}", f"teacher.weights={other}")
    segdistill.distill(*words, out=tmp_path / "run", quiet=True)
    segdistill.distill(*words, out=tmp_path / "run", quiet=True, resume=True)
    file.write_text(yaml.safe_dump({**MAP, "cat": "person"}))
    with pytest.raises(segdistill.core.errors.TrainingError, match="another recipe"):
        segdistill.distill(*words, out=tmp_path / "run", quiet=True, resume=True)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_no_gradient_reaches_the_teacher_and_the_student_gets_one(
    scale: float, tiny: tuple[str, ...], other: Path
) -> None:
    teacher = Teacher(open_model(other).network, class_map=class_map(MAP, MORE, STREETS), input_scale=scale)
    student = create_model("mobilenetv2_035_deeplabv3plus", len(STREETS), channels=8)
    example = {"student": probe(student), "teacher": probe(teacher), "num_classes": len(STREETS)}
    methods = [create_method(name, **example) for name in ("kd", "cwd", "bpkd")]
    distiller = Distiller(student, [*methods, create_method("cwd", **example, source="embedding")], teacher)
    distiller.train()
    with torch.autocast("cpu", torch.bfloat16):
        terms = distiller(torch.randint(0, 255, (2, 3, 32, 48), dtype=torch.uint8), torch.randint(0, 8, (2, 32, 48)))
    torch.stack(list(terms.values())).sum().backward()
    assert all(value.isfinite() for value in terms.values())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in distiller.parameters())
