"""Published rows by name: in a recipe, in lists, and run again beside their printed numbers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from layouts import SMALL

import segdistill as library
from segdistill.cli.recipes import list_command
from segdistill.core.errors import DataError, RecipeError, TrainingError
from segdistill.methods import method_names
from segdistill.recipe.composition import is_assignment
from segdistill.recipe.published_rows import Table, measured, published_rows
from segdistill.recipe.recipe import load_recipe
from segdistill.recipe.words import fragments
from segdistill.studies.stored import load_study

Run = Callable[..., subprocess.CompletedProcess[str]]
ROWS = published_rows()


def test_a_row_is_a_recipe_that_more_words_go_over() -> None:
    made = load_recipe("bpkd/pascal_context/pspnet_r18/student", "dist", "steps=7", "data.root=/x")
    assert [method.name for method in made.method] == ["dist"]
    assert made.student is not None
    assert (made.student.name, made.steps, made.augment.crop) == ("pspnet_r18", 7, (480, 480))
    both = load_recipe("cirkd/voc/pspnet_r18/cirkd", "at", "method.at.weight=1")
    assert [method.name for method in both.method] == ["kd", "cirkd", "at"]
    assert both.method[1].options["pixel_weight"] == 0.01


@pytest.mark.parametrize("call", [load_recipe, library.reproduce])
def test_a_wrong_name_gets_the_nearest(call: Callable[[str], Any]) -> None:
    with pytest.raises(RecipeError, match=r"'bpkd/cityscape/pspnet_r18/bpkd'.* 'bpkd/cityscapes/pspnet_r18/bpkd'\?"):
        call("bpkd/cityscape/pspnet_r18/bpkd")
    with pytest.raises(RecipeError, match=r"No published row.*camvid"):
        library.reproduce("camvid")


def test_words_mean_one_thing() -> None:
    """A fragment that bore a method's name would hide the method."""
    assert not set(fragments()) & set(method_names())
    assert not any(name in fragments() or is_assignment(name) for name in ROWS)
    assert set(measured()) <= set(ROWS)


def test_what_can_not_work_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        library.reproduce("bpkd/cityscapes/pspnet_r18/bpkd", "data.root=nowhere", out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_list_shows_rows_with_their_numbers(segdistill: Run) -> None:
    shown = segdistill("list").stdout
    assert "openmmlab_80k" in shown
    lines = iter(shown.splitlines())
    assert any("bpkd/cityscapes/" in line for line in lines)
    line = next(lines)
    assert line.split()[0] == "pspnet_r18"
    assert line.split()[1:3] == ["79.74", "74.23"]
    assert line.split()[-1] == "77.57"


def test_our_own_results_stand_beside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    name = "cirkd/voc/pspnet_r18/cirkd"
    monkeypatch.setitem(measured(), name, {"miou": 12.35, "macc": 20.0, "seed": 0})
    list_command("recipes")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["ours"])
    assert line.split() == ["ours", "12.35"]
    list_command("published")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if name in line)
    assert line.split()[1:4] == ["74.78", "-", "12.35"]
    assert library.available("published")["published"][name]["measured"]["seed"] == 0


def test_everything_known_of_a_row_is_there_for_programs() -> None:
    assert list(library.available("recipes")) == ["recipes", "published"]
    rows = json.loads(json.dumps(library.available("published")["published"]))
    row = rows["bpkd/cityscapes/pspnet_r18/cwd"]
    assert (row["miou"], row["file"]) == (76.26, "cwd_80k_pspnet_r18_cityscapes_student.pth")
    assert "mmrazor" in row["constants"]["cwd_by_mmrazor"]
    assert "are not known" in row["constants"]["cwd_by_mmrazor"]
    assert "lr" in row["constants"]["openmmlab_80k"]
    assert list(row["constants"]) == row["words"]


TINY = (*SMALL, "batch_size=2", "steps=2", "validate_every=2", "log_every=1")


def test_reproduce_puts_measured_beside_published_and_says_what_differed(
    roots: dict[str, Path], tmp_path: Path, segdistill: Run
) -> None:
    name = "bpkd/cityscapes/pspnet_r18/bpkd"
    words = ("reproduce", name, *TINY, f"data.root={roots['cityscapes']}", f"out={tmp_path / 'run'}")
    result = json.loads(json.dumps(library.reproduce(*words[1:], quiet=True).as_dict()))
    assert [line["row"].rpartition("/")[2] for line in result["lines"]] == ["bpkd", "student", "teacher"]
    assert [line["published"]["miou"] for line in result["lines"]] == [77.57, 74.23, 79.74]
    study = load_study(tmp_path / "run")
    (alone, distilled), teacher = study.outcomes, study.teacher
    assert teacher is not None
    for line, row in zip(result["lines"], (distilled, alone, teacher), strict=True):
        assert line["measured"] == {"miou": row.miou, "macc": row.macc}
    assert result["lines"][0]["difference"]["miou"] == pytest.approx(distilled.miou - 77.57)
    assert "steps=2 (80000)" in result["changed"]
    assert "batch_size=2 (8)" in result["changed"]
    assert "student=mobilenetv2_035 with fcn (pspnet_r18)" in result["changed"]
    assert len(result["changed"]) == 10, result["changed"]
    assert "data.partial=True (unset)" in result["changed"]
    assert any("random weights (open-mmlab://resnet18_v1c)" in change for change in result["changed"])
    assert any(change.startswith("the teacher is trained in this run") for change in result["changed"])
    assert not any("data.root" in change or "out=" in change for change in result["changed"])
    with pytest.raises(TrainingError, match="--resume"):
        library.reproduce(*words[1:], quiet=True)
    again = segdistill(*words, "--resume")
    assert again.returncode == 0, again.stderr
    assert "Not the published recipe" in again.stdout
    (line,) = (line for line in again.stdout.splitlines() if line.split()[:1] == ["bpkd"])
    assert line.split()[1:3] == [f"{result['lines'][0]['measured']['miou']:.2f}", "77.57"]


def test_a_camvid_row_of_cirkd_is_measured_on_the_test_list(roots: dict[str, Path], tmp_path: Path) -> None:
    name = "cirkd/camvid/deeplabv3_r18/teacher"
    done = library.reproduce(name, *TINY, f"data.root={roots['camvid']}", out=tmp_path / "run", quiet=True)
    assert [line.row.name for line in done.lines] == [name]
    test = library.evaluate(tmp_path / "run", "data.validation=test", quiet=True)
    assert test.images == 2
    assert (done.lines[0].miou, done.lines[0].macc) == (test.scores.miou, test.scores.macc)
    assert (tmp_path / "run" / "teacher.safetensors").is_file()


@pytest.mark.parametrize("by", ["word", "section", "keyword"])
def test_a_list_that_the_call_chooses_is_the_one_that_is_measured_on(
    roots: dict[str, Path], tmp_path: Path, by: str
) -> None:
    words = {"word": ["data.validation=val"], "section": ["data={validation: val}"], "keyword": []}[by]
    keys: dict[str, Any] = {"data": {"validation": "val"}} if by == "keyword" else {}
    done = library.reproduce(
        "cirkd/camvid/deeplabv3_r18/teacher",
        *TINY, f"data.root={roots['camvid']}", *words, **keys, out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    measured_on = library.evaluate(tmp_path / "run", "data.validation=val", quiet=True)
    assert done.lines[0].miou == pytest.approx(measured_on.scores.miou, abs=1e-3)
    other = library.evaluate(tmp_path / "run", "data.validation=test", quiet=True)
    assert done.lines[0].miou != pytest.approx(other.scores.miou, abs=1e-3)


def test_a_given_teacher_is_named_if_it_is_another(roots: dict[str, Path], tmp_path: Path) -> None:
    words = (*TINY, f"data.root={roots['voc']}", "baseline=none")
    teacher = tmp_path / "teacher"
    library.reproduce("cirkd/voc/pspnet_r18/teacher", *words, out=teacher, quiet=True)
    done = library.reproduce(
        "cirkd/voc/pspnet_r18/dsd",
        *words,
        f"teacher.weights={teacher}",
        "teacher.check=false",  # one step makes no teacher
        out=tmp_path / "run",
        quiet=True,
    )
    assert f"the teacher is {teacher} (deeplabv3_resnet101_voc_best_model.pth)" in done.changed
    assert [line.row.method for line in done.lines] == ["dsd", "teacher"]
    assert done.lines[0].row.miou is None
    assert done.as_dict()["lines"][0]["difference"] == {"miou": None, "macc": None}


def test_the_pages_example_makes_rows() -> None:
    page = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
    text = page.partition("```yaml\n# mine.yaml")[2].partition("\n")[2].partition("```")[0]
    rows = {row.name: row for row in Table(**yaml.safe_load(text)).rows("mine")}
    assert [row.miou for row in rows.values()] == [70.1, 60.2, 61.3]
    made = load_recipe(*rows["mine/camvid/small/kd"].words)
    assert ([method.name for method in made.method], made.augment.crop, made.steps) == (["kd"], (320, 320), 80_000)


def test_the_page_tells_where_every_fragments_constants_come_from() -> None:
    page = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
    first_cells = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    used = {word for row in ROWS.values() for word in row.words if word in fragments()}
    constants = {word for word in used if set(yaml.safe_load(fragments()[word])) - {"data", "inference", "metrics"}}
    assert {word for word in constants - {"camvid"} if f"`{word}`" not in first_cells} == set()
