"""What a method's docstring calls typical on CamVid is what the committed study measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from segdistill.methods import method_names

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "camvid_methods.json"
RUNS: dict[str, dict[str, Any]] = {
    run["network"]: run for run in json.loads(RESULTS.read_text(encoding="utf-8"))["runs"]
}
NUMBER = r"(-?[\d.]+(?:e-?\d+)?)"


def _typical(name: str) -> list[dict[str, tuple[float, float]]]:
    """The ranges of each term at the start and at the end, from the docstring."""
    text = " ".join((method_names()[name].__doc__ or "").split())
    found = re.search(r"Typical on CamVid \([^)]*\): at step 10 (.*); at step 300 (.*?)\.(?:\s|$)", text)
    assert found, f"{name} says nothing of typical values"
    return [
        {term: (float(low), float(high)) for term, low, high in re.findall(rf"(\S+) {NUMBER} to {NUMBER}", part)}
        for part in found.groups()
    ]


@pytest.mark.parametrize("name", [name for name in method_names() if name in RUNS])
def test_terms_are_in_the_range_that_the_docstring_calls_typical(name: str) -> None:
    measured = {key: values for key, values in RUNS[name]["terms"].items() if key.split("/")[0] == name}
    for when, ranges in enumerate(_typical(name)):
        assert ranges.keys() == measured.keys()
        for term, (low, high) in ranges.items():
            assert low <= measured[term][when] <= high
            assert high <= 4.5 * low or low <= 0, "a range that holds anything says nothing"
