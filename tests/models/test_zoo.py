"""Every network of the zoo keeps the promises of a network."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from checks import CLASSES, ExportCheck, NetworkChecks
from shapes import Shapes

from segdistill.core.outputs import SegOutput
from segdistill.models.build import outline
from segdistill.models.segmenter import Segmenter
from segdistill.models.zoo import ZOO, resolve_spec

BIG = [
    name
    for name in ZOO
    if any(part in name for part in ("r101", "r50", "w48", "w18", "_b1", "_b2", "_b3", "_b4", "_b5"))
]
BIG.remove("hrnet_w18s")
BIG += ["deeplabv3plus_mv2", "deeplabv3_r18_cirkd2", "pspnet_mv2"]  # the widths or parts of others that are not big


class TestNetworks(NetworkChecks):
    names: ClassVar = [name for name in ZOO if name not in BIG]


class TestExports(ExportCheck):
    """Each head and each kind of backbone once."""

    names: ClassVar = [
        "mobilenetv2_pspnet", "mobilenetv2_035_fcn", "mobilenetv2_035_deeplabv3plus", "deeplabv3_mv2", "isanet_r18",
        "hrnet_w18s", "segformer_b0", "pspnet_r18_cirkd",
    ]  # fmt: skip


class TestBigNetworks(NetworkChecks):
    """The big ones are made without memory: what they claim is checked, not what they compute."""

    names: ClassVar = BIG

    @staticmethod
    def make(name: str, num_classes: int) -> Segmenter:
        made = outline(resolve_spec({"name": name}), num_classes)
        assert isinstance(made, Segmenter)
        return made

    def image(self, height: int, width: int, n: int = 1) -> torch.Tensor:
        return torch.empty(n, 3, height, width, device="meta")

    def run(self, network: Segmenter, image: torch.Tensor) -> SegOutput:
        with Shapes():
            return super().run(network, image)

    @pytest.mark.parametrize("size", [(65, 97), (33, 47), (17, 16)], ids=str)
    def test_any_size(self, network: Segmenter, size: tuple[int, int]) -> None:
        output = self.run(network, self.image(*size, n=2))
        assert output.logits.shape == (2, CLASSES, *output.embedding.shape[-2:])
        heights = [feature.shape[-2] for feature in output.features]
        assert heights == sorted(heights, reverse=True)

    # What they compute is the same code as that of their small relatives above.
    test_learns = None
    test_says_the_same_twice = None
    test_saved_and_loaded_is_the_same = None
    test_half_precision = None
