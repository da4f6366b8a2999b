"""Every network of the zoo keeps the promises of a network."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from checks import CLASSES, ExportCheck, NetworkChecks
from deployed import SMALL, small

from segdistill.core.outputs import SegOutput
from segdistill.evaluation.cost.cost import parameters
from segdistill.models.build import outline
from segdistill.models.catalog import ZOO
from segdistill.models.family_tables import NETWORKS
from segdistill.models.segmenter import Segmenter
from segdistill.models.shapes import Shapes
from segdistill.models.zoo import resolve_spec

LARGE = ("r101", "r50", "w48", "w18", "_b1", "_b2", "_b3", "_b4", "_b5")
PLAIN = [name for name in ZOO if name not in NETWORKS and "upernet" not in name]
BIG = [name for name in PLAIN if any(part in name for part in LARGE)]
BIG.remove("hrnet_w18s")
BIG += ["deeplabv3plus_mv2", "deeplabv3_r18_cirkd2", "pspnet_mv2"]  # the widths or parts of others that are not big
DEPLOYED = [name for name in NETWORKS if "swin" not in name]
"""Of Swin see test_swin.py."""
MILLIONS = {"ddrnet_23": 20.1, "pidnet_l": 36.9, "upernet_swin_s": 81, "upernet_swin_b": 121, "upernet_r101": 86}
"""Parameters as printed: DDRNet's and PIDNet's papers leave the auxiliary heads out, Swin's counts them."""


class TestNetworks(NetworkChecks):
    names: ClassVar = [name for name in PLAIN if name not in BIG]


class TestExports(ExportCheck):
    """A head of our own."""

    names: ClassVar = ["mobilenetv2_pspnet"]


@pytest.mark.slow
class TestMoreExports(ExportCheck):
    """Each other head and each kind of backbone once."""

    names: ClassVar = [
        "mobilenetv2_035_fcn", "mobilenetv2_035_deeplabv3plus", "deeplabv3_mv2", "isanet_r18", "hrnet_w18s",
        "segformer_b0", "pspnet_r18_cirkd",
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

    @pytest.mark.parametrize("size", [(33, 47)], ids=str)
    def test_any_size(self, network: Segmenter, size: tuple[int, int]) -> None:
        output = self.run(network, self.image(*size, n=2))
        assert output.logits.shape == (2, CLASSES, *output.embedding.shape[-2:])
        heights = [feature.shape[-2] for feature in output.features]
        assert heights == sorted(heights, reverse=True)

    # What they compute is the same code as that of their small relatives above, and so is their last layer.
    test_any_number_of_classes = None
    test_learns = None
    test_says_the_same_twice = None
    test_saved_and_loaded_is_the_same = None
    test_half_precision = None


class TestDeployedNetworks(NetworkChecks):
    """Those of `models/families`, in small: the same layers, fewer channels and blocks."""

    names: ClassVar = list(SMALL)
    make = staticmethod(small)


class TestTheirSizes(TestBigNetworks):
    """At full size and without memory: what they claim."""

    names: ClassVar = [*DEPLOYED, "upernet_r18"]
    test_any_size = None


@pytest.mark.parametrize("name", MILLIONS)
def test_parameters_are_the_published_ones(name: str) -> None:
    upernet = "upernet" in name
    network = TestBigNetworks.make(name, 150 if upernet else 19)
    counted = sum(each.numel() for each in network.parameters()) if upernet else parameters(network)
    assert counted / 1e6 == pytest.approx(MILLIONS[name], rel=0.006)
