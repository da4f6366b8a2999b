"""The typed surface: a wrong type in a user's script is found, and the keyword arguments are the recipe's keys."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

import segdistill as sd
from segdistill.recipe.keywords import RecipeKeys
from segdistill.recipe.recipe import Recipe

WRONG = """
import segdistill as sd
import torch

network = sd.load_model("run")
sd.distill("streets", steps="many")
sd.distill(3)
sd.train("streets", batch_size="eight")
sd.train(resume="perhaps")
sd.compare("streets", methods=3)
sd.compare("streets", precision="fp8")
sd.doctor("streets", images="some")
sd.evaluate(3)
sd.evaluate(network, split="half")
sd.predict("run", 3)
sd.predict("run", "photos", alpha="strong")
sd.predict("run", "photos", format="yolo")
sd.profile(3)
sd.profile("run", runs="many")
sd.load_recipe("streets", preset=3)
sd.load_model(3)
sd.create_model("pspnet_r18", "19")
sd.wrap(torch.nn.ReLU(), "19")
sd.create_method(3, student=None, teacher=None, num_classes=2)
sd.load_checkpoint("model", "file")
sd.inspect(3)
sd.convert(3, "out")
sd.prepare(3, root="data")
sd.pretrain(3)
sd.profile_step(3)
sd.show(3)
sd.submit("run", 3, "photos")
sd.report(3)
sd.reproduce(3)
sd.replay(3)
sd.export(3)
sd.benchmark(3)
sd.publish(3, "user/name")
sd.available(3)
sd.explain(3)
sd.schema(3)
sd.Folder(3)
sd.MethodSpec(3)
network.predict(3)
"""


def test_mypy_finds_a_wrong_type_in_every_call(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(WRONG, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(script)]  # strict, by pyproject.toml
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    wrong = {number for number, line in enumerate(WRONG.splitlines(), 1) if line.startswith(("sd.", "network."))}
    # Of a script that it has seen before, mypy repeats the errors with the path that it had then.
    lines = {int(number) for number in re.findall(r"script\.py:(\d+): error:", done.stdout)}
    assert lines == wrong, done.stdout


def test_the_script_calls_every_public_function() -> None:
    functions = {name for name in sd.__all__ if callable(getattr(sd, name)) and not isinstance(getattr(sd, name), type)}
    assert {name for name in functions if f"sd.{name}(" not in WRONG} == set()


def test_keyword_arguments_are_the_keys_of_a_recipe() -> None:
    assert {*RecipeKeys.__annotations__} == {*Recipe.model_fields, "preset"}


def _plain(annotation: Any) -> set[Any]:
    """The types that an annotation allows, without bounds; None for one that a section or object may stand for."""
    if get_origin(annotation) is UnionType or str(get_origin(annotation)) == "typing.Union":
        return {each for part in get_args(annotation) for each in _plain(part)}
    return {get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation}


@pytest.mark.parametrize("key", sorted(Recipe.model_fields))
def test_a_keyword_has_the_type_of_its_key(key: str) -> None:
    theirs, ours = _plain(Recipe.model_fields[key].annotation), _plain(get_type_hints(RecipeKeys)[key])
    assert theirs <= ours or key in ("student", "method"), f"{key}: {theirs - ours}"


@pytest.mark.parametrize("function", [sd.train, sd.distill, sd.compare, sd.doctor])
def test_a_notebook_completes_every_key(function: Any) -> None:
    assert {*inspect.signature(function).parameters} >= {*Recipe.model_fields, "preset", "quiet"}
