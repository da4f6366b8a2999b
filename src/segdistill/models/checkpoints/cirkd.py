"""CIRKD's convolutional networks, both generations: a bare state dict with `pretrained.`, `head.`, `auxlayer.`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from segdistill.core.errors import CheckpointError
from segdistill.models.checkpoints.backbones import resnet_by_shape
from segdistill.models.checkpoints.layout import Layout, Rule, State, shape
from segdistill.models.published import CIRKD_PIXELS

_STAGES = (1, 2, 3, 4, 3, 3, 1)  # blocks of MobileNetV2's stages; its files number them through
_BLOCK = {"conv_pw": 0, "bn1": 1, "conv_dw": 3, "bn2": 4, "conv_pwl": 6, "bn3": 7}
_FIRST = {"conv_dw": 0, "bn1": 1, "conv_pw": 3, "bn2": 4}


def _mobile(match: re.Match[str]) -> str:
    stage, block, layer = int(match[1]), int(match[2]), match[3]
    number = 1 + sum(_STAGES[:stage]) + block
    return f"pretrained.net.features.{number}.conv.{(_BLOCK if stage else _FIRST)[layer]}"


_BACKBONES: dict[str, list[Rule]] = {
    "v1s": [
        *(
            (rf"backbone\.conv1\.{ours}\.", f"pretrained.{theirs}.")
            for ours, theirs in ((0, "conv1"), (1, "bn1"), (3, "conv2"), (4, "bn2"), (6, "conv3"))
        ),
        (r"backbone\.bn1", "pretrained.bn3"),
        (r"backbone", "pretrained"),
    ],
    "vanilla": [(r"backbone", "pretrained")],
    "os8": [
        (r"backbone\.conv_stem", "pretrained.net.features.0.0"),
        (r"backbone\.bn1", "pretrained.net.features.0.1"),
        (r"backbone\.blocks\.(\d)\.(\d)\.(\w+)", _mobile),
    ],
}
_HEADS: dict[str, list[Rule]] = {
    "deeplabv3": [
        (r"head\.branches\.0", "head.aspp.b0"),
        (r"head\.branches\.(\d)", r"head.aspp.b\1.block"),
        (r"head\.image_pool\.(\d)", lambda m: f"head.aspp.b4.gap.{int(m[1]) + 1}"),
        (r"head\.project", "head.aspp.project"),
        (r"head\.bottleneck", "head.block"),
        (r"classifier", "head.block.4"),
    ],
    "pspnet": [
        (r"head\.branches\.(\d)", lambda m: f"head.psp.conv{int(m[1]) + 1}"),
        (r"head\.bottleneck", "head.block"),
        (r"classifier", "head.classifier"),
    ],
}
_AUXILIARY: list[Rule] = [
    (r"auxiliary\.conv", "auxlayer.block"),
    (r"auxiliary_classifier", "auxlayer.block.4"),
]


class CIRKD(Layout):
    """Generations 1 (CVPR 2022) and 2 (CIRKDv2) have the same names; they differ in width."""

    title = "CIRKD"

    def matches(self, names: Collection[str]) -> bool:
        """Whether a file has CIRKD's head and a part called `pretrained`.

        Args:
            names: Of its tensors.
        """
        return "head.block.0.weight" in names and any(key.startswith("pretrained.") for key in names)

    def num_classes(self, state: State) -> int:
        """K, from the classifier's rows.

        Args:
            state: The tensors of the file.

        Raises:
            CheckpointError: It has no classifier.
        """
        return shape(state, "head.classifier.weight" if "head.classifier.weight" in state else "head.block.4.weight")[0]

    def rules(self, backbone: str, head: str) -> Sequence[Rule]:
        """From our names to CIRKD's.

        Args:
            backbone: "mobilenetv2_os8", or a ResNet with its stem, as "resnet18_v1s".
            head: "deeplabv3" or "pspnet".

        Raises:
            CheckpointError: It is another one.
        """
        kind = backbone.rpartition("_")[2]
        if head not in _HEADS or kind not in _BACKBONES:
            raise CheckpointError(f"{self.title} has no names for head '{head}' on backbone '{backbone}'.")
        return [*_BACKBONES[kind], *_HEADS[head], *_AUXILIARY]

    def network(self, state: State) -> dict[str, Any]:
        """The network that a file holds, by names and shapes of its tensors.

        Args:
            state: The tensors of the file.

        Returns:
            The fields of its `NetworkSpec`; auxiliary_channels is 0 where the file has no auxiliary head.

        Raises:
            CheckpointError: Its head or backbone is none of this library.
        """
        auxiliary = state.get("auxlayer.block.0.weight")
        if "head.aspp.b0.0.weight" in state:
            head: dict[str, Any] = {"name": "deeplabv3", "project": True, "dilations": [12, 24, 36]}
        elif "head.psp.conv1.0.weight" in state:
            width = shape(state, "head.psp.conv1.0.weight")[0]
            head = {"name": "pspnet", "branch_channels": width, "align_corners": True}
        else:
            raise CheckpointError("The file is in CIRKD's layout, but its head is neither DeepLabV3 nor PSPNet.")
        return {
            "backbone": _backbone(state),
            "head": head,
            "channels": shape(state, "head.block.0.weight")[0],
            "output_stride": 8,
            "auxiliary_channels": 0 if auxiliary is None else auxiliary.shape[0],
            **CIRKD_PIXELS,
        }


def _backbone(state: State) -> str:
    if "pretrained.net.features.0.0.weight" in state:
        return "mobilenetv2_os8"
    if "pretrained.layer1.0.bn1.weight" in state:
        stem = "v1s" if "pretrained.conv3.weight" in state else "vanilla"
        return f"{resnet_by_shape(state, 'pretrained.')}_{stem}"
    raise CheckpointError(
        "The file is in CIRKD's layout, but its backbone is neither ResNet nor MobileNetV2 "
        f"(MobileNetV3, MobileViT: not read yet). First tensors: {', '.join(list(state)[:4])}."
    )
