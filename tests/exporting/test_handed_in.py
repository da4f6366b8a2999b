"""Networks of the user's own code: handed in they become files, and as teachers they are measured without one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.recipe.recipe import load_recipe


class Net(nn.Module):
    """Scores of 8 classes at a quarter of the image's sides."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 8, 1))

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.layers(images)
        return scores


def test_a_student_that_was_handed_in_is_exported_beside_its_run(tiny: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    segdistill.train(*tiny, "steps=2", student=Net(), out=run, quiet=True)
    network = segdistill.load_model(run, module=Net())
    done = segdistill.export(network, quiet=True)
    assert done.folder == run / "export"
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    (classes,) = onnxruntime.InferenceSession(done.files[0].path).run(
        None, {"image": photo.transpose(2, 0, 1)[None].astype(np.float32) / 255}
    )
    assert (classes.squeeze() == network.predict(photo).mask).mean() > 0.99


def test_a_network_of_no_run_needs_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = segdistill.wrap(Net(), num_classes=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    with pytest.raises(RecipeError, match="not a folder to write beside"):
        segdistill.export(network)
    done = segdistill.export(network, out=tmp_path / "file", size=(32, 48), quiet=True)
    assert done.description.origin["normalization"]["mean"] == [0.5, 0.5, 0.5]
    with pytest.raises(RecipeError, match="is an exported file already"):
        segdistill.export(segdistill.load_model(done.files[0].path), out=tmp_path / "again")


def test_a_teacher_of_code_is_in_the_table_without_a_size(distilled_run: Path, tmp_path: Path) -> None:
    words = f"teacher.weights=module:{Net.__module__}:Net", "formats=onnx", "int8=false", "runs=1"
    done = segdistill.benchmark(distilled_run, *words, out=tmp_path, quiet=True)
    assert [done.cells()[0][done.headings().index(heading)] for heading in ("network", "MB")] == ["teacher", ""]
    written = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    assert (written["rows"][0]["name"], written["rows"][0]["megabytes"]) == ("teacher", None)


def test_a_file_teaches_by_its_logits_alone(run: Path, tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = (*tiny, "steps=2", "baseline=none", "teacher.check=false")
    logits = segdistill.export(run, "outputs=logits", out=tmp_path / "logits", quiet=True).files[0].path
    done = segdistill.distill(*words, f"teacher.weights={logits}", out=tmp_path / "taught", quiet=True)
    assert [method.name for method in load_recipe(done.folder / "recipe.yaml").method] == ["bpkd"]  # the default
    classes = segdistill.export(run, out=tmp_path / "classes", quiet=True).files[0].path
    with pytest.raises(RecipeError, match="outputs=logits"):
        segdistill.distill(*words, "kd", f"teacher.weights={classes}", out=tmp_path / "hard", quiet=True)
    with pytest.raises(RecipeError, match="canonical"):
        segdistill.distill(*words, "canonical", f"teacher.weights={logits}", out=tmp_path / "maps", quiet=True)
