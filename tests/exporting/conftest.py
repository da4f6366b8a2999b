"""A run that looks finished without having been trained, and all its files, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import segdistill
from segdistill.core.storage import write_yaml
from segdistill.data.datasets.streets import Streets
from segdistill.exporting.benchmark_result import Benchmark
from segdistill.models.build import build
from segdistill.models.files import save_model
from segdistill.models.segmenter import Segmenter
from segdistill.models.spec import NetworkSpec
from segdistill.recipe.recipe import load_recipe

SPEC = NetworkSpec(backbone="test_efficientnet", head="fcn", channels=8, output_stride=16, auxiliary_channels=0)
PLAIN = SPEC.model_copy(update={"backbone": "test_resnet"})


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose student sees many classes, and whose recipe has a few generated images."""
    return write_run(tmp_path_factory.mktemp("exports") / "run", SPEC)


@pytest.fixture(scope="session")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a plain ResNet, whose rounding errors do not grow from gate to gate while it is not trained."""
    return write_run(tmp_path_factory.mktemp("exports") / "plain", PLAIN)


@pytest.fixture(scope="session")
def distilled_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distilled run with its teacher in the folder."""
    folder = write_run(tmp_path_factory.mktemp("exports") / "distilled", PLAIN, "kd")
    write_run(folder / "teacher", SPEC, role="teacher")
    return folder


def write_run(folder: Path, spec: NetworkSpec, *words: str, role: str = "student") -> Path:
    torch.manual_seed(0)
    network = build(spec, len(Streets.classes))
    assert isinstance(network, Segmenter)
    nn.init.normal_(network.classifier.weight)
    save_model(folder, role, network, spec, Streets.classes, {"data": "streets", "steps": 1})
    recipe = load_recipe(
        "streets", *words, "data.size=[48,80]", "data.count=6", "augment.crop=[48,80]", "workers=0", steps=1
    )
    write_yaml(folder / "recipe.yaml", recipe.model_dump(mode="json", exclude_none=True))
    return folder


@pytest.fixture(scope="session")
def benchmark(run: Path) -> Benchmark:
    """The table of all formats; the files are in `run/export` from then on."""
    words = "images=4", "formats=onnx,openvino,torch"
    return segdistill.benchmark(run, *words, runs=2, threads=[1], out=run / "export", quiet=True)


@pytest.fixture(scope="session")
def files(run: Path, benchmark: Benchmark) -> Path:
    """The folder of the exported files."""
    return run / "export"


@pytest.fixture(scope="session")
def small(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the file that takes uint8 images and gives logits at the head's stride."""
    out = tmp_path_factory.mktemp("small")
    segdistill.export(run, "outputs=small", input="uint8", out=out, license="CC0", quiet=True)
    return out
