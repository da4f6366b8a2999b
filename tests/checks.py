"""What every network promises: checks that a test class inherits and runs on the networks it names."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from segdistill.core.classes import unnamed_classes
from segdistill.core.outputs import SegOutput
from segdistill.models.build import build
from segdistill.models.families import BACKBONES
from segdistill.models.files import save_model
from segdistill.models.open import load_model
from segdistill.models.segmenter import Segmenter
from segdistill.models.zoo import resolve_spec

CLASSES = 5


@functools.lru_cache(maxsize=2)
def shared(make: Callable[[str, int], Segmenter], name: str) -> Segmenter:
    """A network of `CLASSES` classes that neighbouring checks share, in evaluation mode."""
    return make(name, CLASSES).eval()


class ExportCheck:
    """`names` are networks of the zoo; a subclass may make its own in `make`. `network` is left as it is found."""

    names: ClassVar[list[str]]

    @pytest.fixture
    def network(self, name: str) -> Segmenter:
        return shared(self.make, name)

    @staticmethod
    def make(name: str, num_classes: int) -> Segmenter:
        torch.manual_seed(0)
        made = build(resolve_spec({"name": name}), num_classes)
        assert isinstance(made, Segmenter)
        return made

    def image(self, height: int, width: int, n: int = 1) -> Tensor:
        return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(5))

    def run(self, network: Segmenter, image: Tensor) -> SegOutput:
        with torch.no_grad():
            output: SegOutput = network(image)
        return output

    def test_exports(self, network: Segmenter) -> None:
        image = self.image(64, 96)
        exported = torch.export.export(_Scores(network), (image,)).module()
        torch.testing.assert_close(exported(image), self.run(network, image).logits, rtol=1e-4, atol=1e-5)


class NetworkChecks(ExportCheck):
    """What is fast enough to be checked of every network."""

    test_exports = None  # type: ignore[assignment]

    @pytest.mark.parametrize("size", [(65, 97), (33, 47), (17, 16)], ids=str)
    def test_any_size(self, network: Segmenter, size: tuple[int, int]) -> None:
        output = self.run(network, self.image(*size, n=2))
        assert output.logits.shape == (2, CLASSES, *output.embedding.shape[-2:])
        assert output.logits.isfinite().all()
        assert output.auxiliary is None
        heights = [feature.shape[-2] for feature in output.features]
        assert heights == sorted(heights, reverse=True), "finest first"

    def test_strides_and_channels_are_those_it_claims(self, network: Segmenter) -> None:
        assert network.spec is not None
        info = network.backbone.feature_info
        output = self.run(network, self.image(128, 192))
        assert [feature.shape[1] for feature in output.features] == info.channels()
        for feature, stride in zip(output.features, info.reduction(), strict=True):
            rows, columns = feature.shape[-2:]  # ICNet's pooling rounds up: a row more
            assert 0 <= rows - 128 // stride <= network.spec.backbone.startswith("icnet")
            assert 0 <= columns - 192 // stride <= network.spec.backbone.startswith("icnet")
        if network.spec.backbone not in BACKBONES:  # those have strides of their own
            assert info.reduction()[-1] == (network.spec.output_stride or 32)
        assert output.embedding.shape[1] == network.head.channels == network.classifier.in_channels

    def test_learns(self, network: Segmenter) -> None:
        network = copy.deepcopy(network).train()
        image = self.image(64, 96, n=2)
        output = network(image)
        maps = [output.logits, *output.auxiliary_maps, *([] if output.boundary is None else [output.boundary])]
        torch.stack([each.square().mean() for each in maps]).sum().backward()
        trained = {name: each for name, each in network.named_parameters() if each.requires_grad}
        for parameter_name, parameter in trained.items():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.isfinite().all(), parameter_name
        assert len(maps) == 1 + (network.auxiliary is not None) + len(network.auxiliary_heads)
        before = self.run(network.eval(), image).logits
        with torch.no_grad():
            for parameter in trained.values():
                parameter -= 1e-3 * parameter.grad
        assert not torch.equal(self.run(network, image).logits, before)

    def test_says_the_same_twice(self, network: Segmenter) -> None:
        image = self.image(65, 97)
        assert torch.equal(self.run(network, image).logits, self.run(network, image).logits)

    def test_saved_and_loaded_is_the_same(self, network: Segmenter, tmp_path: Path) -> None:
        save_model(tmp_path, "student", network, network.spec, unnamed_classes(CLASSES), None)
        image = self.image(33, 47)
        assert torch.equal(load_model(tmp_path)(image).logits, self.run(network, image).logits)

    def test_half_precision(self, network: Segmenter) -> None:
        image = self.image(64, 96)
        full = self.run(network, image).logits
        with torch.autocast("cpu", torch.bfloat16):
            half = self.run(network, image).logits
        assert half.dtype == torch.bfloat16
        assert (half.float() - full).norm() < 0.1 * full.norm()

    @pytest.mark.parametrize("num_classes", [2, 150])
    def test_any_number_of_classes(self, name: str, num_classes: int) -> None:
        assert self.run(self.make(name, num_classes).eval(), self.image(33, 47)).logits.shape[1] == num_classes


class _Scores(torch.nn.Module):
    """The logits alone, as an exported file gives them."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).logits
