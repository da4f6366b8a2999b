"""The page of a study: one file that holds what was found, whatever the study lacks."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_studies import CLASSES, FILE, HOSTILE, METHOD, gain, own_data, study
from PIL import Image

import segdistill
from segdistill import distill, report, train
from segdistill.core.errors import DataError, RecipeError
from segdistill.data import create_dataset
from segdistill.evaluation.inference.inference import predict_classes
from segdistill.evaluation.metrics import plain
from segdistill.evaluation.scoring import count
from segdistill.models.open import open_model
from segdistill.recipe.recipe import load_recipe
from segdistill.reporting.curves import journal
from segdistill.studies.result import ALONE
from segdistill.studies.stored import load_study

Command = Callable[..., subprocess.CompletedProcess[str]]


class Read(HTMLParser):
    """What is in a page: its elements with their attributes, and its text by element."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        self._open = tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open, data.strip()))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def texts_of(self, *tags: str) -> list[str]:
        return [text for tag, text in self.texts if text and (not tags or tag in tags)]

    def pictures(self) -> dict[str, Any]:
        return json.loads(next(text for tag, text in self.texts if tag == "script" and text.startswith("{")))


@pytest.fixture(scope="module")
def read(page: Path) -> Read:
    return Read(page)


def made_up(folder: Path, made: segdistill.studies.result.Study) -> Read:
    """The page of a study whose runs are not there."""
    folder.mkdir(exist_ok=True)
    made.save(folder)
    return Read(report(folder, quiet=True).file)


def test_the_page_asks_for_nothing_but_itself(read: Read, page: Path) -> None:
    addresses = [each[key] for _, each in read.elements for key in ("src", "href") if key in each]
    assert {address[:5] if address.startswith("data:") else address[:1] for address in addresses} == {"data:", "#"}
    assert "url(" not in page.read_text(encoding="utf-8")
    assert page.stat().st_size < 8e6


def test_names_of_classes_files_and_methods_are_text(read: Read) -> None:
    assert len(read.all("script")) == 2
    assert not any(key.startswith("on") for _, each in read.elements for key in each)
    assert all(each.get("src", "data:").startswith("data:") for each in read.all("img"))
    assert not read.all("b")
    assert {CLASSES[0], HOSTILE, METHOD} <= set(read.texts_of("th"))
    assert any(f"0{FILE}" == text for text in read.texts_of("span"))


def test_the_answer_comes_first(read: Read) -> None:
    text = read.texts_of("h1", "h2", "p")
    assert text[0] == "Distillation on things"
    assert next(line for line in text if line.startswith(METHOD)).startswith(f"{METHOD} gained 4.2 mIoU [95 % CI 1.0")
    assert read.texts_of("h2")[0] == "The answer"


def test_each_image_has_the_scores_that_evaluation_gives_it_and_the_first_gained_most(
    read: Read, study_folder: Path
) -> None:
    recipe = load_recipe(study_folder / "kd-0" / "recipe.yaml")
    data = create_dataset(recipe.data, "val")
    scores = {}
    for name, folder in {ALONE: "alone-0", METHOD: "kd-0", "teacher": "teacher"}.items():
        network = open_model(study_folder / folder).network
        scores[name] = [count(network, data, indices=[place]).quality().scores.miou for place in range(len(data))]
    for image in read.pictures()["images"]:
        place = next(i for i in range(len(data)) if data.name(i) == image["name"])
        shown = {each["name"]: float(each["miou"]) for each in image["networks"]}
        assert shown == pytest.approx({name: values[place] for name, values in scores.items()}, abs=0.051)
    gains = [now - then for now, then in zip(scores[METHOD], scores[ALONE], strict=True)]
    first = read.pictures()["images"][0]["name"]
    assert first == data.name(gains.index(max(gains)))


def test_the_pictures_hold_labels_predictions_and_errors(read: Read, study_folder: Path) -> None:
    data = create_dataset(load_recipe(study_folder / "kd-0" / "recipe.yaml").data, "val")
    image = read.pictures()["images"][0]
    sample = next(data[i] for i in range(len(data)) if data.name(i) == image["name"])
    printed = predict_classes(open_model(study_folder / "kd-0").network, sample.image[None])[0].numpy()
    network = next(each for each in image["networks"] if each["name"] == METHOD)
    assert np.array_equal(decoded(image["label"]), sample.label.numpy())
    assert np.array_equal(decoded(network["classes"]), printed)
    wrong = (printed != sample.label.numpy()) & (sample.label.numpy() != 255)
    assert np.array_equal(decoded(network["errors"]) == 1, wrong)


def decoded(uri: str) -> np.ndarray:
    kind, _, text = uri.partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture)


def test_curves_are_the_mean_over_the_seeds_of_the_runs_logs(read: Read, study_folder: Path) -> None:
    logs = [journal(study_folder / f"kd-{seed}") for seed in (0, 1)]
    last = [[line["miou"] for line in log if line["kind"] == "validation"][-1] for log in logs]
    cells = read.texts_of("th", "td", "p")
    start = cells.index("Validation mIoU, %")
    row = cells.index("3", start)
    assert float(cells[row + 2]) == pytest.approx(sum(last) / 2, rel=1e-3)


def test_images_can_be_chosen_by_number(study_folder: Path, tmp_path: Path) -> None:
    done = report(study_folder, images=["2", 0], out=tmp_path / "page.html", quiet=True)
    assert done.pictures == (f"2{FILE}", f"0{FILE}")
    with pytest.raises(DataError, match="99"):
        report(study_folder, images=[99], out=tmp_path / "page.html", quiet=True)


def test_one_image_needs_no_list(study_folder: Path, tmp_path: Path) -> None:
    done = report(study_folder, images=0, out=tmp_path / "page.html", quiet=True)
    assert done.pictures == (f"0{FILE}",)
    with pytest.raises(DataError, match="No validation image '12'"):  # and not those with the numbers 1 and 2
        report(study_folder, images="12", out=tmp_path / "page.html", quiet=True)


def test_images_that_have_moved_are_missed_named_and_found_again(study_folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "study"
    shutil.copytree(study_folder, moved)
    for file in moved.glob("*/recipe.yaml"):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(str(study_folder.parent), str(tmp_path / "gone")), encoding="utf-8")
    done = report(moved, quiet=True)
    assert done.pictures == ()
    assert "data.root=" in done.warnings[0]
    assert any("data.root=" in text for text in Read(done.file).texts_of("p"))
    again = report(moved, f"data.root={own_data(tmp_path / 'here')}", quiet=True)
    assert len(again.pictures) == 8
    assert again.warnings == (), "the teacher is found in the study"
    with pytest.raises(RecipeError, match=r"data\.rot"):
        report(moved, "data.rot=here", quiet=True)


def test_a_network_that_is_gone_is_left_out_by_name(study_folder: Path, tmp_path: Path) -> None:
    partial = tmp_path / "study"
    shutil.copytree(study_folder, partial, ignore=shutil.ignore_patterns("teacher"))
    (partial / "alone-0" / "student.safetensors").unlink()
    recipe = partial / "kd-0" / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace(str(study_folder / "teacher"), str(partial / "teacher")), encoding="utf-8")
    done = report(partial, quiet=True)
    assert len(done.pictures) == 8
    assert [warning.partition(" is not")[0] for warning in done.warnings] == [ALONE, "The teacher"]


def test_a_distillation_run_has_the_same_page(tiny: tuple[str, ...], tmp_path: Path) -> None:
    gained = distill(*tiny, "kd", "steps=2", out=tmp_path / "run", quiet=True).study.methods()[0].gain
    done = report(tmp_path / "run", quiet=True)
    read = Read(done.file)
    assert gained is not None
    moved = "gained " if gained.mean >= 0 else "lost: \N{MINUS SIGN}"
    assert done.answer.startswith(f"kd {moved}{abs(gained.mean):.1f} mIoU [one seed, no interval]")
    assert any("One seed proves little" in text for text in read.texts_of("p"))
    assert any(text.startswith("One distillation on streets") for text in read.texts_of("p"))
    assert "verdict" in read.texts_of("th")
    assert any("gain in edge mIoU" in text for text in read.texts_of("p"))
    assert [each["name"] for each in read.pictures()["images"][0]["networks"]] == [ALONE, "kd", "teacher"]


def test_a_run_that_an_earlier_version_measured_is_refused_and_its_networks_serve_another(
    tiny: tuple[str, ...], tmp_path: Path
) -> None:
    run, words = tmp_path / "run", (*tiny, "kd", "steps=2")
    before = distill(*words, out=run, quiet=True).study
    (run / "study.json").unlink()
    (run / "result.json").write_text('{"rows": []}', encoding="utf-8")
    with pytest.raises(DataError, match=r"result\.json.*teacher\.weights=.*teacher and baseline=.*alone"):
        report(run, quiet=True)
    trained = (f"teacher.weights={run / 'teacher'}", f"baseline={run / 'alone'}")
    after = distill(*words, *trained, out=tmp_path / "again", quiet=True).study
    assert [(each.label, each.iou) for each in after.outcomes] == [(each.label, each.iou) for each in before.outcomes]
    assert report(tmp_path / "again", quiet=True).answer.startswith("kd ")


def test_a_folder_without_anything_to_compare_is_refused(tiny: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no study"):
        report(tmp_path)
    train(*tiny, "steps=1", out=tmp_path / "alone", quiet=True)
    with pytest.raises(DataError, match="nothing to compare"):
        report(tmp_path / "alone")
    (tmp_path / "study.json").write_text('{"kind": "study"}', encoding="utf-8")
    with pytest.raises(DataError, match="can't be read as a study"):
        report(tmp_path)


def test_a_study_with_very_many_classes_shows_some_and_lists_all(tmp_path: Path) -> None:
    read = made_up(tmp_path, study({"kd": gain(1.0, (0.2, 1.8))}, classes=182))
    names = [text for text in read.texts_of("th") if text.startswith("class ")]
    assert len(names) == 24 + 182
    assert any("24" in text or "12 classes that gained most" in text for text in read.texts_of("p"))


def test_a_study_without_regions_teacher_scores_or_gains_says_what_it_has(tmp_path: Path) -> None:
    made = study({"kd": None}, teacher=None)
    bare = {"edge_miou": None, "body_miou": None, "boundary_miou": None}
    made = replace(
        made,
        outcomes=tuple(replace(row, **bare, iou=(None, 10.0, 20.0)) for row in made.outcomes),
        summary=tuple(replace(row, **bare) for row in made.summary),
    )
    read = made_up(tmp_path, made)
    assert any("knows other classes" in text for text in read.texts_of("p"))
    assert not any("gain in edge mIoU" in text for text in read.texts_of("p"))
    assert "No run" not in " ".join(read.texts_of("p"))


def test_a_run_without_labels_is_finished_and_has_no_score(tmp_path: Path) -> None:
    made = replace(study({"kd": None}, teacher=None), outcomes=(), summary=())
    text = " ".join(made_up(tmp_path, made).texts_of("p"))
    assert "nothing was scored" in text
    assert "no image has a label" in text
    assert "No run is finished" not in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_losses_that_are_no_numbers_do_not_end_the_page(study_folder: Path, tmp_path: Path, value: float) -> None:
    broken = tmp_path / "study"
    shutil.copytree(study_folder, broken)
    lines = journal(broken / "kd-0")
    next(line for line in lines if line["kind"] == "train" and line["step"] == 2)["task"] = value
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (broken / "kd-0" / "metrics.jsonl").write_text(text, encoding="utf-8")
    page = report(broken, out=tmp_path / "page.html", quiet=True).file.read_text(encoding="utf-8")
    drawn = page.partition("Loss term task")[2].partition("</svg>")[0]
    assert drawn.count('class="curve') == 2
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_the_command_line_writes_where_it_is_asked_to_and_prints_the_answer(
    study_folder: Path, segdistill: Command, tmp_path: Path
) -> None:
    done = segdistill("report", study_folder, f"out={tmp_path / 'page.html'}", "--json")
    printed = json.loads(done.stdout)
    assert done.stderr == ""
    assert printed["file"] == str(tmp_path / "page.html")
    assert printed["answer"].startswith(f"{METHOD} gained 4.2 mIoU")
    assert printed["megabytes"] == pytest.approx((tmp_path / "page.html").stat().st_size / 1e6, abs=0.01)


def test_the_verb_stays_the_verb_after_its_room_is_imported() -> None:
    import segdistill.reporting.page.render

    assert segdistill.report is report


def test_the_study_of_the_tests_is_what_it_was_made_of(study_folder: Path) -> None:
    assert plain(load_study(study_folder).as_dict())["classes"] == list(CLASSES)
