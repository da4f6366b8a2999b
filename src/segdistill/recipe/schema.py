"""The JSON schema of a recipe file, for editors and other tools; made from the types that check recipes."""

from __future__ import annotations

from typing import Any

from segdistill.core.discovery import options_of
from segdistill.data import dataset_names
from segdistill.methods import method_names
from segdistill.recipe.recipe import Recipe
from segdistill.recipe.training import TrainingConfig

_REFERENCE = "#/$defs/{model}"


def recipe_schema() -> dict[str, Any]:
    """What a recipe file may hold, as JSON schema (draft 2020-12). No key is required: files are parts of recipes.

    Returns:
        The schema, with the descriptions, defaults and bounds of all keys.
    """
    schema = Recipe.model_json_schema(ref_template=_REFERENCE)
    sections: dict[str, Any] = schema["$defs"]
    training = TrainingConfig.model_json_schema(ref_template=_REFERENCE)
    sections |= training.pop("$defs")
    sections["TrainingConfig"] = training
    sections["TeacherConfig"]["properties"]["train"] |= {"$ref": "#/$defs/TrainingConfig"}
    sections["TeacherConfig"]["properties"]["train"].pop("additionalProperties", None)
    sections["TeacherConfig"]["properties"]["train"].pop("type", None)
    _name_options(sections, "DatasetConfig", dict(dataset_names()))
    _name_options(sections, "MethodSpec", dict(method_names()))
    schema.pop("required", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "A recipe of segdistill"}


def _name_options(sections: dict[str, Any], section: str, classes: dict[str, type]) -> None:
    """Say in a section, whose key `name` names a class, which options each class has."""
    shared = sections[section]["properties"]
    choices = []
    for name, cls in classes.items():
        options = options_of(cls).model_json_schema(ref_template=_REFERENCE)
        sections |= options.get("$defs", {})
        its_own = {key: value for key, value in options["properties"].items() if key != "split"}
        is_named = {"properties": {"name": {"const": name}}, "required": ["name"]}
        choices.append({"if": is_named, "then": {"properties": {**shared, **its_own}, "additionalProperties": False}})
    named = {**shared, "name": {**shared["name"], "examples": sorted(classes)}}
    sections[section] = {**sections[section], "properties": named, "allOf": choices}
    sections[section].pop("required", None)
