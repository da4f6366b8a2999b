"""Broken and odd files: all of them are found in one pass, and healthy oddities are no problem."""

from __future__ import annotations

import signal
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import Forked
from PIL import Image

import segdistill
from segdistill.diagnosis.diagnose import Diagnosis

HEIGHT, WIDTH = 24, 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Forty images and masks of two classes; every fifth is for validation."""
    root = tmp_path / "my photos é"
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(40):
        pixels = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"photo {index:02d}.png")
        Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8)).save(root / "masks" / f"photo {index:02d}.png")
    (root / "classes.txt").write_text("ground\nline\n")
    return root


def examine(root: Path, **options: Any) -> Diagnosis:
    return segdistill.doctor("folder", data={"root": str(root), **options}, augment={"crop": [24, 30]}, quiet=True)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def huge(path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def test_a_healthy_folder(root: Path) -> None:
    done = examine(root)
    assert [finding.text for finding in done.findings] == [
        "Nothing says which images are for validation: it is every 5th by name (data.val_every)."
    ]
    assert done.splits["train"].images == 32
    assert done.splits["train"].kinds == {"image PNG RGB 8-bit": 32, "mask PNG grey 8-bit": 32}
    assert done.splits["val"].sizes == {(HEIGHT, WIDTH): 8}
    assert done.splits["val"].share(1) == pytest.approx(1 / WIDTH)
    assert done.splits["val"].labels[1].images == 8


def test_every_bad_file_is_found_in_one_pass(root: Path) -> None:
    images, masks = root / "images", root / "masks"
    bad = {
        images / "photo 01.png": "Can't read image",
        masks / "photo 02.png": "it is empty",
        masks / "photo 03.png": "is lossy (JPEG)",
        masks / "photo 05.png": "20x12",
        images / "photo 06.png": "refused before it is decoded",
        masks / "photo 07.png": "mode RGBA",
        masks / "photo 08.png": "Can't read mask",
        images / "photo 10.png": "more than 8 bits",
        images / "photo 11.png": "Can't read image",
    }
    cut(images / "photo 01.png")
    (masks / "photo 02.png").write_bytes(b"")
    Image.new("L", (WIDTH, HEIGHT)).save(masks / "photo 03.png", format="JPEG")
    Image.new("L", (20, 12)).save(masks / "photo 05.png")
    huge(images / "photo 06.png")
    Image.new("RGBA", (WIDTH, HEIGHT), (9, 8, 7, 255)).save(masks / "photo 07.png")
    cut(masks / "photo 08.png")
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint16)).save(images / "photo 10.png")
    (images / "photo 11.png").write_bytes(b"<html>404</html>")
    done = examine(root)
    texts = {finding.files[0]: finding.text for finding in done.problems if "empty (0 bytes)" not in finding.text}
    assert texts.keys() == {str(path) for path in bad}
    for path, words in bad.items():
        assert words in texts[str(path)]
        assert str(path) in texts[str(path)]
    assert done.splits["train"].looked_at == 32
    empty = [finding for finding in done.problems if "empty (0 bytes)" in finding.text]
    assert [finding.files for finding in empty] == [(str(masks / "photo 02.png"),)]


def test_empty_files_are_found_beyond_those_that_are_read(root: Path) -> None:
    (root / "masks" / "photo 38.png").write_bytes(b"")
    done = segdistill.doctor("folder", data={"root": str(root)}, images=2, quiet=True)
    assert any("photo 38.png" in finding.text for finding in done.problems)


def test_odd_files_that_are_read_rightly_are_no_problem(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = root / "images" / "photo 00.png"
    photo.unlink()
    Image.new("RGB", (HEIGHT, WIDTH), (1, 2, 3)).save(photo.with_suffix(".jpg"), exif=exif)
    Image.new("RGBA", (WIDTH, HEIGHT)).save(root / "images" / "photo 01.png")
    (root / "images" / "photo 02.png").unlink()
    Image.new("CMYK", (WIDTH, HEIGHT)).save(root / "images" / "photo 02.jpg")
    done = examine(root)
    assert not done.problems
    assert done.splits["train"].forms == {"turned by EXIF": 1, "RGBA image": 1, "CMYK image": 1}


def test_palette_masks_are_read_by_index_and_noted(root: Path) -> None:
    for path in (root / "masks").glob("*.png"):
        mask = Image.open(path).convert("P")
        indices = Image.fromarray(np.asarray(Image.open(path)), mode="P")
        indices.putpalette([0, 0, 0, 128, 0, 0])
        del mask
        indices.save(path)
    done = examine(root)
    assert not done.problems
    assert any("1 as 38" in finding.text for finding in done.findings)
    assert [*done.splits["train"].values] == [0, 1]


def test_images_without_masks_and_masks_without_images(root: Path) -> None:
    (root / "masks" / "photo 01.png").unlink()
    (root / "images" / "photo 07.png").unlink()
    done = examine(root)
    assert any("have no mask" in finding.text and finding.level == "problem" for finding in done.findings)
    lone = {file for finding in done.findings if finding.where == "files" for file in finding.files}
    assert lone == {str(root / "images" / "photo 01.png"), str(root / "masks" / "photo 07.png")}


def test_the_same_picture_in_both_splits(root: Path) -> None:
    content = (root / "images" / "photo 00.png").read_bytes()
    (root / "images" / "photo 04.png").write_bytes(content)
    (finding,) = examine(root).problems
    assert "1 of 8 validation images are training images" in finding.text
    assert "photo 04.png" in finding.text
    assert "photo 00.png" in finding.text


def test_a_picture_that_was_saved_anew_is_the_same_picture(root: Path) -> None:
    Image.open(root / "images" / "photo 00.png").save(root / "images" / "photo 04.png", compress_level=1)
    (finding,) = examine(root).problems
    assert "1 of 8 validation images are training images" in finding.text
    assert finding.files == (f"{root / 'images' / 'photo 04.png'} = {root / 'images' / 'photo 00.png'}",)


def test_a_picture_with_two_masks(root: Path) -> None:
    Image.open(root / "images" / "photo 00.png").save(root / "images" / "photo 01.png", compress_level=1)
    assert not [finding for finding in examine(root).findings if finding.level == "warning"]
    Image.fromarray(np.ones((HEIGHT, WIDTH), np.uint8)).save(root / "masks" / "photo 01.png")
    (finding,) = [finding for finding in examine(root).findings if finding.level == "warning"]
    assert "1 images are there twice, with masks that differ" in finding.text
    assert finding.where == "train"


def test_images_without_labels_that_data_extra_names(root: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    for index in range(3):
        Image.effect_noise((WIDTH, HEIGHT), 50 + index).convert("RGB").save(more / f"{index}.png")
    Image.open(root / "images" / "photo 04.png").save(more / "3.png", compress_level=1)  # a validation image
    cut(more / "1.png")
    findings = {
        each.level: each for each in examine(root, extra={"images": [str(more)]}).findings if each.where == "extra"
    }
    assert findings["note"].text == "4 images without labels, 4 of them read."
    assert findings["problem"].files == (str(more / "1.png"),)
    assert findings["warning"].files == (f"{root / 'images' / 'photo 04.png'} = {more / '3.png'}",)


def test_a_folder_of_data_extra_that_is_missing(root: Path, tmp_path: Path) -> None:
    (finding,) = examine(root, extra={"images": [str(tmp_path / "none")]}).problems
    assert finding.where == "extra"
    assert str(tmp_path / "none") in finding.text


def test_masks_that_are_nearly_all_void(root: Path) -> None:
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[0, 0] = 1
    Image.fromarray(mask).save(root / "masks" / "photo 01.png")
    (finding,) = [each for each in examine(root).findings if each.level != "note"]
    assert finding.level == "warning"
    assert finding.files == (str(root / "masks" / "photo 01.png"),)


def test_a_set_of_one_class(root: Path) -> None:
    for path in (root / "masks").glob("*.png"):
        Image.new("L", (WIDTH, HEIGHT), 0).save(path)
    assert all("A single class occurs" in finding.text for finding in examine(root).problems)
    assert len(examine(root).problems) == 2


def test_the_command_line_names_all_and_fails(root: Path, segdistill: Callable[..., Any]) -> None:
    assert segdistill("doctor", "folder", f"data.root={root}").returncode == 0
    for index in (1, 2, 3):
        cut(root / "images" / f"photo {index:02d}.png")
    done = segdistill("doctor", "folder", f"data.root={root}")
    assert done.returncode == 1
    assert all(f"photo {index:02d}.png" in done.stdout for index in (1, 2, 3))
    assert "3 files, as" in done.stdout, "equal faults are one problem, with their number"
    assert "1 problem(s)" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert segdistill("doctor", "folder", f"data.root={root}", "images=some").returncode == 1


def test_ctrl_c_hands_over_what_was_found(tmp_path: Path, start: Callable[..., Forked]) -> None:
    """A large generated set, which takes minutes to read."""
    running = start("doctor", "streets", "data.size=[128,192]", "data.count=20000", "images=all")
    while "reading 20000 of 20000" not in running.output:
        assert running.poll() is None, running.output
        time.sleep(0.05)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "this is what was found so far" in out
    assert "building" in out
    assert "Traceback" not in out
