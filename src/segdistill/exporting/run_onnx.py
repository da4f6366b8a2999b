"""Run an exported segmentation network on images: python run_onnx.py student.onnx photo.jpg [more.jpg ...]

Needs numpy, Pillow and onnxruntime, and nothing else. Writes <photo>_mask.png, a palette PNG of class indices, and
<photo>_overlay.png beside each image, and prints the classes that it sees. What the file takes and gives stands in its
metadata. This script may be copied and changed freely; copy it first: the next export writes it here anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

Array = np.ndarray[Any, Any]


def opened(name: str) -> Image.Image:
    """A photo in RGB, upright as its EXIF tag says that it is seen; the script ends at one of more than 8 bits."""
    picture = Image.open(name)
    with open(name, "rb") as file:  # noqa: PTH123  (a PNG says its bits a channel here; Pillow shows 8 of them)
        start = file.read(25)
    if picture.mode.startswith(("I", "F")) or (picture.format == "PNG" and start[24] > 8):
        sys.exit(
            f"{name} has more than 8 bits a channel (mode {picture.mode}); expected 8-bit RGB or grey. Choose what is "
            "dark and what is bright, and save it with 8 bits."
        )
    return ImageOps.exif_transpose(picture).convert("RGB")


def prepare(picture: Image.Image, about: dict[str, Any]) -> Array:
    """An RGB picture as the file takes it: (1,3,H,W) in [0,1], or uint8 (1,H,W,3); resized if its size is fixed."""
    if about["size"] != "any":
        height, width = about["size"]
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture)[None]
    height, width = padded(pixels.shape[1:3], about)
    pixels = np.pad(pixels, ((0, 0), (0, height - pixels.shape[1]), (0, width - pixels.shape[2]), (0, 0)), "edge")
    if about["input"] == "uint8":
        return pixels
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32) / 255


def padded(size: tuple[int, ...], about: dict[str, Any]) -> tuple[int, ...]:
    """Height and width brought to multiples of what the file says, if it leaves that to who runs it."""
    divisor = about.get("size_divisor", 1)
    return tuple(side + -side % divisor for side in size)


def taps(source: int, target: int, align_corners: bool) -> tuple[Array, Array, Array]:
    """Of each of `target` positions the two of `source` it lies between, and the weight of the second."""
    if align_corners:
        position = np.arange(target) * ((source - 1) / max(1, target - 1))
    else:
        position = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, None)
    low = np.minimum(position.astype(int), source - 1)
    return low, np.minimum(low + 1, source - 1), (position - low).astype(np.float32)


def classes_of(answer: Array, about: dict[str, Any], size: tuple[int, int]) -> Array:
    """What the file gives for one image -> class indices (H,W); logits at the head's stride are resized here."""
    if about["outputs"] == "classes":
        return np.asarray(answer[0])
    scores = answer[0]
    if about["outputs"] == "small":
        rows, columns = padded(size, about)
        low, high, rest = taps(scores.shape[1], rows, about["align_corners"])
        scores = scores[:, low] * (1 - rest[:, None]) + scores[:, high] * rest[:, None]
        low, high, rest = taps(scores.shape[2], columns, about["align_corners"])
        scores = (scores[..., low] * (1 - rest) + scores[..., high] * rest)[:, : size[0], : size[1]]
    return np.asarray(scores.argmax(0))


def main(model: str, *images: str) -> None:
    """Write a mask and an overlay for each image."""
    onnxruntime.disable_telemetry_events()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["segdistill"])
    if "pixels" in about:
        sys.exit(f"{model} takes images with {about['pixels']['channels']} channels; this script opens photos in RGB.")
    names = [each["name"] for each in about["classes"]]
    colors = np.array([each["color"] for each in about["classes"]], np.uint8)
    for name in images:
        path, picture = Path(name), opened(name)
        batch = prepare(picture, about)
        size = tuple(about["size"]) if about["size"] != "any" else (picture.height, picture.width)
        classes = classes_of(session.run(None, {"image": batch})[0], about, size)
        mask = Image.fromarray(classes.astype(np.uint8))
        mask.putpalette(colors.flatten().tolist())
        mask = mask.resize(picture.size, Image.Resampling.NEAREST)
        mask.save(path.with_name(f"{path.stem}_mask.png"))
        Image.blend(picture, mask.convert("RGB"), 0.5).save(path.with_name(f"{path.stem}_overlay.png"))
        share = np.bincount(classes.flatten().astype(int), minlength=len(names)) / classes.size
        seen = [f"{names[index]} {100 * share[index]:.1f} %" for index in np.argsort(-share) if share[index] > 0]
        print(f"{name}: {', '.join(seen)}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
