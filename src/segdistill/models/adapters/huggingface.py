"""`hf:<id or folder>`: semantic segmentation networks of Hugging Face's transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from segdistill.core.classes import Classes, distinct_colors, with_the_rest
from segdistill.core.errors import CheckpointError, RecipeError
from segdistill.models.adapters.base import Adapter
from segdistill.models.adapters.masks import MaskNetwork
from segdistill.models.adapters.module import ModuleNetwork
from segdistill.models.network import SegmentationNetwork
from segdistill.models.preprocessor import normalization, read_preprocessor
from segdistill.models.sigmoid import same_scores

_ONE_SIZE = ("beit", "data2vec-vision", "dpt", "eomt", "eomt_dinov3")
"""Model types whose positions are learned for images of `config.image_size`."""

_MASKS = {
    "maskformer": ("model.pixel_level_module.decoder", "model.pixel_level_module.encoder"),
    "mask2former": ("model.pixel_level_module.decoder", "model.pixel_level_module.encoder"),
    "oneformer": ("model.pixel_level_module.decoder", "model.pixel_level_module.encoder"),
    "eomt": ("upscale_block", None),
    "eomt_dinov3": ("upscale_block", None),
}
"""Mask classifiers: where the embedding comes from, and the backbone."""

_HEADS = ("decode_head", "segmentation_head", "head")
_TASK = "the task is semantic"


class HuggingFace(Adapter):
    """`hf:<id or folder>`: a model of the Hugging Face hub, or a folder that `save_pretrained` wrote.

    Semantic segmentation models (SegFormer, UPerNet, DPT, BEiT, Data2Vec, MobileNetV2, MobileViT) and mask classifiers
    (MaskFormer, Mask2Former, OneFormer, EoMT), which become per-pixel class scores. Weights are loaded, never code.
    With another number of classes than the saved one the classifier starts at random; so does the head of a folder
    that holds a backbone only. The normalization is that of preprocessor_config.json, or ImageNet's. DPT, BEiT,
    Data2Vec and EoMT take images of one size; images are resized to it.

    Args:
        source: The id or folder.
        pretrained: Take the weights too, not the architecture alone.
        classifier: See `ModuleNetwork`.
        features: See `ModuleNetwork`; default the maps that the head reads.
        size: H,W that images are resized to, for another model of one size.
        config: A transformers configuration, to build from it without the folder and its weights.
        task_tokens: The token ids of OneFormer's task "the task is semantic"; default by the tokenizer of the folder.
    """

    prefix: ClassVar[str] = "hf"

    def __init__(
        self,
        source: str,
        *,
        pretrained: bool = True,
        classifier: str | None = None,
        features: tuple[str, ...] | None = None,
        size: tuple[int, int] | None = None,
        config: dict[str, Any] | None = None,
        task_tokens: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(source)
        self.pretrained = pretrained
        self.classifier = classifier
        self.features = features
        self.size = size
        self.config = config
        self.task_tokens = task_tokens

    def build(self, num_classes: int | None, weights: str | None = None) -> SegmentationNetwork:
        """The network of the id or folder.

        Args:
            num_classes: K; with another than the saved one the classifier starts at random. None: all as saved.
            weights: Must be None: the name brings its own.

        Returns:
            The network; `classes` is set if the config names all K, with colors of this library.

        Raises:
            RecipeError: A package is missing, an option does not fit, or `weights` is set.
            CheckpointError: The files are not there, or do not fit.
        """
        transformers = _library()
        if weights is not None:
            raise RecipeError(
                f"'{self.name}' brings its weights; backbone_weights has no meaning. Use options.pretrained."
            )
        config = self._read_config(transformers)
        class_names = _class_names(config)
        if num_classes is not None and not same_scores(num_classes, config.num_labels):
            config.num_labels = num_classes
        if hasattr(config, "is_training"):
            config.is_training = False  # OneFormer's text encoder, which its own loss alone needs
        load = self.config is None and (self.pretrained or num_classes is None)
        module = (
            self._load(transformers, config, frozen=num_classes is None) if load else self._make(transformers, config)
        )
        network = self._wrap(transformers, config, module)
        if class_names and len(class_names) == config.num_labels:
            class_names = (with_the_rest(class_names) or ()) if network.sigmoid else class_names
        if class_names and len(class_names) == network.num_classes:
            network.classes = Classes(class_names, distinct_colors(len(class_names)))
        return network

    def _wrap(self, transformers: Any, config: Any, module: nn.Module) -> SegmentationNetwork:
        """The model as a network, by its kind: one that scores pixels, or one that classifies masks."""
        pixels = self._normalization(transformers, config.model_type)
        size = self.size or _image_size(config)
        if config.model_type not in _MASKS:
            return ModuleNetwork(
                module,
                num_classes=config.num_labels,
                **pixels,
                classifier=self.classifier,
                features=self.features if self.features is not None else _head_input(module),
                backbone=_backbone(module),
                size=size,
            )
        if config.num_labels == 1:
            raise RecipeError(
                f"'{self.name}' is a mask classifier of one label, which it gives to every pixel: what is in no mask "
                "has no score of its own. Choose one that was trained with the background as a label, too."
            )
        if self.classifier is not None or self.features is not None:
            raise RecipeError(f"'{self.name}' is a mask classifier; options.classifier and features are not for it.")
        decoder, backbone = _MASKS[config.model_type]
        return MaskNetwork(
            module,
            num_classes=config.num_labels,
            **pixels,
            decoder=decoder,
            backbone=backbone,
            task=self._task(transformers, config) if config.model_type == "oneformer" else None,
            size=size,
        )

    def portable(self, network: SegmentationNetwork) -> dict[str, Any]:
        """The config without where it came from; and classifier, features, size and task_tokens where they are set.

        Args:
            network: What `build` made.
        """
        module: Any = network.module
        config = json.loads(module.config.to_json_string(use_diff=False))
        for private in ("_name_or_path", "architectures", "dtype"):
            config.pop(private, None)
        task = getattr(network, "task", None)
        options = {
            "classifier": self.classifier,
            "features": self.features,
            "size": self.size,
            "task_tokens": None if task is None else task.flatten().tolist(),
        }
        return {"config": config, **{key: value for key, value in options.items() if value is not None}}

    def _read_config(self, transformers: Any) -> Any:
        if self.config is not None:
            kind = str(self.config.get("model_type"))
            if kind not in transformers.CONFIG_MAPPING:
                raise RecipeError(
                    f"The config of '{self.name}' is of model_type '{kind}', which transformers can't make."
                )
            config = transformers.CONFIG_MAPPING[kind].from_dict(dict(self.config))
        else:
            config = self._from_files(transformers.AutoConfig)
        kinds = [*_semantic(transformers), *_MASKS]
        if config.model_type not in kinds:
            raise RecipeError(
                f"'{self.name}' is of model_type '{config.model_type}', which does not score classes pixel by pixel. "
                f"Those that do: {', '.join(kinds)}."
            )
        return config

    def _load(self, transformers: Any, config: Any, *, frozen: bool) -> nn.Module:
        module, report = self._from_files(
            _loader(transformers, config), config=config, ignore_mismatched_sizes=True, output_loading_info=True
        )
        new = sorted({*report["missing_keys"], *(str(entry[0]) for entry in report["mismatched_keys"])})
        if frozen and new:
            raise CheckpointError(
                f"'{self.name}' is not a trained segmentation network: {len(new)} of its tensors are not in the "
                f"file (first {new[0]}). Train it here (teacher.network) or name another."
            )
        backbone = _MASKS[config.model_type][1] if config.model_type in _MASKS else _backbone(module)
        lost = [key for key in new if backbone is not None and key.startswith(f"{backbone}.")]
        if lost:
            raise CheckpointError(
                f"'{self.name}': {len(lost)} tensors of the backbone are not in the file: {lost[0]}, ... "
                "options.pretrained=false begins without its weights."
            )
        module.float()  # many are saved in half precision
        return module  # type: ignore[no-any-return]

    def _make(self, transformers: Any, config: Any) -> nn.Module:
        try:
            return _loader(transformers, config).from_config(config).float()  # type: ignore[no-any-return]
        except ImportError as error:
            raise _missing(self.name, error) from error

    def _from_files(self, cls: Any, **arguments: Any) -> Any:
        """`cls.from_pretrained` of the source, with a readable error."""
        source = self.source
        if source.startswith((".", "/", "~")) and not Path(source).expanduser().is_dir():
            raise CheckpointError(f"'{self.name}': there is no folder {source}.")
        try:
            return cls.from_pretrained(str(Path(source).expanduser()), trust_remote_code=False, **arguments)
        except ImportError as error:
            raise _missing(self.name, error) from error
        except Exception as error:  # a config that was edited can break a network anywhere
            first = str(error).strip().partition("\n")[0] or type(error).__name__
            where = "" if Path(source).is_dir() else f" There is no folder {source}, so the Hugging Face hub was asked."
            raise CheckpointError(
                f"Can't load '{self.name}': {first}.{where} Expected a folder written by save_pretrained, or the id of "
                "a model on the hub and a connection to it."
            ) from error

    def _normalization(self, transformers: Any, model_type: str) -> dict[str, Any]:
        """mean and std of RGB in [0,1], and whether the network wants BGR."""
        if self.config is not None:
            return normalization({})  # whoever saved the config saved them beside it
        folder = Path(self.source).expanduser()
        read_preprocessor(folder)  # raises where it is damaged
        try:
            saved, _ = transformers.ImageProcessingMixin.get_image_processor_dict(str(folder))
        except (OSError, ValueError):
            saved = {}
        return normalization(saved, model_type)

    def _task(self, transformers: Any, config: Any) -> tuple[int, ...]:
        if self.task_tokens is not None:
            return self.task_tokens
        if self.config is not None:
            raise RecipeError(f"'{self.name}' is a OneFormer; it needs options.task_tokens beside options.config.")
        tokenizer = self._from_files(transformers.AutoTokenizer)
        words = tokenizer.tokenize(_TASK)  # without its files, transformers gives a tokenizer without words
        if not words or tokenizer.unk_token in words:
            raise CheckpointError(
                f"'{self.name}' is a OneFormer without its tokenizer (vocab.json, merges.txt). Put it beside the "
                f'model, or give the token ids of "{_TASK}" as options.task_tokens.'
            )
        tokens = tokenizer(_TASK, padding="max_length", max_length=config.task_seq_len, truncation=True)
        pairs = zip(tokens["input_ids"], tokens["attention_mask"], strict=True)
        return tuple(token * mask for token, mask in pairs)  # padding is 0, as OneFormerProcessor has it


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise _missing("hf: networks", error) from error
    return transformers


def _missing(what: str, error: ImportError) -> RecipeError:
    first = str(error).strip().partition("\n")[0]
    return RecipeError(f"{what} can't be made: {first} Try: pip install segdistill[huggingface]")


def _semantic(transformers: Any) -> list[str]:
    return list(transformers.models.auto.modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES)


def _loader(transformers: Any, config: Any) -> Any:
    masks = config.model_type in _MASKS
    return transformers.AutoModelForUniversalSegmentation if masks else transformers.AutoModelForSemanticSegmentation


def _image_size(config: Any) -> tuple[int, int] | None:
    size = getattr(config, "image_size", None) if config.model_type in _ONE_SIZE else None
    if size is None:
        return None
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _head_input(module: nn.Module) -> tuple[str, ...]:
    """A tap on the maps that the head reads."""
    return tuple(f"{name}:input" for name in _HEADS if hasattr(module, name))[:1]


def _backbone(module: Any) -> str | None:
    """The path of the backbone of a semantic segmentation model."""
    return next((name for name in ("backbone", module.base_model_prefix) if name and hasattr(module, name)), None)


def _class_names(config: Any) -> tuple[str, ...]:
    return tuple(str(config.id2label[index]) for index in sorted(config.id2label))
