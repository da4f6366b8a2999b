"""Micro-batches of one image: refused where a batch norm sees one value, before the first step and in doctor."""

from __future__ import annotations

from pathlib import Path

import pytest

import segdistill
from segdistill.core.errors import RecipeError

WORDS = ("streets", "data.count=2", "data.size=[64,64]", "steps=1", "augment.crop=[64,64]", "workers=0")
SMP = "student=smp:deeplabv3plus/resnet18"


@pytest.mark.parametrize(
    ("student", "batch", "remedy"),
    [
        (SMP, ("batch_size=1",), "batch_size=2"),
        (SMP, ("batch_size=2", "grad_accumulation=2"), "grad_accumulation=1"),
        (SMP, ("batch_size=6", "grad_accumulation=6"), "grad_accumulation=3"),
        ("student=torchvision:deeplabv3_mobilenet_v3_large", ("batch_size=1",), "batch_size=2"),
    ],
)
def test_it_is_refused_and_says_which_key_to_change(
    student: str, batch: tuple[str, ...], remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=rf"one image at a time.*batch norm 'module\..*set {remedy}"):
        segdistill.train(*WORDS, student, *batch, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_doctor_says_so_too() -> None:
    findings = segdistill.doctor(*WORDS, SMP, "batch_size=1", quiet=True).problems
    assert any("batch_size=2" in finding.text for finding in findings)


@pytest.mark.parametrize("student", ["mobilenetv2_pspnet", "smp:unet/resnet18"])
def test_networks_that_take_one_image_train_on_one(student: str, tmp_path: Path) -> None:
    segdistill.train(*WORDS, f"student={student}", "batch_size=1", out=tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "student.safetensors").is_file()
