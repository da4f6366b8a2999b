"""What `recipe` and `explain` say, and that it comes from where it is defined."""

from __future__ import annotations

import pytest

from segdistill.commands.explain import explain
from segdistill.commands.recipe import recipe
from segdistill.core.errors import RecipeError
from segdistill.recipe.keys import changeable_keys, option_keys, recipe_keys


@pytest.mark.parametrize("name", [*recipe_keys(), *[*option_keys()][::7]])
def test_every_key_is_explained_with_type_default_and_place(name: str) -> None:
    (explanation,) = [each for each in explain(name) if each.kind == "key"]
    assert explanation.text.endswith(".") or explanation.facts.get("of")
    assert explanation.facts["type"]
    assert explanation.facts["default"]
    assert explanation.facts["defined in"].endswith(".py")


def test_a_key_has_its_bounds_and_says_whether_a_resumed_run_may_change_it() -> None:
    (rate,) = explain("optimizer.lr")
    assert rate.facts["type"] == "a number, above 0"
    assert rate.facts["default"] == "0.01"
    assert rate.facts["a resumed run may change it"].startswith("no")
    assert explain("workers")[0].facts["a resumed run may change it"] == "yes"
    assert {"out", "workers", "teacher.check", "on_nonfinite"} <= changeable_keys()
    assert not {"steps", "seed", "teacher.weights", "data.name"} & changeable_keys()


def test_ends_and_options_of_keys_are_found() -> None:
    assert [each.name for each in explain("lr")] == ["optimizer.lr"]
    assert {each.name for each in explain("crop")} == {"augment.crop", "inference.crop"}
    assert explain("method.kd.temperature")[0].facts["of"] == "method kd"
    assert {"data.camvid.root", "data.folder.root"} <= {each.name for each in explain("data.root")}
    assert explain("method.kd.schedule.stop")[0].name == "method.kd.schedule.stop"
    assert explain("teacher.train.steps")[0].facts["default"] == "40000"


def test_methods_data_sets_networks_and_fragments_are_explained() -> None:
    (kd,) = explain("kd")
    assert (kd.kind, kd.facts["defined in"]) == ("method", "methods/kd.py")
    assert "Hinton" in kd.facts["source"]
    assert "method.kd.temperature" in [key.path for key in kd.options]
    assert [each.kind for each in explain("camvid")] == ["data", "data set"]
    assert explain("mobilenetv2_pspnet")[0].kind == "network"
    assert "steps: 1000" in explain("preset:short")[0].facts["sets"]
    assert "kd" in explain("cirkd/camvid/deeplabv3_r18/cirkd")[0].facts["recipe"]
    with pytest.raises(RecipeError, match="Did you mean 'bpkd'"):
        explain("bpdk")


def test_a_recipe_is_taken_apart_into_words_keys_and_what_set_them() -> None:
    done = recipe("camvid", "mobile_pair", "kd", "steps=7", "steps=9", batch_size=3)
    assert [(word.text, word.kind) for word in done.words] == [
        ("camvid", "data"), ("mobile_pair", "pair"), ("kd", "method"), ("steps=7", "key"), ("steps=9", "key"),
    ]  # fmt: skip
    keys = {key.path: key for key in done.keys}
    assert (keys["steps"].value, keys["steps"].origin) == (9, "'steps=9'")
    assert keys["steps"].replaced[-1] == "'steps=7'"
    assert keys["batch_size"].origin == "the call's keyword arguments"
    assert keys["data.name"].origin == "fragment 'camvid'"
    assert keys["precision"].origin == "the default"
    assert done.problems == ()
    assert {path.partition(".")[0] for path in keys} >= {"data", "student", "teacher", "method", "optimizer", "augment"}


def test_a_recipe_that_cannot_run_says_why_and_is_still_shown() -> None:
    done = recipe("mobile_pair", "stepz=3")
    assert any("'stepz'" in problem for problem in done.problems)
    assert any("'data'" in problem for problem in done.problems)
    assert "stepz" in {key.path for key in done.keys}
    row = recipe("cirkd/camvid/deeplabv3_r18/cirkd", "data.root=/x")
    assert [word.kind for word in row.words][:2] == ["row", "schedule"]
    assert recipe("camvid", "mobile_pair").warnings == ("No method is named: distill takes bpkd and canonical.",)
    assert recipe("camvid", "mobile_pair", "role=teacher").warnings == ()
    assert "train needs one" in recipe("camvid", "role=teacher").warnings[0]
