"""Weight files that this library does not read itself: whose they are, and which way leads here."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Collection
from pathlib import Path

_WRAP = (
    "write a function `def teacher() -> torch.nn.Module:` that makes the network and loads its weights, and name it "
    "module:PACKAGE.FILE:teacher (docs/adapters.md)"
)
_OTHER_TOOLS = {
    ".onnx": "ONNX",
    ".h5": "Keras (HDF5)",
    ".hdf5": "Keras (HDF5)",
    ".keras": "Keras",
    ".tflite": "TensorFlow Lite",
    ".pb": "TensorFlow",
    ".pdparams": "PaddlePaddle",
    ".pdmodel": "PaddlePaddle",
    ".pdiparams": "PaddlePaddle",
    ".engine": "TensorRT",
    ".plan": "TensorRT",
    ".mlmodel": "Core ML",
    ".mlpackage": "Core ML",
    ".param": "ncnn",
    ".xml": "OpenVINO",
    ".msgpack": "Flax",
    ".gguf": "GGUF",
}
"""Suffix of a file -> the tool that wrote it."""
_BYTES = {b"\x89HDF\r\n\x1a\n": "Keras (HDF5)", b"GGUF": "GGUF"}
"""First bytes of a file -> the tool that wrote it, whatever its suffix."""

_NO_WEIGHTS = {
    b"version https://git": "a pointer of Git LFS, and the file itself was not fetched: run git lfs pull",
    b"<!doctype": "a web page: the download asked for a login or went wrong. Download it again",
    b"<html": "a web page: the download asked for a login or went wrong. Download it again",
    b"<?xml": "an XML document: the download went wrong. Download it again",
}
"""First bytes, in lower case, of what is in the place of a weight file -> what it is, and what to do."""

# Who reads a state dict, by names that are all in it. The first that fits counts.
_READERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (r"(^|\.)encoder\.", r"(^|\.)segmentation_head\.\d"),
        "Its names are those of segmentation_models_pytorch: make the network with it, load this state dict, save it "
        "with model.save_pretrained(FOLDER), and name smp:FOLDER.",
    ),
    (
        (r"(^|\.)backbone\.", r"(^|\.)classifier\.(4\.weight|0\.convs\.|low_classifier\.|cbr\.)"),
        "Its names are those of torchvision's networks. For weights of your own training " + _WRAP + "; "
        "torchvision:NAME as teacher.weights takes the published ones.",
    ),
    (
        (r"^backbone\.", r"^head\.", r"^classifier\.weight$"),
        "Its names are those of this library's own networks, and the .yaml that says which one is missing: take the "
        "run folder, or put NAME.safetensors and NAME.yaml side by side.",
    ),
    (
        (r"(^|\.)decode_head\.",),
        "Its names look like OpenMMLab's, with a head that this library has not: with mmsegmentation, " + _WRAP + ".",
    ),
    (
        (r"(^|\.)(pixel_level_module|transformer_module|segformer|mobilevit|data2vec_vision|beit|dpt)\.",),
        "Its names are those of Hugging Face's transformers: name the folder that save_pretrained wrote, hf:FOLDER.",
    ),
    (
        (r"^(module\.|model\.)?(fc|head\.fc|head|classifier)\.weight$",),
        "It looks like a classifier of whole images; as the start of a backbone name it student.backbone_weights=FILE.",
    ),
)


def other_tool(path: Path) -> str | None:
    """What a file of another tool, a compiled network or no weight file at all is, and what to do.

    Args:
        path: Of a file, which is looked at without anything in it being run.

    Returns:
        The explanation; None if it may be a file of weights.
    """
    first = first_bytes(path)
    instead = next((text for start, text in _NO_WEIGHTS.items() if first.lstrip().lower().startswith(start)), None)
    if instead is not None:
        return f"{path} is no weight file but {instead}."
    tool = _OTHER_TOOLS.get(path.suffix.lower())
    tool = tool or next((name for start, name in _BYTES.items() if first.startswith(start)), None)
    if tool is not None:
        return (
            f"{path} is a file of {tool}, not of torch: no gradient goes through it, and no feature comes out of it. "
            "Give the torch weights that it was made from."
        )
    kind = _compiled(path)
    if kind is None:
        return None
    return (
        f"{path} is {kind}, a compiled network: it can be neither trained nor looked into. Give the state dict of the "
        f"network it was made from; or, as a teacher of scores alone, {_WRAP}, with options.classifier=output."
    )


def reader_of(path: Path, names: Collection[str]) -> str:
    """A sentence on which adapter reads a file or folder, by its config.json or the names of its tensors.

    Args:
        path: Of the file or folder.
        names: Of its tensors.
    """
    folder = path if path.is_dir() else path.parent
    kind = _saved_by(folder) if path.is_dir() or path.name in ("model.safetensors", "pytorch_model.bin") else None
    if kind is not None:
        return f"The folder is one of {kind[0]}'s save_pretrained: name it {kind[1]}:{folder}."
    for patterns, text in _READERS:
        if all(any(re.search(pattern, name) for name in names) for pattern in patterns):
            return text
    return f"For any other network {_WRAP}."


def _saved_by(folder: Path) -> tuple[str, str] | None:
    """Whose save_pretrained wrote the folder, and the prefix of the adapter; None if nobody's that is known."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    if "encoder_name" in config:
        return "segmentation_models_pytorch", "smp"
    return ("Hugging Face", "hf") if "model_type" in config else None


def is_safetensors(path: Path) -> bool:
    """Whether a file is a .safetensors file, by its first bytes where they tell, else by its suffix.

    Args:
        path: Of the file.
    """
    first = first_bytes(path)
    if first.startswith(b"PK\x03\x04"):  # an archive of torch
        return False
    return path.suffix == ".safetensors" or first[8:10] == b'{"'


def first_bytes(path: Path) -> bytes:
    """The first 64 bytes of a file.

    Args:
        path: Of the file.

    Returns:
        The bytes; none if it can't be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""


def _compiled(path: Path) -> str | None:
    """What kind of compiled network a zip archive of torch is; None if it is a state dict, or no archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        return "TorchScript (torch.jit)"
    exported = any(name.startswith("models/") or name == "archive_format" for name in names)
    return "a program of torch.export" if exported else None
