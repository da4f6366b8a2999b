"""The JSON schema of a recipe takes what recipes take and refuses what they refuse, and says what each key is."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from segdistill.commands.schema import schema
from segdistill.recipe.keys import recipe_keys
from segdistill.recipe.published_rows import published_rows
from segdistill.recipe.recipe import load_recipe
from segdistill.recipe.words import fragments


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def test_every_fragment_is_a_recipe_to_the_schema(validator: jsonschema.Draft202012Validator) -> None:
    for name, text in fragments().items():
        assert not list(validator.iter_errors(yaml.safe_load(text))), name


@pytest.mark.parametrize("row", [*published_rows()][::23])
def test_a_run_s_recipe_is_one_to_the_schema(row: str, validator: jsonschema.Draft202012Validator) -> None:
    written = load_recipe(row, "data.root=/x").model_dump(mode="json")
    assert [error.message for error in validator.iter_errors(written)] == []


GOOD: list[dict[str, Any]] = [
    {"student": "mobilenetv2_pspnet", "method": "kd", "augment": {"crop": "512x1024"}},
    {"student": {"name": "mobilenetv2_pspnet", "channels": 32}, "method": ["kd", {"name": "cwd", "temperature": 2}]},
    {"teacher": {"weights": ["a", {"weights": "b", "input_scale": 2}], "train": {"steps": 3}}},
    {"data": {"name": "folder", "root": "my_data", "classes": ["road", "car"], "extra": "more"}},
]


@pytest.mark.parametrize("recipe", GOOD)
def test_short_forms_are_taken(recipe: dict[str, Any], validator: jsonschema.Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors(recipe)] == []


BAD: list[dict[str, Any]] = [
    {"stepz": 3},
    {"steps": 0},
    {"steps": "many"},
    {"optimizer": {"lrr": 0.1}},
    {"augment": {"crop": "512"}},
    {"data": {"name": "streets", "rot": "x"}},
    {"method": {"name": "kd", "temprature": 4}},
    {"method": [{"name": "kd", "temperature": 0}]},
    {"teacher": {"train": {"stepz": 3}}},
]


@pytest.mark.parametrize("recipe", BAD)
def test_what_a_recipe_refuses_is_refused(recipe: dict[str, Any], validator: jsonschema.Draft202012Validator) -> None:
    assert list(validator.iter_errors(recipe))


def test_the_schema_says_of_each_key_what_it_is() -> None:
    made = schema()
    rate = made["$defs"]["OptimizerConfig"]["properties"]["lr"]
    assert rate["description"] == recipe_keys()["optimizer.lr"].description
    assert (rate["exclusiveMinimum"], rate["default"]) == (0, 0.01)
