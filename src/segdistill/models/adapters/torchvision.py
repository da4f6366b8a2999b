"""`torchvision:<name>`: the segmentation networks of torchvision."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.error import URLError

from torchvision import models

from segdistill.core.classes import Classes, distinct_colors
from segdistill.core.errors import CheckpointError, RecipeError, nearest
from segdistill.models.adapters.base import Adapter
from segdistill.models.adapters.module import ModuleNetwork
from segdistill.models.filling import fill
from segdistill.models.network import SegmentationNetwork


class TorchVision(Adapter):
    """`torchvision:deeplabv3_resnet50`, any of torchvision's segmentation networks.

    Weights are random, or with backbone_weights "pretrained" those of COCO with the 21 classes of Pascal VOC
    (downloaded; for another number of classes the classifiers start at random). As `teacher.weights` the pretrained
    ones.

    Args:
        source: torchvision's name of the network.
        auxiliary: Whether FCN and DeepLab networks have their auxiliary head.
        features: See `ModuleNetwork`; default the stages of a ResNet, or of a MobileNet those that the heads read.
    """

    prefix: ClassVar[str] = "torchvision"

    def __init__(self, source: str, *, auxiliary: bool = False, features: tuple[str, ...] | None = None) -> None:
        super().__init__(source)
        self.auxiliary = auxiliary
        self.features = features

    def build(self, num_classes: int | None, weights: str | None = None) -> SegmentationNetwork:
        """The network of the name.

        Args:
            num_classes: K; with another than 21 pretrained classifiers start at random. None: the pretrained network.
            weights: "pretrained" downloads those of COCO; None for random ones.

        Returns:
            The network; `classes` is set if it keeps the pretrained ones.

        Raises:
            RecipeError: torchvision has no such network, or `weights` is something else.
            CheckpointError: Weights can't be downloaded, or do not fit.
        """
        names = models.list_models(module=models.segmentation)
        if self.source not in names:
            raise RecipeError(f"'{self.name}': torchvision has no such network.{nearest(self.source, names)}")
        if weights not in (None, "pretrained"):
            raise RecipeError(f"'{self.name}': backbone_weights can be null or pretrained, found '{weights}'.")
        published = models.get_model_weights(self.source).DEFAULT if num_classes is None or weights else None
        categories: list[str] = published.meta["categories"] if published is not None else []
        count = num_classes if num_classes is not None else len(categories)
        heads = {} if self.source.startswith("lraspp") else {"aux_loss": self.auxiliary}
        module = models.get_model(self.source, weights=None, weights_backbone=None, num_classes=count, **heads)
        if published is not None:
            try:
                tensors = published.get_state_dict(progress=False, check_hash=True)
            except (URLError, OSError) as error:
                raise CheckpointError(
                    f"Can't download the weights of '{self.name}': {str(error).rstrip('.')}. Without a connection, "
                    "leave backbone_weights at null."
                ) from error
            may_differ = ["aux_classifier."] if not self.auxiliary else []
            may_differ += [] if count == len(categories) else ["classifier.", "aux_classifier."]
            fill(module, tensors, str(published.url), may_differ=may_differ)
        network = ModuleNetwork(module, num_classes=num_classes, features=self._stages(module), backbone="backbone")
        if len(categories) == count:
            network.classes = Classes(tuple(categories), distinct_colors(count))
        return network

    def portable(self, network: SegmentationNetwork) -> dict[str, Any]:
        """The options that the name does not say.

        Args:
            network: Not asked.

        Returns:
            auxiliary, and features if they were chosen.
        """
        options: dict[str, Any] = {"auxiliary": self.auxiliary}
        return options if self.features is None else {**options, "features": list(self.features)}

    def _stages(self, module: Any) -> tuple[str, ...]:
        if self.features is not None:
            return self.features
        stages = [f"backbone.layer{index}" for index in range(1, 5)]
        return tuple(stages) if hasattr(module.backbone, "layer1") else ("backbone",)
