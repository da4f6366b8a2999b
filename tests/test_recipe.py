"""Recipes: fragments merge left to right, and what is wrong is named with where it came from."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.recipe.published_rows import published_rows
from segdistill.recipe.recipe import MethodSpec, load_recipe


def test_later_parts_win_and_mappings_merge() -> None:
    recipe = load_recipe("camvid", "mobile_pair", "optimizer.lr=3e-4", "steps=7", batch_size=4)
    assert recipe.optimizer.lr == 3e-4
    assert recipe.optimizer.name == "adamw"
    assert (recipe.steps, recipe.batch_size) == (7, 4)


def test_a_section_means_the_same_as_a_word_in_a_file_and_by_keyword(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("optimizer: {lr: 0.1}\nteacher: {train: {batch_size: 2}}\n")
    recipes = [
        load_recipe("streets", "tiny_pair", "optimizer={lr: 0.1}", "teacher.train={batch_size: 2}"),
        load_recipe("streets", "tiny_pair", tmp_path / "more.yaml"),
        load_recipe("streets", "tiny_pair", optimizer={"lr": 0.1}, teacher={"train": {"batch_size": 2}}),
    ]
    assert recipes[0].optimizer.name == "adamw"
    assert recipes[0].optimizer.lr == 0.1
    assert recipes[0].teacher.train["steps"] == load_recipe("streets", "tiny_pair").teacher.train["steps"]
    assert recipes[0] == recipes[1] == recipes[2]


def test_a_teacher_of_the_zoo_takes_the_place_of_weights() -> None:
    words = ("streets", "tiny_pair", "teacher.weights=runs/a")
    for recipe in (load_recipe(*words, "teacher=pspnet_r18"), load_recipe(*words, teacher="pspnet_r18")):
        assert recipe.teacher.weights is None


def test_a_network_of_parts_replaces_one_that_a_name_stands_for() -> None:
    parts = {"backbone": "mobilenetv2_035", "head": "fcn"}
    for recipe in (
        load_recipe("streets", "mobile_pair", "student={backbone: mobilenetv2_035, head: fcn}"),
        load_recipe("streets", "mobile_pair", student=parts),
    ):
        assert recipe.student is not None
        assert recipe.student.name is None
    more = load_recipe("streets", "mobile_pair", "student={channels: 32}").student
    assert more is not None
    assert (more.name, more.channels) == ("mobilenetv2_deeplabv3plus", 32)


@pytest.mark.parametrize("text", ["steps: 7\noptimizer: {lr: 0.5}\nsteps: 9", "optimizer: {lr: 0.5,\n  lr: 0.1}"])
def test_a_key_that_a_file_gives_twice_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"twice\.yaml.*key '(steps|lr)' is given twice.*line [23]"):
        load_recipe("streets", tmp_path / "twice.yaml")


@pytest.mark.parametrize("name", ["my run #2", "2024-01-01", "20240101", "#1", "set#3", "1 # 2"])
def test_a_folder_may_have_any_name(name: str) -> None:
    recipe = load_recipe("camvid", f"out={name}", f"data.root=/data/{name}")
    assert recipe.out == Path(name)
    assert recipe.data.model_extra == {"root": f"/data/{name}"}


def test_methods_join_and_their_options_are_reached_by_name() -> None:
    recipe = load_recipe("streets", "tiny_pair", "kd", "bpkd", "method.bpkd.edge_weight=7", "method.kd.temperature=2")
    assert [(method.name, method.options) for method in recipe.method] == [
        ("kd", {"temperature": 2}),
        ("bpkd", {"edge_weight": 7}),
    ]
    assert [method.name for method in load_recipe("streets", "kd", "method=[cwd]").method] == ["cwd"]


def test_another_data_set_replaces_the_options_of_the_first() -> None:
    assert load_recipe("camvid", "data.root=/x", "streets").data.model_extra == {}


def test_a_bare_network_name_takes_options() -> None:
    recipe = load_recipe("streets", "student=mobilenetv2_pspnet", "student.channels=32")
    assert recipe.student is not None
    assert (recipe.student.backbone, recipe.student.channels) == ("mobilenetv2_100", 32)


def test_the_teacher_trains_with_its_own_keys_over_the_recipes() -> None:
    recipe = load_recipe("streets", "mobile_pair", "teacher.train.optimizer.lr=0.5", "steps=9", "teacher.train.steps=3")
    training = recipe.teacher_training()
    assert (training.steps, training.optimizer.lr, training.optimizer.name) == (3, 0.5, "adamw")
    assert recipe.training().steps == 9


def test_a_resolved_recipe_loads_again_as_itself(tmp_path: Path) -> None:
    import yaml

    recipe = load_recipe("camvid", "mobile_pair", "kd", "cwd", "method.cwd.source=embedding", "seed=3")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (["camvid", "stepz=3"], ["'stepz'", "'steps'", "'stepz=3'"]),
        (["camvid", "optimizer.lrr=3"], ["'optimizer.lrr'", "'lr'", "'optimizer.lrr=3'"]),
        (["camvid", "steps=many"], ["'steps'", "'many'", "'steps=many'"]),
        (["camvid", "steps=true"], ["'steps'", "not a switch"]),
        (["camvid", "kd", "method.kd.weight=true"], ["'method.kd.weight'", "not a switch"]),
        (["camvid", "data.rot=/x"], ["'data.rot'", "'root'", "'data.rot=/x'"]),
        (["camvid", "bpkd", "method.bpkd.edge_wait=1"], ["'method.bpkd.edge_wait'", "'edge_weight'"]),
        (["camvid", "bpkd", "method.kd.weight=1"], ["no method 'kd'", "bpkd"]),
        (["camvid", "kd", "method.kd.temperature=0"], ["'method.kd.temperature'", "greater than 0"]),
        (["camvid", "mobile_pairs"], ["'mobile_pairs'", "'mobile_pair'"]),
        (["camvid", "mobile_pair", "student.hed=fcn"], ["'student.hed'", "'head'"]),
        (["camvid", "student=mobilenet_pspnet"], ["'mobilenet_pspnet'", "'mobilenetv2_pspnet'"]),
        (["camvid", "mobile_pair", "teacher.train.stepz=3"], ["'teacher.train.stepz'", "'steps'"]),
        (["camvid", "batch_size=8", "grad_accumulation=3"], ["batch_size 8", "grad_accumulation 3"]),
        (["camvid", "steps.a=1", "steps.b.c=1"], ["steps"]),
        (["mobile_pair"], ["'data'", "missing"]),
        (["camvid", "missing.yaml"], ["missing.yaml"]),
    ],
)
def test_errors_name_the_key_its_origin_and_the_nearest(parts: list[str], words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(*parts)
    assert all(word in str(caught.value) for word in words), caught.value


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("data: {name: streets}\noptimiser: {lr: 1}\n")
    with pytest.raises(RecipeError, match=r"'optimiser'.*'optimizer'.*mine\.yaml"):
        load_recipe(tmp_path / "mine.yaml")
    (tmp_path / "broken.yaml").write_text("data: [")
    with pytest.raises(RecipeError, match=r"broken\.yaml is not valid YAML"):
        load_recipe(tmp_path / "broken.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "seed: 1",
        "method: [kd]",
        "data: {name: street}",
        "{data: {name: streets}, method: [kdd]}",
        "{data: {name: streets}, batch_size: 5, grad_accumulation: 2}",
        "{data: {name: streets}, student: {3: 4}}",
        "{data: {name: streets}, inference: whole}",
        "{data: {name: streets}, 3: 4}",
    ],
)
def test_what_a_recipe_of_a_run_lacks_or_gets_wrong_is_named_with_its_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match=re.escape(str(tmp_path / "recipe.yaml"))):
        load_recipe(tmp_path / "recipe.yaml", "augment.scale=[1,1]")


def test_a_run_whose_recipe_lost_its_data_set_is_named_with_the_file(
    tiny: tuple[str, ...], tmp_path: Path, segdistill: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    assert segdistill("train", *tiny, "steps=1", f"out={tmp_path}/run").returncode == 0
    file = tmp_path / "run" / "recipe.yaml"
    recipe = yaml.safe_load(file.read_text())
    del recipe["data"]
    file.write_text(yaml.safe_dump(recipe))
    done = segdistill("evaluate", tmp_path / "run", "data.count=2")
    assert done.returncode == 1
    assert "'data.name' is missing" in done.stderr
    assert str(file) in " ".join(done.stderr.split())


def test_a_rate_that_came_with_another_batch_is_warned_of_or_scaled(tmp_path: Path) -> None:
    row = ["cirkd/cityscapes/deeplabv3_r18/cirkd", "data.root=/x"]  # SGD 0.02 with a batch of 16
    assert load_recipe(*row).warning == ""
    left = load_recipe(*row, "batch_size=8")
    assert left.optimizer.lr == 0.02
    assert "batch_size is 8, and the learning rate 0.02 came with one of 16" in left.warning
    assert "auto_scale_lr=true would make it 0.01" in left.warning
    scaled = load_recipe(*row, "batch_size=8", "auto_scale_lr=true")
    assert scaled.optimizer.lr == 0.01
    assert "scaled to 0.01" in scaled.warning
    assert load_recipe(*row, batch_size=8, auto_scale_lr=True).optimizer.lr == 0.01
    # A run's own recipe is not scaled once more.
    (file := tmp_path / "recipe.yaml").write_text(yaml.safe_dump(scaled.model_dump(mode="json")))
    again = load_recipe(file)
    assert (again.optimizer.lr, again.warning) == (0.01, "")


def test_a_rate_and_a_batch_that_belong_together_are_left_alone() -> None:
    words = ["batch_size=8", "auto_scale_lr=true"]
    recipes = (["cirkd_40k", "optimizer.lr=0.5"], ["cirkd_40k", "optimizer={name: sgd, lr: 0.5}"], ["optimizer.lr=0.5"])
    for parts in recipes:
        recipe = load_recipe("streets", *parts, *words)
        assert (recipe.optimizer.lr, recipe.warning) == (0.5, "")
    plain = load_recipe("streets", *words)  # no fragment says what batch the usual rate is for
    assert (plain.optimizer.lr, plain.warning) == (0.01, "")
    assert {load_recipe(row, "data.root=/x").warning for row in published_rows()} == {""}


def test_the_rate_of_a_teacher_that_is_trained_is_scaled_too() -> None:
    words = ("streets", "modern_pair", "batch_size=4", "auto_scale_lr=true")  # a third of the pair's
    teacher = load_recipe(*words, "role=teacher")
    assert teacher.teacher_training().optimizer.lr == pytest.approx(0.00002)
    assert "the teacher's learning rate 6e-05 came with one of 12. It is scaled to 2e-05" in teacher.warning
    both = load_recipe(*words)
    assert both.teacher_training().optimizer.lr == pytest.approx(0.00002)
    assert "They are scaled to 0.00333333 and 2e-05" in both.warning
    given = load_recipe(*words, "teacher.weights=runs/teacher")
    assert "teacher" not in given.warning


def test_training_says_so(tiny: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file := tmp_path / "tuned.yaml").write_text("{batch_size: 16, optimizer: {lr: 0.02}}")
    segdistill.train(file, *tiny, "steps=1", out=tmp_path / "run")
    assert capsys.readouterr().err.count("came with one of 16") == 1


def test_a_teacher_in_parts_is_not_cached() -> None:
    with pytest.raises(RecipeError, match="shard keeps the teacher in parts"):
        load_recipe("streets", "tiny_pair", "kd", "teacher.shard=true", "teacher.cache=logits")


def test_a_wrong_choice_names_the_key_and_what_there_is() -> None:
    with pytest.raises(RecipeError, match="Key 'compile': Input should be 'auto', True or False, found 'maybe'"):
        load_recipe("streets", "tiny_pair", "compile=maybe")


def test_a_key_of_several_types_is_named_once_and_without_their_inner_names() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("folder", "tiny_pair", "data.root=here", "data.classes=5")
    assert str(caught.value) == (
        "Key 'data.classes': Input should be a valid list, or should be a path, found 5. (set in 'data.classes=5')"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run=x"], "Key 'run' is called 'out' now."),
        (["accumulate=2"], "Key 'accumulate' is called 'grad_accumulation' now."),
        (["teacher.run=x"], "Key 'teacher.run' is called 'teacher.weights' now."),
        (["teacher.train.accumulate=2"], "Key 'teacher.train.accumulate' is called 'teacher.train.grad_accumulation'"),
        (["augment.pad_colour=[0,0,0]"], "Key 'augment.pad_colour' is called 'augment.pad_color' now."),
        (["kd", "method.kd.standardise=true"], "Key 'method.kd.standardise' is called 'method.kd.standardize' now."),
        (["openmmlab"], "The fragment 'openmmlab' is called 'openmmlab_pipeline' now."),
    ],
)
def test_a_renamed_key_is_answered_with_its_new_name(words: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        load_recipe("streets", *words)


@pytest.mark.parametrize("key", ["colours", "mask_colours"])
def test_a_renamed_key_of_a_data_set_is_answered_with_its_new_name(key: str) -> None:
    with pytest.raises(RecipeError, match=f"Key 'data.{key}' is called 'data.{key.replace('colours', 'colors')}' now."):
        load_recipe("folder", f"data.{key}=true")


@pytest.mark.parametrize(
    "word", ["optimizer.lr=.inf", "optimizer.head_lr=.inf", "clip_grad=.inf", "augment.scale_step=.inf",
             "augment.scale=[0.5,.inf]", "augment.scale=[0,2]"],
)  # fmt: skip
def test_a_number_that_no_run_can_have_is_refused(word: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(f"'{word}'")):
        load_recipe("streets", "tiny_pair", word)


def test_numbers_of_numpy_are_written_as_plain_ones() -> None:
    def loaded(whole: Callable[[int], Any], fraction: Callable[[float], Any]) -> Any:
        return load_recipe(
            "streets",
            "tiny_pair",
            data={"count": whole(4)},
            teacher={"train": {"steps": whole(3)}},
            method=["at", {"name": "kd", "temperature": fraction(3)}, MethodSpec("cwd", temperature=fraction(2))],
            student={"backbone": "mobilenetv2_035", "head": {"name": "fcn", "convs": whole(1)}},
        ).model_dump(mode="json")

    assert loaded(np.int64, np.float32) == loaded(int, float)


def test_no_preset_is_none() -> None:
    assert load_recipe("streets", preset=None) == load_recipe("streets")


def test_a_wrong_argument_is_named() -> None:
    with pytest.raises(RecipeError, match="Key 'images': expected a number of at least 1 or 'all', found 'some'"):
        segdistill.doctor("streets", images="some")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r"called \['methods'\]. Did you mean 'methods'"):
        segdistill.available(["methods"])  # type: ignore[arg-type]
