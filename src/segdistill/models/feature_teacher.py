"""A backbone that knows no classes as a teacher of features: one map for an image of any size."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from segdistill.core.errors import CheckpointError, RecipeError, nearest
from segdistill.core.outputs import SegOutput
from segdistill.core.paths import expanded
from segdistill.models.adapters.huggingface import HuggingFace
from segdistill.models.backbones import PRETRAINED, load_backbone_weights
from segdistill.models.network import SegmentationNetwork
from segdistill.models.probing import evaluating, try_images
from segdistill.models.stage_fit import StageFit, with_any_size
from segdistill.models.teacher import rescale

_HF = "hf:"


class FeatureTeacher(SegmentationNetwork):
    """RGB in [0,1], N,3,H,W -> a `SegOutput` whose `features` are the backbone's last map alone (N,C,h,w).

    The image is padded to what the backbone takes, as a multiple of its patch, and the map is cut accordingly.

    Args:
        backbone: Normalized images -> [map].
        name: What it is called in errors.
        mean: Of RGB in [0,1], which it expects to be subtracted.
        std: What it expects to be divided by then.
        bgr: Whether it expects the channels the other way round.
        input_scale: How many times the student's image size it sees the image at.

    Raises:
        RecipeError: It takes images of one size only, or gives no map.
    """

    def __init__(
        self,
        backbone: nn.Module,
        name: str,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        bgr: bool = False,
        input_scale: float = 1.0,
    ) -> None:
        super().__init__(num_classes=2, mean=mean, std=std, bgr=bgr)
        self.backbone, self.input_scale = backbone, input_scale
        with evaluating(backbone), torch.no_grad():
            tried = try_images(backbone, f"Teacher '{name}'", next(backbone.parameters()))
        self.stage_fit = StageFit(tried.divisor)

    def forward(self, image: Tensor) -> SegOutput:
        (features,) = self.stage_fit(self.backbone, self.normalize(rescale(image, self.input_scale)))
        return SegOutput(features.new_zeros(len(features), 2, 1, 1), features, (features,))


def feature_teacher(
    name: str, weights: str | Path | None, options: Mapping[str, Any] | None = None, *, input_scale: float = 1.0
) -> FeatureTeacher:
    """The teacher of a recipe's section `pretrain`.

    Args:
        name: A network of timm, or "hf:" with the folder or id of a vision model of transformers.
        weights: Of a network of timm: "pretrained", a file or folder (see `load_backbone_weights`), or None for random
            ones. A model of transformers brings its own.
        options: Further arguments of timm's constructor.
        input_scale: How many times the student's image size it sees the image at.

    Raises:
        RecipeError: There is no such network, or it gives no map of features for images of any size.
        CheckpointError: The weights are missing or do not fit.
    """
    if name.startswith(_HF):
        if weights not in (None, PRETRAINED) or options:
            raise RecipeError(
                f"'{name}' brings its weights and options. Leave out teacher_weights and teacher_options."
            )
        backbone, pixels = _Transformers(name.removeprefix(_HF)).last_map()
        return FeatureTeacher(backbone, name, **pixels, input_scale=input_scale)
    if not timm.is_model(name):
        raise RecipeError(
            f"'pretrain.teacher': no network of timm is called '{name}'.{nearest(name, timm.list_models())} "
            "Models of transformers are named hf:FOLDER."
        )
    arguments = dict(options or {})
    model = with_any_size(
        lambda further: _timm_map(name, {**arguments, **further}, pretrained=weights == PRETRAINED),
        ("feature teacher", name, repr(sorted(arguments.items()))),
    )
    assert isinstance(model, _LastMap)
    if weights is not None and weights != PRETRAINED:
        load_backbone_weights(model.model, name, expanded(Path(weights)))
    config: Any = model.model.pretrained_cfg
    return FeatureTeacher(model, name, mean=config["mean"], std=config["std"], input_scale=input_scale)


class _LastMap(nn.Module):
    """timm's network -> [its last map, after its last norm]; class and register tokens are left out.

    Args:
        model: The network.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> list[Tensor]:
        model: Any = self.model
        return [
            model.forward_intermediates(pixels, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True)[-1]
        ]


def _timm_map(name: str, arguments: dict[str, Any], *, pretrained: bool) -> _LastMap:
    """The network `name` of timm without its classifier."""
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, **arguments)
    except TypeError as error:
        raise RecipeError(f"'pretrain.teacher_options': {name} can't be made with them ({error}).") from error
    except Exception as error:
        if not pretrained:
            raise
        raise CheckpointError(
            f"Can't download the weights of '{name}' ({error or type(error).__name__}). Set "
            "pretrain.teacher_weights to a file or folder that holds them."
        ) from error
    if not hasattr(model, "forward_intermediates"):
        raise RecipeError(f"'pretrain.teacher': timm's '{name}' gives no maps of features. Choose a ViT or a ConvNeXt.")
    return _LastMap(model)


class _Transformers(HuggingFace):
    """A vision model of transformers, of which the last hidden state is read."""

    def last_map(self) -> tuple[nn.Module, dict[str, Any]]:
        """The model as a module: normalized images -> [map]; and mean and std of RGB in [0,1], and bgr."""
        try:
            import transformers
        except ImportError as error:
            raise RecipeError(f"'{self.name}' needs transformers: pip install segdistill[huggingface]") from error
        model = self._from_files(transformers.AutoModel).float()
        pixels = self._normalization(transformers, model.config.model_type)
        model = getattr(model, "vision_model", None) or getattr(model, "vision_encoder", model)  # of CLIP; of SAM
        return _LastState(model, self.name), pixels


class _LastState(nn.Module):
    """A model of transformers -> [its last hidden state as a map]; the tokens before those of the patches are left out.

    Args:
        model: Takes pixel_values.
        name: What it is called in errors.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name
        takes = inspect.signature(model.forward).parameters
        self.arguments = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in takes else {}

    def forward(self, pixels: Tensor) -> list[Tensor]:
        state: Tensor = self.model(pixel_values=pixels, **self.arguments).last_hidden_state
        if state.dim() == 4:
            return [state]
        patch: int = self.model.config.patch_size  # type: ignore[union-attr, assignment]
        height, width = pixels.shape[-2] // patch, pixels.shape[-1] // patch
        if pixels.shape[-2] % patch or pixels.shape[-1] % patch:  # `try_images` goes on to the next multiple
            raise ValueError(f"sides {tuple(pixels.shape[-2:])} are not multiples of the patch, {patch}")
        if state.shape[1] < height * width:
            raise RecipeError(
                f"'{self.name}' gives {state.shape[1]} tokens where {height}x{width} patches were expected: it is not "
                "a plain vision transformer. Choose one such as DINOv2, or a network of timm."
            )
        return [state[:, -height * width :].transpose(1, 2).unflatten(2, (height, width))]
