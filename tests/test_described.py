"""Every key of a recipe is described where it is defined, in words that code can read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from segdistill.commands.profile import ProfileSettings
from segdistill.core.discovery import classes_in, options_of
from segdistill.data import dataset_names
from segdistill.methods.base import method_names
from segdistill.models.heads import Head
from segdistill.recipe.recipe import Recipe
from segdistill.studies.plan import Plan

OPTIONS: dict[str, type] = {
    **{f"data set {name}": cls for name, cls in dataset_names().items()},
    **{f"head {name}": cls for name, cls in classes_in("segdistill.models.heads", Head).items()},
    **{f"method {name}": cls for name, cls in method_names().items()},
}


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The settings classes that a key's type names, also inside a union, a list or a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _sections(inner)


def _descriptions(section: type[BaseModel], path: str = "") -> Iterator[tuple[str, str | None]]:
    for key, field in section.model_fields.items():
        yield f"{path}{key}", field.description
        for inner in _sections(field.annotation):
            yield from _descriptions(inner, f"{path}{key}.")


def test_every_key_of_a_recipe_is_described_in_whole_sentences() -> None:
    described = dict(_descriptions(Recipe)) | dict(_descriptions(Plan)) | dict(_descriptions(ProfileSettings))
    assert {"optimizer.lr", "teacher.network.backbone", "method.schedule.stop", "data.name"} <= described.keys()
    poor = {key: text for key, text in described.items() if not re.fullmatch(r"[A-Z].{15,}\.", text or "", re.DOTALL)}
    assert not poor


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_a_data_set_head_or_method_is_described(name: str) -> None:
    assert [key for key, field in options_of(OPTIONS[name]).model_fields.items() if not field.description] == []


def test_a_description_may_go_over_several_lines_and_is_one_line() -> None:
    text = options_of(dataset_names()["voc"]).model_fields["augmented"].description
    assert text == (
        "Train on the 10582 images of VOC and SBD (labels in SegmentationClassAug/) rather than on VOC's own 1464 (in "
        "SegmentationClass/)."
    )
