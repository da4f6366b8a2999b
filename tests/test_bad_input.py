"""Bad input costs a clear message, and nothing half-written is left behind."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segdistill
from segdistill.core.errors import CheckpointError, DataError, RecipeError, SegdistillError, TrainingError
from segdistill.recipe.recipe import load_recipe
from segdistill.runs.folder import Resume

Run = Callable[..., subprocess.CompletedProcess[str]]

NETWORK = "student={backbone: mobilenetv2_035, head: fcn, channels: 8, auxiliary_channels: 0}"
SHORT = ("augment.crop=[32,32]", "steps=2", "batch_size=2", "validate_every=2")


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    """Ten images with masks of two classes and some void."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(10):
        Image.fromarray(rng.integers(0, 255, (40, 48, 3), dtype=np.uint8)).save(root / "images" / f"a{index}.png")
        mask = np.zeros((40, 48), np.uint8)
        mask[:, 24:], mask[:4] = 1, 255
        Image.fromarray(mask).save(root / "masks" / f"a{index}.png")
    (root / "classes.txt").write_text("left\nright\n")
    return root


def train(root: Path, *more: str, workers: int = 0, resume: Resume = False) -> segdistill.commands.train.train.Trained:
    run = root.parent / "run"
    words = ("folder", NETWORK, *SHORT, f"data.root={root}", f"out={run}", f"workers={workers}", *more)
    return segdistill.train(*words, resume=resume, quiet=True)


def test_own_data_trains(own_data: Path) -> None:
    assert train(own_data).scores.aacc > 0


def break_missing_root(root: Path) -> None:
    shutil.rmtree(root)


def break_no_mask(root: Path) -> None:
    (root / "masks" / "a3.png").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [(break_missing_root, ["No folder", "data"]), (break_no_mask, ["a3", "no mask"])],
)
def test_missing_things_are_found_before_a_folder_is_made(
    own_data: Path, damage: Callable[[Path], None], words: list[str]
) -> None:
    damage(own_data)
    with pytest.raises(DataError) as caught:
        train(own_data)
    assert all(word in str(caught.value) for word in words)
    assert not (own_data.parent / "run").exists()


def break_size(root: Path) -> None:
    Image.fromarray(np.zeros((20, 24), np.uint8)).save(root / "masks" / "a0.png")


def break_value(root: Path) -> None:
    Image.fromarray(np.full((40, 48), 7, np.uint8)).save(root / "masks" / "a0.png")


def break_color(root: Path) -> None:
    Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(root / "masks" / "a0.png")


def break_png(root: Path) -> None:
    content = (root / "images" / "a0.png").read_bytes()
    (root / "images" / "a0.png").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (break_size, ["a0.png", "24x20", "48x40"]),
        (break_value, ["a0.png", "value 7", "0..1"]),
        (break_color, ["a0.png", "color"]),
        (break_png, ["a0.png", "Can't read"]),
    ],
)
def test_broken_files_are_named(own_data: Path, damage: Callable[[Path], None], words: list[str], workers: int) -> None:
    damage(own_data)
    before = set(multiprocessing.active_children())
    with pytest.raises(DataError) as caught:
        train(own_data, "steps=8", workers=workers)
    assert set(multiprocessing.active_children()) <= before, "loading processes outlive the run"
    assert all(word in str(caught.value) for word in words), caught.value
    assert "Traceback" not in str(caught.value)


def test_a_folder_in_use_is_left_alone(own_data: Path) -> None:
    train(own_data)
    before = (own_data.parent / "run" / "student.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="already holds a run"):
        train(own_data, "seed=1")
    assert (own_data.parent / "run" / "student.safetensors").read_bytes() == before


@pytest.mark.parametrize("resume", [False, True, "auto"])
def test_a_run_that_was_refused_before_its_first_step_keeps_no_folder(own_data: Path, resume: Resume) -> None:
    with pytest.raises(DataError, match="holds the value 1;"):
        train(own_data, "data.values={0: 0}")
    train(own_data, "data.values={0: 0, 1: 1}", "seed=1", resume=resume)
    assert load_recipe(own_data.parent / "run" / "recipe.yaml").seed == 1


def test_a_recipe_that_was_written_by_hand_is_not_written_over(own_data: Path) -> None:
    run = own_data.parent / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text("# precious\n")
    with pytest.raises(TrainingError, match="already holds a run"):
        train(own_data)
    assert (run / "recipe.yaml").read_text() == "# precious\n"


def make_void(data: Path) -> None:
    for mask in (data / "masks").iterdir():
        Image.fromarray(np.full((40, 48), 255, np.uint8)).save(mask)


@pytest.mark.parametrize("balance", [0.0, 0.5])
def test_masks_that_are_all_void_teach_nobody(own_data: Path, balance: float) -> None:
    make_void(own_data)
    with pytest.raises(DataError, match=r"no training mask that was looked at holds a pixel of a class.*doctor"):
        train(own_data, f"class_balance={balance}")


def test_masks_that_are_all_void_leave_methods_nothing_to_teach(own_data: Path, tiny: tuple[str, ...]) -> None:
    words = ("folder", NETWORK, *SHORT, f"data.root={own_data}", "baseline=none", "teacher.check=false")
    teacher = train(own_data)
    make_void(own_data)
    words = (*words, f"teacher.weights={teacher.folder}")
    with pytest.raises(DataError, match="all are void"):
        segdistill.distill(*words, "kd", out=own_data.parent / "void", quiet=True)
    published = segdistill.distill(*words, "kd", "method.kd.as_published=true", out=own_data.parent / "all", quiet=True)
    assert published.folder.is_dir()  # there void counts


def test_a_folder_with_other_things_in_it_is_left_alone(own_data: Path) -> None:
    run = own_data.parent / "run"
    run.mkdir()
    (run / "thesis.tex").write_text("precious")
    with pytest.raises(TrainingError, match="holds no run"):
        train(own_data)
    assert [path.name for path in run.iterdir()] == ["thesis.tex"]


def test_a_teacher_of_other_classes_is_refused_before_training(own_data: Path, tiny: tuple[str, ...]) -> None:
    teacher = segdistill.train(*tiny, "role=teacher", "steps=1", out=own_data.parent / "teacher", quiet=True)
    words = ("folder", NETWORK, *SHORT, "kd", f"data.root={own_data}")
    with pytest.raises(RecipeError, match="other classes"):
        segdistill.distill(*words, out=own_data.parent / "x", **{"teacher": {"weights": teacher.folder}}, quiet=True)
    assert not (own_data.parent / "x").exists()


def test_weights_of_another_network_are_refused(own_data: Path) -> None:
    done = train(own_data)
    other = segdistill.create_model("mobilenetv2_035_fcn", 2)
    with pytest.raises(CheckpointError, match="holds another network"):
        segdistill.load_checkpoint(other, done.folder)


def test_a_checkpoint_that_is_not_ours_is_refused_without_running_it(own_data: Path, tmp_path: Path) -> None:
    done = train(own_data)
    (done.folder / "student.safetensors").unlink()
    attack = b"cos\nsystem\n(S'touch " + bytes(tmp_path / "owned") + b"'\ntR."
    for name in ("last.pt", "previous.pt"):
        (done.folder / "checkpoints" / name).write_bytes(attack)
    with pytest.raises(CheckpointError, match="Can't resume"):
        segdistill.train(
            "folder", NETWORK, *SHORT, f"data.root={own_data}", out=done.folder, workers=0, resume=True, quiet=True
        )
    assert not (tmp_path / "owned").exists()


def test_no_space_while_saving_keeps_the_last_checkpoint(own_data: Path, segdistill: Run) -> None:
    """A limit on the size of a file fails a write in its middle, as a full disk does."""
    run = own_data.parent / "run"
    words = ["train", "folder", NETWORK, *SHORT, f"data.root={own_data}", f"out={run}", "workers=0"]
    first = segdistill(*words, file_bytes=200 * 1024)
    assert first.returncode == 1
    assert "Can't save" in first.stderr
    assert "--resume" in first.stderr
    assert not list(run.rglob("*.part"))
    assert not (run / "checkpoints" / "last.pt").exists()
    second = segdistill(*words, "--resume")
    assert second.returncode == 0, second.stderr
    assert (run / "student.safetensors").is_file()


def test_a_loss_that_is_not_finite_names_the_term_and_step(own_data: Path) -> None:
    with pytest.raises(SegdistillError, match=r"(Loss term '\w+' is (nan|inf)|not finite) .*step [0-9]+"):
        train(own_data, "optimizer={name: sgd, lr: 1.0e+30}", "steps=10")
