"""`smp:<architecture>/<encoder>` and `smp:<folder>`: networks of segmentation_models_pytorch."""

from __future__ import annotations

import functools
import inspect
import json
from pathlib import Path
from typing import Any, ClassVar

import timm
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from segdistill.core.errors import CheckpointError, RecipeError, nearest
from segdistill.models.adapters.base import Adapter
from segdistill.models.adapters.module import ModuleNetwork
from segdistill.models.filling import fill
from segdistill.models.network import SegmentationNetwork
from segdistill.models.sigmoid import same_scores
from segdistill.models.stage_fit import with_any_size

_PRIVATE = "_model_class"


class SMP(Adapter):
    """`smp:unet/resnet18`, any architecture and encoder of smp, or a folder that smp's `save_pretrained` wrote.

    The encoder starts at random, or with backbone_weights "pretrained" from ImageNet (downloaded). A folder brings its
    weights; with another number of classes its classifier starts at random. The normalization is ImageNet's, or that
    of a timm encoder ("tu-..."), unless the recipe's mean and std say otherwise.

    Args:
        source: The name or the folder.
        arguments: Of smp's class, as decoder_channels.
        features: See `ModuleNetwork`; default the encoder's stages.
        config: The content of the config.json of a folder, to build from it without the folder and its weights.
    """

    prefix: ClassVar[str] = "smp"

    def __init__(
        self,
        source: str,
        *,
        arguments: dict[str, Any] = {},  # noqa: B006 (a schema's default, never written to)
        features: tuple[str, ...] = ("encoder",),
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(source)
        self.arguments = arguments
        self.features = features
        self.config = config

    def build(self, num_classes: int | None, weights: str | None = None) -> SegmentationNetwork:
        """The network of the name or folder.

        Args:
            num_classes: K; with another than a folder's the classifier starts at random. None: all as in the folder.
            weights: "pretrained" downloads the encoder's; None for random ones. A folder brings its own.

        Returns:
            The network; no classes are named.

        Raises:
            RecipeError: smp is missing, has no such network, or can't make it.
            CheckpointError: The folder is not there or can't be read, or a name alone has to be a trained network.
        """
        smp = _library()
        folder = Path(self.source).expanduser()
        saved = _read_config(folder) if self.config is None and folder.is_dir() else None
        if saved is not None and weights is not None:
            raise RecipeError(f"'{self.name}' brings its weights; backbone_weights has no meaning.")
        config = self.config or saved
        if config is not None:
            module, encoder = self._from_config(smp, config, num_classes)
            if saved is not None:
                _load(module, folder, strict=num_classes is None or same_scores(num_classes, saved["classes"]))
        else:
            if num_classes is None:
                raise CheckpointError(
                    f"'{self.name}' is not a trained network, and there is no folder {folder}. Name a folder written "
                    "by smp's save_pretrained."
                )
            module, encoder = self._from_name(smp, num_classes, weights)
        wrapped = functools.partial(
            ModuleNetwork,
            module,
            num_classes=num_classes,
            **_normalization(smp, encoder, weights),
            features=self.features,
            backbone="encoder",
        )
        stride: Any = module.encoder.output_stride if module.requires_divisible_input_shape else None  # type: ignore[union-attr]
        try:
            return wrapped(divisor=stride)
        except RecipeError:  # PAN and DPT need a multiple of more than the encoder's stride
            return wrapped(divisor=None)

    def portable(self, network: SegmentationNetwork) -> dict[str, Any]:
        """The arguments that smp saw, and which stages are read.

        Args:
            network: What `build` made.

        Returns:
            features and config.
        """
        module: Any = network.module
        config = {**module.config, _PRIVATE: type(module).__name__}
        return {"features": list(self.features), "config": config}

    def _from_config(self, smp: Any, config: dict[str, Any], num_classes: int | None) -> tuple[nn.Module, str]:
        arguments = {key: value for key, value in config.items() if not key.startswith("_")} | self.arguments
        arguments["encoder_weights"] = None
        if num_classes is not None and not same_scores(num_classes, arguments.get("classes")):
            arguments["classes"] = num_classes
        classes = {cls.__name__: cls for cls in smp.MODEL_ARCHITECTURES_MAPPING.values()}
        name = str(config.get(_PRIVATE))
        if name not in classes:
            raise CheckpointError(f"The config of '{self.name}' is of class '{name}'.{nearest(name, classes)}")
        return self._make(classes[name], arguments), str(arguments["encoder_name"])

    def _from_name(self, smp: Any, num_classes: int, weights: str | None) -> tuple[nn.Module, str]:
        architecture, _, encoder = self.source.partition("/")
        if architecture.lower() not in smp.MODEL_ARCHITECTURES_MAPPING:
            raise RecipeError(
                f"'{self.name}': smp has no architecture '{architecture}', and there is no folder '{self.source}'."
                f"{nearest(architecture.lower(), smp.MODEL_ARCHITECTURES_MAPPING)}"
            )
        if not _has_encoder(smp, encoder):
            raise RecipeError(
                f"'{self.name}': smp has no encoder '{encoder}'.{nearest(encoder, smp.encoders.get_encoder_names())} "
                f"Expected smp:{architecture}/ENCODER; tu-NAME is a timm network."
            )
        if weights not in (None, "pretrained"):
            raise RecipeError(f"'{self.name}': backbone_weights can be null or pretrained, found '{weights}'.")
        arguments = {
            "encoder_name": encoder,
            "encoder_weights": "imagenet" if weights else None,
            "classes": num_classes,
            **self.arguments,
        }
        return self._make(smp.MODEL_ARCHITECTURES_MAPPING[architecture.lower()], arguments), encoder

    def _make(self, cls: Any, arguments: dict[str, Any]) -> nn.Module:
        parameters = inspect.signature(cls.__init__).parameters
        for name in arguments:  # smp drops names that it does not have, unless they are for a timm encoder
            if name not in parameters and not str(arguments["encoder_name"]).startswith("tu-"):
                raise RecipeError(f"'{self.name}': {cls.__name__} has no argument '{name}'.{nearest(name, parameters)}")

        def make(further: dict[str, Any]) -> nn.Module:
            return cls(**{**further, **arguments})  # type: ignore[no-any-return]

        try:
            if str(arguments["encoder_name"]).startswith("tu-"):
                return with_any_size(make, architecture=(cls.__name__, repr(arguments)))
            return make({})
        except OSError as error:
            raise CheckpointError(
                f"Can't download the pretrained encoder of '{self.name}': {str(error).rstrip('.')}. Without a "
                "connection, set backbone_weights to null."
            ) from error
        except (TypeError, ValueError, KeyError, NotImplementedError) as error:
            raise RecipeError(f"smp can't make '{self.name}': {error}") from error


def _library() -> Any:
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise RecipeError("smp: networks need segmentation_models_pytorch: pip install segdistill[smp]") from error
    return smp


def _has_encoder(smp: Any, encoder: str) -> bool:
    if encoder.startswith("tu-"):
        return bool(timm.is_model(encoder.removeprefix("tu-")))
    return encoder in smp.encoders.get_encoder_names()


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["classes"], config["encoder_name"], config[_PRIVATE]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder} is not a folder of smp's save_pretrained: config.json: {error or type(error).__name__}."
        ) from error
    return config


def _load(module: nn.Module, folder: Path, *, strict: bool) -> None:
    file = folder / "model.safetensors"
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"Can't read {file}: {error}. Expected what smp's save_pretrained wrote.") from error
    fill(module, tensors, str(file), may_differ=() if strict else ("segmentation_head.",))


def _normalization(smp: Any, encoder: str, weights: str | None) -> dict[str, Any]:
    """mean and std of RGB in [0,1], and bgr, that the encoder's weights expect; those not given are ImageNet's."""
    if encoder.startswith("tu-"):
        config = timm.get_pretrained_cfg(encoder.removeprefix("tu-"), allow_unregistered=True)
        return {"mean": tuple(config.mean), "std": tuple(config.std)} if config else {}
    if weights is None:
        return {}
    pixels = smp.encoders.get_preprocessing_params(encoder)
    unit, bgr = pixels["input_range"][1], pixels["input_space"] == "BGR"
    mean, std = ([value / unit for value in pixels[key]][:: -1 if bgr else 1] for key in ("mean", "std"))
    return {"mean": tuple(mean), "std": tuple(std), "bgr": bgr}
