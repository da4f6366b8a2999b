"""Every row of the published tables parses, builds its networks and trains a step on its data set's layout."""

from __future__ import annotations

import functools
import itertools
import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import layouts
import pytest
import torch
import yaml

import segdistill as library
from segdistill.cli import list_
from segdistill.composition import fragments, is_assignment
from segdistill.data.loading import Share, Stream, training_batches
from segdistill.errors import DataError, RecipeError, TrainingError
from segdistill.evaluation.scoring import count
from segdistill.methods import create_method, method_names
from segdistill.models.segmenter import SegmentationNetwork
from segdistill.models.teacher import Teacher
from segdistill.models.zoo import NetworkSpec, build, probe
from segdistill.published_rows import Table, measured, published_rows
from segdistill.recipe import Recipe, load_recipe
from segdistill.training.runs import prepare_task
from segdistill.training.schedule import make_optimizer, own_optimizers, set_rate

Run = Callable[..., subprocess.CompletedProcess[str]]
ROWS = published_rows()
CLASSES = {"cityscapes": 19, "ade20k": 150, "pascal_context": 59, "voc": 21, "camvid": 11}
SMALL = (
    "student={backbone: mobilenetv2_035, head: fcn, channels: 8, output_stride: 16, auxiliary_channels: 8}",
    "teacher.network={backbone: mobilenetv2_035, head: fcn, channels: 12, output_stride: 16}",
    "augment.crop=[64,96]",
    "workers=0",
    "data.partial=true",
)
"""A row's own recipe but for the networks and the size of crops."""


@functools.cache
def recipe(name: str) -> Recipe:
    return load_recipe(name)


def classes(name: str) -> int:
    data = recipe(name).data
    return (data.model_extra or {}).get("num_classes") or CLASSES[data.name]


def test_the_tables_are_complete() -> None:
    bpkd = {"teacher", "student", "skds", "ifvd", "cirkd", "cwd", "bpkd"}
    cirkd = {"teacher", "student", "skd", "ifvd", "cwd", "dsd", "cirkd"}
    pairs: dict[str, set[str]] = {}
    for name, row in ROWS.items():
        pairs.setdefault(name.rpartition("/")[0], set()).add(row.method)
    assert all(methods == (bpkd if pair.startswith("bpkd") else cirkd) for pair, methods in pairs.items())
    counts: dict[str, int] = {}
    for pair in pairs:
        counts[pair.rpartition("/")[0]] = counts.get(pair.rpartition("/")[0], 0) + 1
    assert counts == {
        "bpkd/cityscapes": 4, "bpkd/ade20k": 4, "bpkd/pascal_context": 4,
        "cirkd/cityscapes": 4, "cirkd/voc": 2, "cirkd/camvid": 2, "cirkd/ade20k": 1, "cirkd/coco_stuff": 1,
    }  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_row_parses_and_says_where_it_comes_from(name: str) -> None:
    row = ROWS[name]
    made = recipe(name)
    assert row.paper
    assert row.source
    assert made.student is not None
    assert made.teacher.network is not None
    assert made.role == ("teacher" if row.role == "teacher" else "student")
    assert bool(made.method) == (row.role == "distilled")
    assert all(0 < number < 100 for number in (row.miou, row.macc, row.test_miou) if number is not None)
    if row.role != "distilled":
        assert row.miou is not None
    for word in row.words:  # which networks and which role is the table itself
        known = fragments()[word].startswith("# ") if word in fragments() else word in row.origins
        assert known or word.startswith(("student=", "teacher.network=", "role=")), word


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith("bpkd")])
def test_bpkds_rate_falls_as_openmmlabs(name: str) -> None:
    made = recipe(name)
    rate = 0.004 if "pascal_context" in name else 0.01
    for config in (made.training(), made.teacher_training()):
        for step in (0, 1, config.steps // 2, config.steps - 1):
            expected = (rate - 1e-4) * math.pow(1 - step / config.steps, 0.9) + 1e-4
            assert config.optimizer.lr * config.schedule.factor(step, config.steps) == pytest.approx(expected, rel=1e-9)
    assert made.steps == 80_000
    assert made.batch_size == (8 if "cityscapes" in name else 16)


@pytest.mark.parametrize(
    ("pair", "student", "teacher"),
    [
        ("bpkd/cityscapes/pspnet_r18", (80_000, 8, 0.01), (80_000, 8, 0.01)),
        ("bpkd/cityscapes/hrnet_w18s", (80_000, 8, 0.01), (160_000, 8, 0.01)),
        ("bpkd/ade20k/isanet_r18", (80_000, 16, 0.01), (160_000, 16, 0.01)),
        ("cirkd/cityscapes/deeplabv3_mv2", (40_000, 16, 0.02), (80_000, 8, 0.01)),
        ("cirkd/cityscapes/segformer_b0", (160_000, 8, 0.0002), (160_000, 8, 0.0002)),
        ("cirkd/camvid/pspnet_r18", (40_000, 16, 0.02), (40_000, 16, 0.02)),
        ("cirkd/coco_stuff/deeplabv3_r18", (80_000, 16, 0.02), (80_000, 16, 0.02)),
    ],
)
def test_teachers_train_as_they_were_trained(pair: str, student: tuple[Any, ...], teacher: tuple[Any, ...]) -> None:
    made = recipe(f"{pair}/student")
    for config, expected in ((made.training(), student), (made.teacher_training(), teacher)):
        assert (config.steps, config.batch_size, config.optimizer.lr) == expected


# --- Networks -------------------------------------------------------------------------------------------------------


@functools.cache
def _described(spec: str, num_classes: int) -> SegmentationNetwork:
    with torch.device("meta"):
        return build(NetworkSpec.model_validate_json(spec), num_classes)


def on_meta(spec: NetworkSpec | None, num_classes: int) -> SegmentationNetwork:
    assert spec is not None
    return _described(spec.model_dump_json(), num_classes)


@pytest.mark.parametrize("pair", dict.fromkeys(name.rpartition("/")[0] for name in ROWS))
def test_the_networks_of_a_pair_are_built_and_go_with_its_methods(pair: str) -> None:
    for name in (name for name in ROWS if name.startswith(f"{pair}/")):
        made, num_classes = recipe(name), classes(name)
        student, teacher = on_meta(made.student, num_classes), on_meta(made.teacher.network, num_classes)
        if made.method:
            examples = {"student": probe(student), "teacher": probe(teacher)}
            assert examples["student"].logits.shape == examples["teacher"].logits.shape
        with torch.device("meta"):
            for method in made.method:
                create_method(method.name, **examples, num_classes=num_classes, **method.options)


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith("bpkd/ade20k")])
def test_parameters_are_those_that_were_printed(name: str) -> None:
    """The paper's tables print those of the networks for ADE20K, the auxiliary head included."""
    row, made = ROWS[name], recipe(name)
    network = on_meta(made.teacher.network if row.role == "teacher" else made.student, 150)
    assert row.parameters == round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2)


# --- One step -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each data set in its layout, with images of about 96x64."""
    folder = tmp_path_factory.mktemp("data")
    makers = {**layouts.MAKE, "camvid": layouts.camvid}
    return {name: layouts.enlarge(make(folder / name), 16) for name, make in makers.items()}


def _kinds() -> list[str]:
    """A row for each table, data set and method, and for each that has words of its own there."""
    kinds = {}
    for name, row in ROWS.items():
        own = [word for word in row.words if not word.startswith(("student", "teacher.network", "teacher.train"))]
        kinds.setdefault((name.split("/")[0], *own), name)
    return list(kinds.values())


@pytest.mark.parametrize("name", _kinds())
def test_a_step_trains_and_its_protocol_scores(name: str, roots: dict[str, Path]) -> None:
    data = recipe(name).data.name
    made = load_recipe(name, *SMALL, f"data.root={roots[data]}", "batch_size=2", "teacher.train.batch_size=2")
    role = made.role
    teacher = None
    if made.method:
        teacher = Teacher(prepare_task(made, "teacher", teacher=None).network)
    task = prepare_task(made, role, teacher=teacher)
    own = own_optimizers(task.distiller.methods)
    optimizer = make_optimizer(task.config.optimizer, task.network, task.distiller.methods, own)
    set_rate(optimizer, task.config.schedule.factor(0, task.config.steps))
    stream = Stream(task.data, made.augment, task.config.seed)
    (batch,) = training_batches(stream, Share(task.config.batch_size), start=0, stop=1, workers=0)
    before = {key: value.clone() for key, value in task.network.named_parameters()}
    terms = task.distiller.train()(batch.image, batch.label)
    assert {term.partition("/")[0] for term in terms} == {"task", "auxiliary", *(each.name for each in made.method)}
    assert all(value.isfinite() for value in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    for each in (optimizer, *own):
        each.step()
    moved = [key for key, value in task.network.named_parameters() if not torch.equal(value, before[key])]
    assert len(moved) > 0.9 * len(before)
    metrics = made.metrics.confusion_only()
    scores = count(task.network.eval(), task.validation, inference=made.inference, metrics=metrics).quality().scores
    assert 0 <= scores.miou <= 100
    assert len(scores.iou) == classes(name)


# --- By name, from Python and the command line ----------------------------------------------------------------------


def test_a_row_is_a_recipe_that_more_words_go_over() -> None:
    made = load_recipe("bpkd/pascal_context/pspnet_r18/student", "dist", "steps=7", "data.root=/x")
    assert [method.name for method in made.method] == ["dist"]
    assert made.student is not None
    assert (made.student.name, made.steps, made.augment.crop) == ("pspnet_r18", 7, (480, 480))
    both = load_recipe("cirkd/voc/pspnet_r18/cirkd", "at", "method.at.weight=1")
    assert [method.name for method in both.method] == ["kd", "cirkd", "at"]
    assert both.method[1].options["pixel_weight"] == 0.01


@pytest.mark.parametrize("call", [load_recipe, library.reproduce])
def test_a_wrong_name_gets_the_nearest(call: Callable[[str], Any]) -> None:
    with pytest.raises(RecipeError, match=r"'bpkd/cityscape/pspnet_r18/bpkd'.* 'bpkd/cityscapes/pspnet_r18/bpkd'\?"):
        call("bpkd/cityscape/pspnet_r18/bpkd")
    with pytest.raises(RecipeError, match=r"No published row.*camvid"):
        library.reproduce("camvid")


def test_words_mean_one_thing() -> None:
    """A fragment that bore a method's name would hide the method."""
    assert not set(fragments()) & set(method_names())
    assert not any(name in fragments() or is_assignment(name) for name in ROWS)
    assert set(measured()) <= set(ROWS)


def test_what_can_not_work_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        library.reproduce("bpkd/cityscapes/pspnet_r18/bpkd", "data.root=nowhere", run=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_list_shows_rows_with_their_numbers(segdistill: Run) -> None:
    shown = segdistill("list").stdout
    assert "openmmlab_80k" in shown
    lines = iter(shown.splitlines())
    assert any("bpkd/cityscapes/" in line for line in lines)
    line = next(lines)
    assert line.split()[0] == "pspnet_r18"
    assert line.split()[1:3] == ["79.74", "74.23"]
    assert line.split()[-1] == "77.57"


def test_our_own_results_stand_beside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    name = "cirkd/voc/pspnet_r18/cirkd"
    monkeypatch.setitem(measured(), name, {"miou": 12.35, "macc": 20.0, "seed": 0})
    list_("recipes")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["ours"])
    assert line.split() == ["ours", "12.35"]
    list_("published")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if name in line)
    assert line.split()[1:4] == ["74.78", "-", "12.35"]
    assert library.available("published")["published"][name]["measured"]["seed"] == 0


def test_everything_known_of_a_row_is_there_for_programs() -> None:
    assert list(library.available("recipes")) == ["recipes", "published"]
    rows = json.loads(json.dumps(library.available("published")["published"]))
    row = rows["bpkd/cityscapes/pspnet_r18/cwd"]
    assert (row["miou"], row["file"]) == (76.26, "cwd_80k_pspnet_r18_cityscapes_student.pth")
    assert "mmrazor" in row["constants"]["cwd_by_mmrazor"]
    assert "are not known" in row["constants"]["cwd_by_mmrazor"]
    assert "lr" in row["constants"]["openmmlab_80k"]
    assert list(row["constants"]) == row["words"]


TINY = (*SMALL, "batch_size=2", "steps=2", "validate_every=2", "log_every=1")


def test_reproduce_puts_measured_beside_published_and_says_what_differed(
    roots: dict[str, Path], tmp_path: Path, segdistill: Run
) -> None:
    name = "bpkd/cityscapes/pspnet_r18/bpkd"
    words = ("reproduce", name, *TINY, f"data.root={roots['cityscapes']}", f"run={tmp_path / 'run'}")
    result = json.loads(json.dumps(library.reproduce(*words[1:], quiet=True).as_dict()))
    assert [line["row"].rpartition("/")[2] for line in result["lines"]] == ["bpkd", "student", "teacher"]
    assert [line["published"]["miou"] for line in result["lines"]] == [77.57, 74.23, 79.74]
    proof = json.loads((tmp_path / "run" / "result.json").read_text())
    for line, row in zip(result["lines"], reversed(proof["rows"]), strict=False):
        if line["row"] == name:
            assert line["measured"]["miou"] == row["scores"]["miou"]
            assert line["difference"]["miou"] == pytest.approx(row["scores"]["miou"] - 77.57)
    assert "steps=2 (80000)" in result["changed"]
    assert "batch_size=2 (8)" in result["changed"]
    assert "student=mobilenetv2_035 with fcn (pspnet_r18)" in result["changed"]
    assert len(result["changed"]) == 10, result["changed"]
    assert "data.partial=True (unset)" in result["changed"]
    assert any("random weights (open-mmlab://resnet18_v1c)" in change for change in result["changed"])
    assert any(change.startswith("the teacher is trained in this run") for change in result["changed"])
    assert not any("data.root" in change or "run=" in change for change in result["changed"])
    with pytest.raises(TrainingError, match="--resume"):
        library.reproduce(*words[1:], quiet=True)
    again = segdistill(*words, "--resume")
    assert again.returncode == 0, again.stderr
    assert "Not the published recipe" in again.stdout
    (line,) = (line for line in again.stdout.splitlines() if line.split()[:1] == ["bpkd"])
    assert line.split()[1:3] == [f"{result['lines'][0]['measured']['miou']:.2f}", "77.57"]


def test_a_camvid_row_of_cirkd_is_measured_on_the_test_list(roots: dict[str, Path], tmp_path: Path) -> None:
    name = "cirkd/camvid/deeplabv3_r18/teacher"
    done = library.reproduce(name, *TINY, f"data.root={roots['camvid']}", run=tmp_path / "run", quiet=True)
    assert [line.row.name for line in done.lines] == [name]
    test = library.evaluate(tmp_path / "run", "data.validation=test", quiet=True)
    assert test.images == 2
    assert done.lines[0].scores.as_dict() == test.scores.as_dict()
    assert (tmp_path / "run" / "teacher.safetensors").is_file()


def test_a_given_teacher_is_named_if_it_is_another(roots: dict[str, Path], tmp_path: Path) -> None:
    words = (*TINY, f"data.root={roots['voc']}", "baseline=none")
    teacher = tmp_path / "teacher"
    library.reproduce("cirkd/voc/pspnet_r18/teacher", *words, run=teacher, quiet=True)
    done = library.reproduce(
        "cirkd/voc/pspnet_r18/dsd", *words, f"teacher.run={teacher}", run=tmp_path / "run", quiet=True
    )
    assert f"the teacher is {teacher} (deeplabv3_resnet101_voc_best_model.pth)" in done.changed
    assert [line.row.method for line in done.lines] == ["dsd", "teacher"]
    assert done.lines[0].row.miou is None
    assert done.as_dict()["lines"][0]["difference"] == {"miou": None, "macc": None}


def test_the_pages_example_makes_rows() -> None:
    page = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
    lines = page.partition("    # mine.yaml")[2].splitlines()[1:]
    text = "\n".join(itertools.takewhile(lambda line: line.startswith("    "), lines))
    rows = {row.name: row for row in Table(**yaml.safe_load(text)).rows("mine")}
    assert [row.miou for row in rows.values()] == [70.1, 60.2, 61.3]
    made = load_recipe(*rows["mine/camvid/small/kd"].words)
    assert ([method.name for method in made.method], made.augment.crop, made.steps) == (["kd"], (320, 320), 80_000)


def test_the_page_tells_where_every_fragments_constants_come_from() -> None:
    page = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
    first_cells = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    used = {word for row in ROWS.values() for word in row.words if word in fragments()}
    constants = {word for word in used if set(yaml.safe_load(fragments()[word])) - {"data", "inference", "metrics"}}
    assert {word for word in constants - {"camvid"} if f"`{word}`" not in first_cells} == set()
