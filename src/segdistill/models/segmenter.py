"""A segmentation network: normalization, backbone, head, classifier, auxiliary head."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.models.auxiliary import AuxiliaryHead
from segdistill.models.heads import Head
from segdistill.models.network import SegmentationNetwork
from segdistill.models.sigmoid import make_classifier
from segdistill.models.spec import NetworkSpec
from segdistill.models.stage_fit import StageFit


class Segmenter(SegmentationNetwork):
    """Backbone, head and classifier: RGB (N,3,H,W) in [0,1] -> `SegOutput` with logits (N,K,h,w) at the head's stride.

    Args:
        backbone: Gives its stages, finest first.
        head: Makes the embedding from them.
        num_classes: K.
        mean: Of RGB in [0,1], which the backbone expects to be subtracted.
        std: What it expects to be divided by then.
        bgr: Whether it expects the channels the other way round.
        auxiliary: A second head, whose logits are returned while training, or where `auxiliary_given`.
        auxiliary_heads: Further ones; the logits of the first that predicts classes are `SegOutput.auxiliary` where
            there is no `auxiliary`, those of the others are returned while training only.
        dropout: The share of whole channels that is dropped before the classifier, while training.
        sigmoid: Whether one score makes the two classes, see `SegmentationNetwork.sigmoid`.
    """

    spec: NetworkSpec | None = None
    """What the network is made of, if it was made from such a description."""
    stage_fit: StageFit = StageFit()
    """How images go into the backbone and its stages come out, if it takes no image of any size or gives N,h,w,C."""
    auxiliary_wanted: bool = False
    """Whether the auxiliary logits are returned in evaluation mode, too; see `auxiliary_given`."""

    def __init__(
        self,
        backbone: nn.Module,
        head: Head,
        *,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        bgr: bool = False,
        auxiliary: Head | None = None,
        auxiliary_heads: Sequence[AuxiliaryHead] = (),
        dropout: float = 0.1,
        sigmoid: bool = False,
    ) -> None:
        super().__init__(num_classes=num_classes, mean=mean, std=std, bgr=bgr)
        self.sigmoid = sigmoid
        self.backbone = backbone
        self.head = head
        self.auxiliary = auxiliary
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = make_classifier(head.channels, num_classes, sigmoid=sigmoid)
        self.auxiliary_classifier = (
            make_classifier(auxiliary.channels, num_classes, sigmoid=sigmoid) if auxiliary else None
        )
        self.auxiliary_heads = nn.ModuleList(auxiliary_heads)
        for module in (self.head, self.auxiliary, self.classifier, self.auxiliary_classifier, self.auxiliary_heads):
            if module is not None:
                module.apply(_initialize)

    def forward(self, image: Tensor) -> SegOutput:
        """The scores of images, and the maps they are made of.

        Args:
            image: RGB (N,3,H,W) in [0,1].

        Returns:
            Logits (N,K,h,w) and embedding (N,D,h,w) at the head's stride, stages finest first; boundary logits while
            training, auxiliary logits then or where `auxiliary_given`.
        """
        features = self.stage_fit(self.backbone, self.normalize(image))
        embedding = self.head(features)
        maps, boundary = self._auxiliary_logits(features)
        return SegOutput(
            logits=self.classifier(self.dropout(embedding)),
            embedding=embedding,
            features=features,
            auxiliary=maps[0] if maps else None,
            further_auxiliary=tuple(maps[1:]),
            boundary=boundary,
        )

    def _auxiliary_logits(self, features: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor | None]:
        """Logits over the classes of each auxiliary head that is wanted, and the boundary head's."""
        maps: list[Tensor] = []
        boundary = None
        if not (self.training or self.auxiliary_wanted):
            return maps, boundary
        if self.auxiliary is not None and self.auxiliary_classifier is not None:
            maps.append(self.auxiliary_classifier(self.dropout(self.auxiliary(features))))
        for each in self.auxiliary_heads:
            if each.predicts != "classes":
                boundary = each(features, self.dropout) if self.training else None
            elif self.training or not maps:
                maps.append(each(features, self.dropout))
        return maps, boundary

    def boundary_target(self, label: Tensor) -> Tensor:
        """What the boundary head should say of each pixel, as the first auxiliary head that has a target makes it.

        Args:
            label: Integers (N,H,W), 255 is void.

        Returns:
            (N,H,W), 0 or 1.

        Raises:
            NotImplementedError: No auxiliary head has one.
        """
        for each in self.auxiliary_heads:
            if isinstance(each, AuxiliaryHead) and each.target is not None:
                target: Tensor = each.target(label)
                return target
        return super().boundary_target(label)

    def become(self, other: Segmenter) -> None:
        """Take on the modules, and so the weights, of another network.

        Args:
            other: One for the same classes; its modules are shared from then on.
        """
        for name, module in other.named_children():
            setattr(self, name, module)
        self.mean, self.std, self.bgr, self.spec = other.mean, other.std, other.bgr, other.spec
        self.stage_fit, self.sigmoid, self.input_channels = other.stage_fit, other.sigmoid, other.input_channels
        self.auxiliary_weight = other.auxiliary_weight
        self.train(self.training)


@contextlib.contextmanager
def auxiliary_given(network: nn.Module) -> Iterator[None]:
    """Meanwhile a network returns auxiliary logits in evaluation mode, too, if it has a head for them.

    Args:
        network: The network, or a module around it.
    """
    segmenters = [module for module in network.modules() if isinstance(module, Segmenter)]
    for each in segmenters:
        each.auxiliary_wanted = True
    try:
        yield
    finally:
        for each in segmenters:
            each.auxiliary_wanted = False


def _initialize(module: nn.Module) -> None:
    """Kaiming for convolutions that a norm follows, a small normal for classifiers (the ones with a bias)."""
    if isinstance(module, nn.Conv2d) and module.bias is None:
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Conv2d) and module.bias is not None:
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)
