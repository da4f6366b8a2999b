"""`profile` from Python and from the command line."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

import segdistill as library
from segdistill.cli.tables.cost import cost_notes, cost_table
from segdistill.core.errors import SegdistillError
from segdistill.core.outputs import SegOutput
from segdistill.evaluation.cost.cost import trace, training_bytes
from segdistill.evaluation.cost.memory import LiveBytes, saved_for_backward
from segdistill.evaluation.cost.stages import Stages
from segdistill.evaluation.inference.inference import predict_classes
from segdistill.models.network import SegmentationNetwork
from segdistill.recipe.composition import key_values

Run = Callable[..., subprocess.CompletedProcess[str]]
TABLE = {
    "pspnet_r18": "54.53 12.82",
    "hrnet_w18s": "10.49 3.97",
    "deeplabv3plus_mv2": "69.60 15.35",
    "isanet_r18": "54.33 12.46",
}
"""BPKD's table (arXiv 2306.08075): GFLOPs and million parameters of the students, as printed. test_macs.py has exact
numbers of the teachers, too."""


@pytest.mark.parametrize("name", TABLE)
def test_a_row_of_the_published_table(name: str) -> None:
    done = library.profile(name, num_classes=150, size=(512, 512), latency=False)
    assert f"{done.gflops:.2f} {done.parameters / 1e6:.2f}" == TABLE[name]


def test_the_command_line_gives_json(segdistill: Run) -> None:
    done = segdistill("profile", "hrnet_w18s", "num_classes=150", "size=512x512", "latency=false", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["network"], result["num_classes"], result["size"]) == ("hrnet_w18s", 150, [512, 512])
    assert (result["macs"], result["parameters"]) == (10_486_974_464, 3_974_810)
    assert result["gflops"] == result["macs"] / 1e9
    assert result["milliseconds"] is None
    assert sum(result["macs_by_kind"].values()) == result["macs"] == sum(s["macs"] for s in result["stages"])
    assert sum(stage["parameters"] for stage in result["stages"]) == result["parameters"]
    assert max(stage["activation_bytes"] for stage in result["stages"]) == result["activation_bytes"]
    assert "multiply-adds (1 each)" in result["convention_explained"]
    assert result["environment"]["machine"]


def test_the_table_shows_every_stage_and_how_it_was_measured() -> None:
    done = library.profile("mobilenetv2_pspnet", num_classes=5, size=(64, 96), runs=2, output_stride=8)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(cost_table(done), cost_notes(done))
    shown = console.export_text()
    for expected in (
        "5 classes, 64x96 (HxW)", "backbone.blocks.3", "head", "classifier", "auxiliary", "resize", "whole",
        "median of 2 warm runs", "multiply-adds (1 each)",
    ):  # fmt: skip
        assert expected in shown, expected
    assert done.milliseconds is not None
    assert done.milliseconds > 0
    timed = {stage.name: stage.milliseconds for stage in done.stages}
    assert timed.pop("auxiliary") is timed.pop("auxiliary_classifier") is None
    assert all(value is not None and value > 0 for value in timed.values())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pspnet_r19"], "Did you mean 'pspnet_r18'"),
        (["pspnet_r18", "num_clases=150"], "Did you mean 'num_classes'"),
        (["pspnet_r18", "otput_stride=16"], "Did you mean 'output_stride'"),
        (["pspnet_r18", "size=512"], "512x1024"),
        (["pspnet_r18", "size=0x16"], "size"),
        (["pspnet_r18", "num_classes=0"], "num_classes"),
        (["pspnet_r18", "convention=mmcv"], "'paper' or 'conv'"),
        (["pspnet_r18", "device=cudda"], "'cudda'"),
        (["pspnet_r18", "150"], "key=value"),
        (["nowhere/run"], "nowhere/run"),
    ],
)
def test_mistakes_get_a_sentence(words: list[str], expected: str) -> None:
    with pytest.raises(SegdistillError) as error:
        library.profile(words[0], **key_values(words[1:]))
    assert expected in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_mistake_on_the_command_line_has_no_traceback(segdistill: Run) -> None:
    done = segdistill("profile", "pspnet_r18", "num_clases=150")
    assert done.returncode == 1
    assert done.stderr == "Error: Unknown key 'num_clases'. Did you mean 'num_classes'?\n"


def test_the_convention_of_convolutions_leaves_the_rest_out() -> None:
    whole = library.profile("mobilenetv2_pspnet", size="64x64", latency=False)
    bare = library.profile("mobilenetv2_pspnet", size="64x64", latency=False, convention="conv")
    assert bare.macs == whole.macs_by_kind["conv"] + whole.macs_by_kind["matmul"] < whole.macs
    assert list(bare.macs_by_kind) == ["conv", "matmul"]


def test_a_run_folder_brings_its_own_classes_and_crop(tmp_path: Path, tiny: tuple[str, ...]) -> None:
    run = library.train(*tiny, "steps=1", out=tmp_path / "run", quiet=True).folder
    done = library.profile(run, latency=False)
    assert (done.num_classes, done.size) == (8, (32, 48))
    assert library.profile(run, size=(64, 64), latency=False).size == (64, 64)
    for wrong in ({"num_classes": 9}, {"channels": 16}):
        with pytest.raises(SegdistillError, match=f"8 classes.*{next(iter(wrong))}"):
            library.profile(run, latency=False, **wrong)


def test_a_network_is_left_as_it_was() -> None:
    network = library.create_model("mobilenetv2_pspnet", 3).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    done = library.profile(network, size=(64, 64), runs=1)
    assert (done.network, done.num_classes) == ("Segmenter", 3)
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert done.parameters - done.parameters_without_auxiliary == sum(
        p.numel() for name, p in network.named_parameters() if name.startswith("auxiliary")
    )


def test_a_size_that_the_network_can_not_take_is_refused() -> None:
    network = library.create_model("mobilenetv2_pspnet", 3)
    network.head.bottleneck = nn.AvgPool2d(9)
    with pytest.raises(SegdistillError, match=r"64x32 \(HxW\)"):
        library.profile(network, size=(64, 32), latency=False)


class _Plain(SegmentationNetwork):
    """Two convolutions with an in-place activation between, whose tensors are easily listed."""

    def __init__(self) -> None:
        super().__init__(num_classes=2, mean=(0, 0, 0), std=(1, 1, 1))
        self.a, self.b = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 2, 1)

    def forward(self, image: torch.Tensor) -> SegOutput:
        x = self.a(image).relu_()
        return SegOutput(logits=self.b(x.view(x.shape)), embedding=image, features=())


def test_live_bytes_are_those_of_the_tensors_that_live() -> None:
    done = library.profile(_Plain(), size=(10, 20), latency=False)
    pixels = 10 * 20
    # uint8 image, its float twin, the 16 channels and the 2 of the logits, at the end of the second convolution
    assert done.activation_bytes == pixels * (3 + 4 * (3 + 16 + 2))
    # for backward: the input of either convolution (the activation keeps its result, which is the second's input)
    assert done.training_bytes == pixels * 4 * (3 + 16)


@pytest.mark.parametrize("name", ["mobilenetv2_pspnet", "segformer_b0"])
def test_memory_without_contents_equals_a_real_run(name: str) -> None:
    network = library.create_model(name, 4)
    with Stages(network) as stages, LiveBytes(stages) as real:
        predict_classes(network, torch.zeros(1, 3, 64, 96, dtype=torch.uint8))
    assert trace(network, (64, 96), torch.device("cpu")).live.peaks == real.peaks
    kept = saved_for_backward(network.train(), torch.zeros(2, 3, 64, 96))
    assert training_bytes(network, (64, 96), torch.device("cpu")) == kept // 2


def test_a_network_of_another_library_is_profiled_by_its_stages() -> None:
    done = library.profile("torchvision:fcn_resnet50", num_classes=21, size=(64, 64), latency=False)
    stages = {stage.name: stage for stage in done.stages}
    assert stages["module.backbone.layer4"].parameters == 14_964_736
    assert stages["module.classifier"].macs == 8 * 8 * (2048 * 512 * 9 + 2 * 512 + 512 * 21)
