"""A package outside of the library gives methods, data sets and networks, by import path and by entry point."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import segdistill as sd

PACKAGE = Path(__file__).parents[1] / "plugin_package"
BY_PATH = {"data": "lane_tools.sets:Lanes", "student": "lane_tools.nets:LaneNet", "method": "lane_tools.losses:Cosine"}
BY_NAME = {"data": "lanes", "student": "lane_net", "method": "cosine"}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(PACKAGE))
    importlib.invalidate_caches()
    yield
    for name in [name for name in sys.modules if name.startswith("lane_tools")]:
        del sys.modules[name]


def test_the_names_of_a_package_are_listed_beside_the_built_in_ones() -> None:
    listed = sd.available()
    assert listed["methods"]["cosine"].startswith("One minus the cosine")
    assert listed["datasets"]["lanes"] == "Bright lanes on a dark road. (lane_tools.sets:Lanes)"
    assert "lane_net" in listed["networks"]
    assert "kd" in listed["methods"]


@pytest.mark.parametrize("words", [BY_PATH, BY_NAME], ids=["by path", "by name"])
def test_they_are_compared_like_built_in_ones(words: dict[str, str], tmp_path: Path) -> None:
    recipe = [
        f"data.name={words['data']}", f"student={words['student']}", "teacher.check=false", "augment.crop=[32,48]",
        "teacher.network={backbone: test_resnet, head: fcn, channels: 8}", "steps=2", "batch_size=2", "workers=0",
    ]  # fmt: skip
    study = sd.compare(*recipe, out=tmp_path / "study", methods=[words["method"]], seeds=[0], quiet=True)
    assert [row.label for row in study.methods()] == [words["method"].rpartition(":")[2]]
    assert not study.failures


def test_their_options_are_checked_by_their_signatures() -> None:
    recipe = sd.load_recipe(BY_NAME["data"], "method={name: cosine, weight: 2}", **{"data.count": 4})
    assert recipe.method[0].options == {"weight": 2}
    with pytest.raises(sd.SegdistillError, match=r"Unknown key 'method\.cosine\.wieght'\. Did you mean"):
        sd.load_recipe("lanes", "method={name: cosine, wieght: 2}")
    with pytest.raises(sd.SegdistillError, match=r"data\.count"):
        sd.load_recipe("data={name: lanes, count: many}")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("lane_tools.nowhere:Cosine", "Can't import 'lane_tools.nowhere'"),
        ("lane_tools.losses:Cosin", "has no 'Cosin'. Did you mean 'Cosine'"),
        ("lane_tools.nets:LaneNet", "is not a method: it must be a class that derives from segdistill.Method"),
        ("os:system", "is not a method"),
        ("__main__:Mine", "a notebook or script"),
        ("cosin", "Did you mean 'cosine'"),
    ],
)
def test_what_is_no_plug_in_is_refused_by_name(method: str, message: str) -> None:
    with pytest.raises(sd.SegdistillError, match=message):
        sd.load_recipe("lanes", method=method)
