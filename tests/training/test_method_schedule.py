"""Several methods at once, each with its weight and its time."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.methods import create_method
from segdistill.models.build import probe
from segdistill.models.open import create_model
from segdistill.recipe.method_schedule import MethodSchedule
from segdistill.recipe.recipe import Recipe, load_recipe
from segdistill.runs.checkpoint import load_state
from segdistill.runtime.display import Display
from segdistill.runtime.interruption import Interrupted
from segdistill.training import loop
from segdistill.training.distiller import Distiller
from segdistill.training.plan import resolve

RECIPE = ("streets", "tiny_pair", "steps=100")


def test_without_a_schedule_a_method_always_counts_in_full() -> None:
    assert {MethodSchedule().factor(step, 50) for step in range(50)} == {1.0}


def test_it_rises_falls_and_ends() -> None:
    schedule = MethodSchedule(weight=2, start=10, warmup=4, decay="linear", stop=24)
    factors = [schedule.factor(step, 100) for step in range(40)]
    assert factors[:10] == [0] * 10
    assert factors[10:14] == [0.5, 1, 1.5, 2]
    assert factors[14:24] == pytest.approx([2 * (1 - i / 10) for i in range(10)])
    assert factors[24:] == [0] * 16


def test_decay_without_an_end_falls_to_the_end_of_the_run() -> None:
    cosine = MethodSchedule(decay="cosine")
    assert [cosine.factor(step, 100) for step in (0, 50, 99)] == pytest.approx([1, 0.5, 0], abs=1e-3)
    assert MethodSchedule(decay="linear").factor(75, 100) == pytest.approx(0.25)
    assert MethodSchedule(stop=20).factor(19, 100) == 1
    assert MethodSchedule(warmup=200).factor(99, 100) == 0.5  # a warm-up may outlast the run


def test_the_recipe_gives_every_method_its_own_and_writes_it_down(tmp_path: Path) -> None:
    recipe = load_recipe(*RECIPE, "kd", "bpkd", "method.bpkd.schedule.warmup=10", "method.bpkd.schedule.stop=50")
    kd, bpkd = recipe.method
    assert kd.schedule == MethodSchedule()
    assert bpkd.schedule == MethodSchedule(warmup=10, stop=50)
    assert bpkd.options == {}
    written = recipe.model_dump(mode="json")
    assert written["method"][0] == {"name": "kd"}  # as it was before there were schedules: old runs go on
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(written))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("method.kd.schedule.warmups=3", ["warmups", "Did you mean 'warmup'"]),
        ("method.kd.schedule.weight=-1", ["schedule.weight", "greater than or equal to 0"]),
        ("method.kd.schedule.decay=poly", ["schedule.decay", "'linear'"]),
        ("method.kd.schedule={start: 5, warmup: 5, stop: 10}", ["stop 10 is not after start 5 and warmup 5"]),
        ("method.kd.schedule.start=100", ["method.kd.schedule.start", "100 steps"]),
    ],
)
def test_what_cannot_be_is_refused(word: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(*RECIPE, "kd", word)
    assert all(part in str(caught.value) for part in words), caught.value


class Watched(nn.Module):
    """A teacher that counts how often it is asked."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.calls = network, 0

    def forward(self, image: Tensor) -> object:
        self.calls += 1
        return self.network(image)


def test_terms_are_scaled_and_idle_methods_and_teachers_rest() -> None:
    student = create_model("mobilenetv2_035_fcn", 8)
    watched = Watched(create_model("mobilenetv2_035_fcn", 8, channels=16))
    example = {"student": probe(student), "teacher": probe(watched.network), "num_classes": 8}
    methods = [create_method("kd", **example), create_method("cwd", **example, source="embedding")]
    schedules = [MethodSchedule(weight=0.5, stop=20), MethodSchedule(start=5, warmup=4, stop=20)]
    plain = Distiller(student, methods, watched).eval()
    distiller = Distiller(student, methods, watched, [partial(s.factor, steps=30) for s in schedules]).eval()
    image = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    label = torch.randint(0, 8, (2, 32, 32), dtype=torch.uint8)
    whole = plain(image, label)

    both = distiller(image, label, 6)
    assert both["task"] == whole["task"]
    assert both["kd"].item() == pytest.approx(0.5 * whole["kd"].item())
    assert both["cwd"].item() == pytest.approx(0.5 * whole["cwd"].item())

    first = distiller(image, label, 0)
    assert first["kd"] == both["kd"]
    assert first["cwd"] == 0

    watched.calls = 0
    last = distiller(image, label, 20)
    assert watched.calls == 0
    assert set(last) == {"task", "cwd"}
    torch.stack(list(last.values())).sum().backward()
    assert last["cwd"] == 0
    # Parameters that rest take part with a gradient of zero, so that processes agree on what is trained.
    assert all(p.grad is not None and not p.grad.any() for p in distiller.methods.parameters())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_a_resting_method_learns_with_stays_as_it_began(
    tiny: tuple[str, ...], tmp_path: Path, precision: str
) -> None:
    methods = "method=[{name: fitnet, schedule: {start: 2}}, {name: maskd, schedule: {start: 2}}]"
    parts = (*tiny, methods, "optimizer.weight_decay=0.9", "optimizer.lr=0.1", "teacher.train.steps=1", "baseline=none")
    words = ["steps=4", "checkpoint_every=2", f"precision={precision}", "validate_every=4", f"out={tmp_path}"]
    segdistill.distill(*parts, *words, quiet=True)
    states = [load_state(tmp_path / "checkpoints" / name)[1]["distiller"] for name in ("previous.pt", "last.pt")]
    (name,) = (name for name in states[0] if name.startswith("methods.0.") and name.endswith("weight"))
    connector = states[0][name]
    assert torch.equal(connector, torch.eye(*connector.shape[:2])[..., None, None])
    assert not torch.equal(connector, states[1][name])


def test_a_resumed_run_with_schedules_is_bit_identical(tiny: tuple[str, ...], tmp_path: Path) -> None:
    methods = "method=[{name: kd, schedule: {warmup: 3, decay: linear, stop: 5}}, {name: cwd, source: embedding, "
    parts = (*tiny, methods + "schedule: {start: 2, decay: cosine}}]", "teacher.train.steps=2", "baseline=none")

    def recipe(name: str) -> Recipe:
        return load_recipe(*parts, out=str(tmp_path / name), checkpoint_every=1)

    resolve(recipe("whole")).run(quiet=True)

    class Ended(Display):
        def step(self, done: int, terms: dict[str, float]) -> None:
            if done == 3:  # the teacher has two
                signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "Display", Ended)
        with pytest.raises(Interrupted, match="after step 3 of 6"):
            resolve(recipe("parts")).run(quiet=True)
    resolve(recipe("parts")).run(resume=True, quiet=True)
    whole, again = ((tmp_path / name / "student.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == again
