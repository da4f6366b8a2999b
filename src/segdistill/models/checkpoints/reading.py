"""Weight files of other libraries: tensors and plain values only, nothing in a file is ever executed."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from segdistill.core.errors import CheckpointError
from segdistill.models.checkpoints.foreign import is_safetensors, other_tool
from segdistill.models.checkpoints.wrapping import unwrap
from segdistill.models.json_files import read_object
from segdistill.models.preprocessor import normalization, read_preprocessor, unless_usual
from segdistill.models.spec import Role

_SCALAR = np.float64(0).__reduce__()[0]  # what numpy calls to make a number again
_NO_TORCH_FILE = "its bytes are not those of a torch file"
# What old files keep beside the tensors and cannot do harm: numpy's numbers.
_HARMLESS: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "u1", "?")),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
]

_SEGFORMER = {
    "num_attention_heads": [1, 2, 5, 8], "strides": [4, 2, 2, 2], "sr_ratios": [8, 4, 2, 1], "hidden_act": "gelu",
    "patch_sizes": [7, 3, 3, 3],
}  # fmt: skip
"""What config.json of a SegFormer says of what the shapes of its tensors don't."""


@dataclass(frozen=True)
class RawFile:
    """What a file holds.

    Attributes:
        path: The file or folder.
        state: Tensors by their published names.
        meta: The plain values kept beside them.
        averages: Keys of the file below which averages of the weights (EMA) are, which are not read.
        fields: Of the `NetworkSpec`, as files beside the tensors have them.
    """

    path: Path
    state: dict[str, Tensor]
    meta: dict[str, Any]
    averages: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


def read_file(path: Path, *, role: Role = "student") -> RawFile:
    """Read a weight file of another library; nothing in it is executed.

    Args:
        path: A .safetensors file, a torch file (.pth, .pt, .bin, ..) or a folder as Hugging Face writes it.
        role: Which network of a file that has a key for each.

    Returns:
        What it holds.

    Raises:
        CheckpointError: There is no such file, it is damaged, holds more than tensors and plain values, or no tensors.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise CheckpointError(f"No weight file {path}.")
    explanation = other_tool(path)
    if explanation is not None:
        raise CheckpointError(explanation)
    if is_safetensors(path):
        return RawFile(path, unwrap(_read_safetensors(path), str(path)).state, {})
    content = _read_torch(path)
    meta = content.get("meta") if isinstance(content, dict) else None
    unwrapped = unwrap(content, str(path), role)
    return RawFile(path, unwrapped.state, dict(meta) if isinstance(meta, Mapping) else {}, unwrapped.averages)


def names_in(path: Path) -> list[str]:
    """The names of the tensors in a .safetensors file, without reading them.

    Args:
        path: Of the file.

    Raises:
        CheckpointError: It can't be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"Can't read {path}: {error}. Expected a .safetensors file.") from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, not a dictionary
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"Can't read {path}: {error}. Expected a .safetensors file.") from error


def _read_torch(path: Path) -> Any:
    try:
        # Opened here: by the name torch would take a torch file that is called .safetensors for one of those.
        with torch.serialization.safe_globals(_HARMLESS), path.open("rb") as file:
            if not file.peek(4).startswith((b"PK\x03\x04", b"\x80")):  # an archive, or a pickle of before
                raise ValueError(_NO_TORCH_FILE)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and plain values{_pickled(path)}; such a file can run code when it is "
            "opened, so it is refused. If you trust where it comes from, open it once where it was written, with "
            "file = torch.load(path, weights_only=False), and save the weights: torch.save(file.state_dict(), new) "
            "if it is a whole network, else torch.save(file[KEY], new), KEY being where the weights are."
        ) from error
    except Exception as error:  # damaged pickles come to errors of any kind
        readable = str(error) and not isinstance(error, LookupError)  # pickle's LookupErrors are about its stack
        reason = str(error).splitlines()[0] if readable else _NO_TORCH_FILE
        raise CheckpointError(f"Can't read {path}: {reason}. Is it a whole torch file?") from error
    if not isinstance(content, dict | list | tuple) or not content:
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a state dict or a dict with one.")
    return content


def _pickled(path: Path) -> str:
    """The classes and functions that a pickle names, a few of them, in brackets."""
    with contextlib.suppress(Exception):  # it is damaged, or of the old form, which torch does not list
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        return f" ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})" if names else ""
    return ""


def _read_folder(path: Path) -> RawFile:
    """A Hugging Face folder: config.json with the weights in one file or in shards."""
    config = path / "config.json"
    if not config.is_file():
        raise CheckpointError(f"{path} holds neither a run of this library nor a config.json of Hugging Face.")
    whole = [name for name in ("model.safetensors", "pytorch_model.bin") if (path / name).is_file()][:1]
    index = next(iter(sorted(path.glob("*.index.json"))), None)
    if index is not None and not whole:
        shards = read_object(index).get("weight_map")
        names = sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
        for name in names:
            if Path(name).name != name or "\\" in name:
                raise CheckpointError(f"{index} names the shard {name!r}; expected the name of a file in that folder.")
    else:
        names = whole
    if not names:
        raise CheckpointError(f"{path} has a config.json but neither model.safetensors nor pytorch_model.bin.")
    state: dict[str, Tensor] = {}
    for name in names:
        state |= read_file(path / name).state
    described = read_object(config)
    _refuse_unusual(described, config)
    labels = described.get("id2label") or {}
    fields = unless_usual(normalization(read_preprocessor(path), str(described.get("model_type"))))
    try:
        classes = {"CLASSES": [labels[key] for key in sorted(labels, key=int)]} if labels else {}
        return RawFile(path, state, classes, fields=fields)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{config}: id2label must map class numbers to names: {error}.") from error


def _refuse_unusual(config: Mapping[str, Any], file: Path) -> None:
    """Refuse a SegFormer that is built otherwise than its tensors show."""
    for key, usual in _SEGFORMER.items() if config.get("model_type") == "segformer" else ():
        if config.get(key, usual) != usual:
            raise CheckpointError(
                f"{file} has {key}={config[key]}, and this library's own SegFormer {usual}. Name the folder as "
                f"hf:{file.parent}, which makes the network by transformers."
            )
