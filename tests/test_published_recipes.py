"""Every row of the published tables parses, builds its networks and trains a step on its data set's layout."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from layouts import SMALL

from segdistill.core.outputs import SegOutput
from segdistill.data.loading import Share, training_batches
from segdistill.data.stream import Stream
from segdistill.evaluation.scoring import count
from segdistill.methods import create_method
from segdistill.models.build import outline, probe
from segdistill.models.network import SegmentationNetwork
from segdistill.models.shapes import Shapes
from segdistill.models.skip_init import skip_init
from segdistill.models.spec import NetworkSpec
from segdistill.recipe.published_rows import published_rows
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.recipe.words import fragments
from segdistill.training.plan import resolve
from segdistill.training.schedule import make_optimizer, own_optimizers, set_rate

ROWS = published_rows()
CLASSES = {"cityscapes": 19, "ade20k": 150, "pascal_context": 59, "voc": 21, "camvid": 11}


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
        explained = fragments()[word].startswith("# ") if word in fragments() else word in row.origins
        assert explained or word.startswith(("student=", "teacher.network=", "role=")), word


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
def _made(spec: str, num_classes: int) -> tuple[SegmentationNetwork, SegOutput]:
    network = outline(NetworkSpec.model_validate_json(spec), num_classes)
    with Shapes():
        return network, probe(network)


def on_meta(spec: NetworkSpec | None, num_classes: int) -> tuple[SegmentationNetwork, SegOutput]:
    """The network without contents, and its outputs."""
    assert spec is not None
    return _made(spec.model_dump_json(), num_classes)


@pytest.mark.parametrize("pair", dict.fromkeys(name.rpartition("/")[0] for name in ROWS))
def test_the_networks_of_a_pair_are_built_and_go_with_its_methods(pair: str) -> None:
    for name in (name for name in ROWS if name.startswith(f"{pair}/")):
        made, num_classes = recipe(name), classes(name)
        networks = {"student": made.student, "teacher": made.teacher.network}
        examples = {role: on_meta(spec, num_classes)[1] for role, spec in networks.items()}
        if made.method:
            assert examples["student"].logits.shape == examples["teacher"].logits.shape
        with torch.device("meta"), skip_init():
            for method in made.method:
                create_method(method.name, **examples, num_classes=num_classes, **method.options)


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith("bpkd/ade20k")])
def test_parameters_are_those_that_were_printed(name: str) -> None:
    """The paper's tables print those of the networks for ADE20K, the auxiliary head included."""
    row, made = ROWS[name], recipe(name)
    network, _ = on_meta(made.teacher.network if row.role == "teacher" else made.student, 150)
    assert row.parameters == round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2)


# --- One step -------------------------------------------------------------------------------------------------------


def _kinds() -> list[str]:
    """Rows that together have each word of each table: its data sets, methods, schedules and protocols."""
    kinds: list[str] = []
    had: set[tuple[str, str]] = set()
    for name, row in ROWS.items():
        parts = [word for word in row.words if not word.startswith(("student", "teacher.network", "teacher.train"))]
        words = {(name.split("/")[0], word) for word in parts}
        if words - had:
            kinds.append(name)
            had |= words
    return kinds


@pytest.mark.parametrize("name", _kinds())
def test_a_step_trains_and_its_protocol_scores(name: str, roots: dict[str, Path]) -> None:
    data = recipe(name).data.name
    small = (*SMALL, f"data.root={roots[data]}", "batch_size=2", "teacher.train.batch_size=2")
    made = load_recipe(name, *small, "baseline=none", "out=run")
    task = resolve(made, distills=bool(made.method)).task_with_teacher()
    method_optimizers = own_optimizers(task.distiller.methods)
    optimizer = make_optimizer(task.config.optimizer, task.network, task.distiller.methods, method_optimizers)
    set_rate(optimizer, task.config.schedule.factor(0, task.config.steps))
    stream = Stream(task.data, made.augment, task.config.seed)
    (batch,) = training_batches(stream, Share(task.config.batch_size), start=0, stop=1, workers=0)
    before = {key: value.clone() for key, value in task.network.named_parameters()}
    terms = task.distiller.train()(batch.image, batch.label)
    assert {term.partition("/")[0] for term in terms} == {"task", "auxiliary", *(each.name for each in made.method)}
    assert all(value.isfinite() for value in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    for each in (optimizer, *method_optimizers):
        each.step()
    moved = [key for key, value in task.network.named_parameters() if not torch.equal(value, before[key])]
    assert len(moved) > 0.9 * len(before)
    metrics = made.metrics.confusion_only()
    scores = count(task.network.eval(), task.validation, inference=made.inference, metrics=metrics).quality().scores
    assert 0 <= scores.miou <= 100
    assert len(scores.iou) == classes(name)
