"""The house keeps its levels: no import runs back, nothing goes in circles, nothing grows too long or stands twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import house as houses
from benchmarks.house import LONGEST_FILE, LONGEST_FUNCTION, REPEATED, House

PACKAGE = Path(__file__).parents[1] / "src" / "segdistill"


@pytest.fixture(scope="module")
def house() -> House:
    return House(PACKAGE)


def test_the_root_holds_only_rooms(house: House) -> None:
    assert house.root_modules() == [], "give the module a room; see docs/architecture.md"


def test_no_import_runs_back(house: House) -> None:
    assert house.back_imports() == [], "move what both need to a lower room, or the import to a higher one"


def test_nothing_goes_in_circles(house: House) -> None:
    assert house.module_circles() == [], "split the file that both need"
    assert house.room_circles() == []
    assert house.levels() <= 10


def test_files_and_functions_can_be_read_in_one_go(house: House) -> None:
    files = [each for each in house.file_lengths() if each.lines > LONGEST_FILE]
    functions = [each for each in house.function_lengths() if each.lines > LONGEST_FUNCTION]
    assert files == [], f"one idea a file, at most {LONGEST_FILE} lines"
    assert functions == [], f"at most {LONGEST_FUNCTION} lines; give a step of it a name"


def test_nothing_stands_twice(house: House) -> None:
    assert house.repetitions() == [], f"{REPEATED} lines are the same in both places: let one serve both"


def write(folder: Path, **texts: str) -> House:
    """A package `toy` of the modules `room__module`."""
    for name, text in texts.items():
        path = folder / "toy" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text, encoding="utf-8")
    (folder / "toy" / "__init__.py").touch()
    return House(folder / "toy")


def test_imports_in_functions_and_for_types_count(tmp_path: Path) -> None:
    toy = write(
        tmp_path,
        core__low="def late() -> None:\n    from toy.training import loop\n",
        training__loop="from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import toy.core.low\n",
    )
    assert toy.back_imports() == ["core/low.py:2 imports training.loop"]
    assert toy.module_circles() == [["core.low", "training.loop"]]
    assert toy.room_circles() == [["core", "training"]]


def test_rooms_of_one_level_do_not_know_each_other(tmp_path: Path) -> None:
    toy = write(tmp_path, data__base="", models__heads__fcn="from toy.data import base\n")
    assert toy.back_imports() == ["models/heads/fcn.py:1 imports data.base"]


def test_a_room_that_no_level_has_is_named(tmp_path: Path) -> None:
    toy = write(tmp_path, cli__main="from toy.cellar import wine\n", cellar__wine="")
    assert toy.back_imports() == ["cli/main.py:1 imports cellar.wine"]


def test_levels_are_the_longest_chain(tmp_path: Path) -> None:
    toy = write(
        tmp_path, cli__a="import toy.training.b\n", training__b="import toy.core.c\n", core__c="", runtime__d="",
    )  # fmt: skip
    assert toy.levels() == 3


def test_equal_lines_are_found_whatever_stands_between(tmp_path: Path) -> None:
    lines = [f"value_{index} = {index}" for index in range(REPEATED)]
    toy = write(
        tmp_path,
        core__one="\n".join(lines),
        core__two="import os\n\n" + "\n    # a comment\n\n".join(lines).replace("    #", "#"),
        core__three="\n".join(lines[:-1]),
    )
    assert toy.repetitions() == ["core/one.py:1 and core/two.py:3"]  # files are read by name


def test_long_functions_are_found_with_what_is_nested_in_them(tmp_path: Path) -> None:
    body = "\n".join(f"        x{index} = 0" for index in range(houses.LONGEST_FUNCTION))
    toy = write(tmp_path, core__long=f"def outer():\n    def inner():\n{body}\n")
    assert [each.lines > LONGEST_FUNCTION for each in toy.function_lengths()] == [True, True]
