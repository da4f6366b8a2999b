"""A student that sees four channels of 16 bits is exported with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from channel_folders import RANGE, write_folder

import segdistill
from segdistill.cli.tables.exporting import export_lines
from segdistill.core.errors import RecipeError
from segdistill.data.reading import read_image


@pytest.mark.slow
def test_an_exported_student_agrees(tiny: tuple[str, ...], tmp_path: Path) -> None:
    root, run = write_folder(tmp_path / "data"), tmp_path / "run"
    kept = [word for word in tiny if not word.startswith(("data.", "streets"))]
    segdistill.train("folder", f"data.root={root}", "data.channels=4", RANGE, *kept, "steps=2", out=run, quiet=True)
    done = segdistill.export(run, "input=uint8", "outputs=logits", out=tmp_path / "file")
    file, model = segdistill.load_model(done.files[0].path), segdistill.load_model(run)
    assert file.pixels == model.pixels
    takes = "It takes 4 channel(s) uint8 (N,H,W,4) (made of the stored values 0 to 4000)"
    assert any(line.startswith(takes) for line in export_lines(done))
    image = read_image(root / "images" / "2.tif", pixels=model.pixels)[None]
    image = (image * 255).round() / 255
    with torch.no_grad():
        expected = torch.nn.functional.interpolate(model(image).logits, image.shape[-2:], mode="bilinear")
    assert torch.allclose(file(image).logits, expected, atol=1e-3)
    assert segdistill.profile(done.files[0].path, runs=1).size
    with pytest.raises(RecipeError, match="RGB"):
        segdistill.export(run, "format=web", "ort=https://example.org", out=tmp_path / "web")
