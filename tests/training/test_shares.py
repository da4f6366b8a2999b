"""Methods as loud as the task: measured in the first steps, frozen, the same after a resume and over processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import segdistill
from segdistill.core.classes import UNLABELED
from segdistill.core.errors import RecipeError
from segdistill.core.outputs import SegOutput
from segdistill.data.datasets.streets import Streets
from segdistill.methods import create_method
from segdistill.methods.base import Method, method_class
from segdistill.models.build import build, probe
from segdistill.models.spec import NetworkSpec
from segdistill.recipe.recipe import load_recipe
from segdistill.training.distiller import Distiller
from segdistill.training.gradient_shares import GradientShares
from segdistill.training.plan import resolve
from segdistill.training.task import make_task

SMALL = {"backbone": "test_resnet", "head": "fcn", "channels": 8, "output_stride": 16, "dropout": 0.0}


def _distiller(methods: list[tuple[str, dict[str, Any]]], shares: GradientShares) -> Distiller:
    torch.manual_seed(0)
    student, teacher = build(NetworkSpec(**SMALL), 4), build(NetworkSpec(**SMALL), 4)
    example = {"student": probe(student), "teacher": probe(teacher), "num_classes": 4}
    made = [create_method(name, **example, **options) for name, options in methods]
    return Distiller(student, made, teacher, shares=shares).eval()


def _batch(seed: int, images: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 255, (images, 3, 48, 64), dtype=torch.uint8, generator=generator)
    return image, torch.randint(0, 4, (images, 48, 64), dtype=torch.uint8, generator=generator)


def _norms(distiller: Distiller, batch: tuple[Tensor, Tensor], step: int) -> dict[str, float]:
    """Of each term's gradient at the last map of the student's backbone, by plain autograd."""
    maps: list[Tensor] = []
    handle = distiller.student.register_forward_hook(lambda module, inputs, output: maps.append(output.features[-1]))
    terms = distiller(*batch, step)
    handle.remove()
    terms["task"] = terms["task"] + terms.pop("auxiliary", 0)
    return {
        name: float(torch.autograd.grad(value, maps[0], retain_graph=True, allow_unused=True)[0].norm())
        for name, value in terms.items()
    }


def test_every_term_gets_its_part_of_the_share() -> None:
    distiller = _distiller([("kd", {}), ("bpkd", {})], GradientShares([0.5, 2.0], length=1))
    batch = _batch(0)
    assert all(value == 0 for name, value in _norms(distiller, batch, 0).items() if name != "task")  # being measured
    norms = _norms(distiller, batch, 1)
    for name, share in (("kd", 0.5), ("bpkd/body", 1.0), ("bpkd/edge", 1.0)):
        assert norms[name] == pytest.approx(share * norms["task"], rel=1e-4), name


def test_factors_are_of_all_measured_steps_and_then_fixed() -> None:
    distiller = _distiller([("kd", {})], GradientShares([1.0], length=2))
    plain = _distiller([("kd", {})], GradientShares([None], length=2))
    squares = {"task": 0.0, "kd": 0.0}
    for step in range(2):
        distiller(*_batch(step), step)
        for name, norm in _norms(plain, _batch(step), step).items():
            squares[name] += norm**2
    expected = (squares["task"] / squares["kd"]) ** 0.5
    for step in (2, 7):
        factor = distiller(*_batch(step), step)["kd"] / plain(*_batch(step), step)["kd"]
        assert factor.item() == pytest.approx(expected, rel=1e-2)  # of random networks KL is tiny: float32 rounds it


class Late(Method):
    """Says nothing where an image's first pixel has class 0, as a term of edges does where there are none."""

    needs = frozenset({"logits", "label"})

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        assert label is not None
        gap = (student.logits - teacher.logits).square().mean()
        return {"always": gap, "late": gap * (label[0, 0, 0] != 0)}


def _late(length: int) -> Distiller:
    distiller = _distiller([], GradientShares([0.5], length=length))
    example = probe(distiller.student)
    methods = [Late(example, example, 4)]
    return Distiller(distiller.student, methods, distiller.teacher, shares=distiller.shares).eval()


def test_a_term_without_a_gradient_yet_waits_until_it_can_be_measured() -> None:
    distiller = _late(length=1)
    image, label = _batch(0)
    for step in range(3):
        label[0, 0, 0] = 0
        assert distiller(image, label, step)["late"] == 0
    assert distiller.shares.waiting(0, 3) == ["late"]
    assert distiller.measures(3)
    again = _late(length=1)  # a run that is continued
    again.shares.load_state_dict(distiller.shares.state_dict())
    for each in (distiller, again):
        label[0, 0, 0] = 1
        assert each(image, label, 3)["late"] == 0  # measured now
        assert not each.measures(4)
        norms = _norms(each, (image, label), 4)
        assert norms["late"] == pytest.approx(0.25 * norms["task"], rel=1e-4)
        assert norms["always"] == pytest.approx(0.25 * norms["task"], rel=1e-2)  # whose factor is of step 0
        assert [*each.shares.fixed_at(4)] == [0]


def test_the_order_of_micro_batches_with_and_without_labels_does_not_matter() -> None:
    image, label = _batch(0)
    label[2:] = UNLABELED
    factors = []
    for order in ((0, 2), (2, 0)):
        parts = _distiller([("at", {})], GradientShares([1.0], length=1))
        for at in order:
            assert parts(image[at : at + 2], label[at : at + 2], 0)["at"] == 0
        factors.append(parts.shares.factors(0)["at"])
    assert factors[0] == pytest.approx(factors[1], rel=1e-6)


@pytest.mark.parametrize(("name", "options", "term"), [("dist", {}, "dist/inter"), ("kd", {"standardize": True}, "kd")])
def test_the_noise_that_two_classes_leave_of_a_term_is_not_made_loud(
    name: str, options: dict[str, Any], term: str
) -> None:
    student, teacher = build(NetworkSpec(**SMALL), 2), build(NetworkSpec(**SMALL), 2)
    example = {"student": probe(student), "teacher": probe(teacher), "num_classes": 2}
    method = create_method(name, **example, **options)
    image, label = _batch(0)
    terms = []
    for share in (1.0, None):
        distiller = Distiller(student, [method], teacher, shares=GradientShares([share], length=1)).eval()
        distiller(image, label % 2, 0)
        terms.append(distiller(image, label % 2, 1)[term].item())
        assert term not in distiller.shares.factors(0)
    assert terms[0] == terms[1]


def test_without_any_labels_terms_count_as_they_are(tmp_path: Path) -> None:
    words = ["streets", "tiny_pair", "kd", "teacher.weights=streets_teacher", f"out={tmp_path}"]
    labelled = resolve(load_recipe(*words), distills=True).task_with_teacher()
    assert labelled.distiller.measures(0)
    images = tmp_path / "images"
    images.mkdir()
    for index in range(10):
        Image.effect_noise((96, 96), 50 + index).convert("RGB").save(images / f"{index}.png")
    words += ["folder", f"data.root={tmp_path}", "data.labels=none", f"data.classes={list(Streets.classes.names)}"]
    assert not resolve(load_recipe(*words[2:], "tiny_pair"), distills=True).task_with_teacher().distiller.measures(0)


def test_a_schedule_that_ends_before_the_method_is_measured_is_refused(tmp_path: Path) -> None:
    words = ["streets", "tiny_pair", "kd", "teacher.weights=streets_teacher", f"out={tmp_path}", "steps=200"]
    short = load_recipe(*words, "method.kd.schedule={start: 100, stop: 104}")
    with pytest.raises(RecipeError, match=r"it counts in 4 steps.*first 4 .*share=null"):
        resolve(short, distills=True).task_with_teacher()
    resolve(load_recipe(short, "method.kd.share=null"), distills=True).task_with_teacher()


class Early(Method):
    """The finest stages differ little."""

    needs = frozenset({"features"})

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        return {"early": (student.features[0] - teacher.features[0]).square().mean()}


def test_a_term_is_compared_at_the_last_stage_that_it_reaches() -> None:
    distiller = _distiller([], GradientShares([0.5], length=1))
    example = probe(distiller.student)
    distiller.methods = nn.ModuleList([Early(example, example, 4)])
    batch = _batch(0)
    distiller = Distiller(distiller.student, distiller.methods, distiller.teacher, shares=distiller.shares).eval()
    distiller(*batch, 0)
    maps: list[Tensor] = []
    distiller.student.register_forward_hook(lambda module, inputs, output: maps.append(output.features[0]))
    terms = distiller(*batch, 1)
    early, task = (
        torch.autograd.grad(value, maps[0], retain_graph=True)[0].norm()
        for value in (terms["early"], terms["task"] + terms.get("auxiliary", 0))
    )
    torch.testing.assert_close(early, 0.5 * task)


def test_micro_batches_measure_what_the_batch_does() -> None:
    image, label = _batch(0)
    whole = _distiller([("kd", {})], GradientShares([1.0], length=1))
    parts = _distiller([("kd", {})], GradientShares([1.0], length=1))
    whole(image, label, 0)
    for half in (slice(0, 2), slice(2, 4)):
        parts(image[half], label[half], 0)
    assert parts.shares.factors(0)["kd"] == pytest.approx(whole.shares.factors(0)["kd"], rel=1e-4)


def test_images_without_labels_count_alike_in_any_micro_batch() -> None:
    image, label = _batch(0)
    label[2:] = UNLABELED
    whole = _distiller([("kd", {})], GradientShares([1.0], length=1))
    parts = _distiller([("kd", {})], GradientShares([1.0], length=1))
    whole(image, label, 0)
    for half, share in ((slice(0, 2), 2.0), (slice(2, 4), 0.0)):
        parts(image[half], label[half], 0, share=torch.tensor(share))
    assert parts.shares.factors(0)["kd"] == pytest.approx(whole.shares.factors(0)["kd"], rel=1e-4)


@pytest.mark.parametrize("size", [1e-9, 1e-5])
def test_a_gradient_that_is_small_in_half_precision_is_measured(size: float) -> None:
    maps = torch.ones(1, 1, 2, 2, dtype=torch.float16, requires_grad=True)
    output = SegOutput(logits=maps, embedding=maps, features=())
    shares = GradientShares([1.0], length=1)
    shares.scaled(0, {"flat": (size * maps.float()).sum()}, (10 * maps).sum(), output, 0)
    assert shares.factors(0)["flat"] == pytest.approx(10 / size, rel=2e-2)


def test_a_gradient_that_is_large_in_half_precision_is_measured() -> None:
    maps = torch.ones(1, 1, 2, 2, dtype=torch.float16, requires_grad=True)
    output = SegOutput(logits=maps, embedding=maps, features=())
    shares = GradientShares([1.0], length=1)
    shares.scaled(0, {"steep": (1000 * maps).sum()}, (10 * maps).sum(), output, 0)
    assert shares.factors(0)["steep"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("words", "shares"),
    [
        (["kd"], [1.0]),
        (["kd", "method.kd.weight=3"], [None]),
        (["kd", "method.kd.weight=3", "method.kd.share=0.5"], [0.5]),
        (["kd", "method.kd.share=null"], [None]),
        (["bpkd_published"], [None]),
        (["bpkd", "method.bpkd.alpha=3"], [None]),
        (["bpkd", "method.bpkd.edge_radius=5"], [1.0]),
        (["at", "method.at.as_published=true"], [None]),
        (["at", "method.at.as_published=false"], [1.0]),
        (["skds", "adversary"], [1.0, None]),
    ],
)
def test_weights_of_the_recipe_count_as_they_are(words: list[str], shares: list[float | None]) -> None:
    recipe = load_recipe("streets", "tiny_pair", *words)
    assert [spec.share_of(method_class(spec.name)) for spec in recipe.method] == shares


def test_a_share_is_a_number() -> None:
    with pytest.raises(RecipeError, match=r"method\.0\.share|method\.kd\.share"):
        load_recipe("streets", "tiny_pair", "kd", "method.kd.share=loud")


def test_the_run_says_what_it_measured(tiny: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    segdistill.distill(*tiny, "bpkd", "steps=3", "teacher.train.steps=1", "baseline=none", f"out={run}", quiet=True)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (measured,) = (line["factors"] for line in lines if line["kind"] == "shares")
    assert measured.keys() == {"bpkd/body", "bpkd/edge"}
    assert measured["bpkd/body"] > measured["bpkd/edge"] > 0  # the published edge weight is far too loud


def test_the_teacher_alone_and_the_student_alone_have_no_shares() -> None:
    task = make_task(load_recipe("streets", "tiny_pair", "kd"), "student")
    assert len(task.distiller.methods) == 0
