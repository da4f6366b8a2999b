"""What an exported file says of itself: classes, input, outputs, sizes, and where it comes from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from segdistill.core.classes import Classes, as_color
from segdistill.core.errors import CheckpointError, DataError
from segdistill.core.pixels import RGB_BYTES, PixelFormat, pixel_format

KEY = "segdistill"
"""The key of the description in the metadata of a file."""

FORMAT = "segdistill export 1"

Outputs = Literal["classes", "logits", "small"]
"""What a file gives: class indices (N,H,W), logits (N,K,H,W), or logits (N,K,h,w) at the head's stride."""

Input = Literal["float", "uint8"]
"""What a file takes: RGB (N,3,H,W) in [0,1], float32, or RGB (N,H,W,3), uint8; or other channels than three."""

Precision = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class ExportDescription:
    """What an exported file takes and gives. Normalization is part of every file.

    Attributes:
        classes: Names and colors of the K classes.
        input: What it takes.
        outputs: What it gives.
        size: (H,W) of the images it takes, or None for any.
        least: The smallest height and width that the tracing of the network vouches for, in pixels.
        align_corners: Of the bilinear resizing of the logits to the image's size, inside the file or by its host.
        precision: Of the weights.
        pixels: How many channels the images have, and which stored values became 0 and 1.
        size_divisor: Of outputs=small: what the sides of images are brought to multiples of by whoever runs the file,
            with their border repeated at the bottom and right, and cut from the resized logits. Other files do it.
        origin: Plain values for people and for the record: network, normalization, recipe, hash, license, version.
    """

    classes: Classes
    input: Input = "float"
    outputs: Outputs = "classes"
    size: tuple[int, int] | None = None
    least: int = 1
    align_corners: bool = False
    precision: Precision = "float32"
    pixels: PixelFormat = RGB_BYTES
    size_divisor: int = 1
    origin: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "format": FORMAT,
            **self.of_file(),
            "precision": self.precision,
            **({} if self.pixels.plain else {"pixels": self.pixels.as_dict()}),
            "classes": [
                {"name": name, "color": list(color)}
                for name, color in zip(self.classes.names, self.classes.colors, strict=True)
            ],
            **self.origin,
        }

    def of_file(self) -> dict[str, Any]:
        """What each file of a network may have otherwise, as plain values."""
        return {
            "input": self.input,
            "outputs": self.outputs,
            "size": "any" if self.size is None else list(self.size),
            "least": self.least,
            "align_corners": self.align_corners,
            **({} if self.size_divisor == 1 else {"size_divisor": self.size_divisor}),
        }

    def as_json(self) -> str:
        """As the metadata of a file holds it."""
        return json.dumps(self.as_dict(), ensure_ascii=False)


def read_export_description(text: str | None, path: object) -> ExportDescription:
    """The description in a file's metadata.

    Args:
        text: The JSON, or None if the file has none.
        path: Of the file, for errors.

    Raises:
        CheckpointError: The file was not exported by this library, or its description makes no sense.
    """
    if not text:
        raise CheckpointError(
            f"{path} does not say what its classes, input and output are: its metadata has no key '{KEY}'. "
            "Expected a file that `segdistill export` wrote."
        )
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, expected {FORMAT!r}")
        return _from_dict(content)
    except (json.JSONDecodeError, DataError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its description is damaged or of another version ({error!r}).") from error


def _from_dict(content: dict[str, Any]) -> ExportDescription:
    rows = content.pop("classes")
    for key, choices in (("input", Input), ("outputs", Outputs), ("precision", Precision)):
        if content[key] not in get_args(choices):
            raise ValueError(f"'{key}' is {content[key]!r}, expected one of {', '.join(get_args(choices))}")
    size = content.pop("size")
    keys = {"format", "input", "outputs", "least", "align_corners", "precision", "pixels", "size_divisor"}
    return ExportDescription(
        classes=Classes(
            tuple(str(row["name"]) for row in rows),
            tuple(as_color(row["color"], f"the color of '{row['name']}'") for row in rows),
        ),
        input=content["input"],
        outputs=content["outputs"],
        size=None if size == "any" else (int(size[0]), int(size[1])),
        least=int(content["least"]),
        align_corners=bool(content["align_corners"]),
        precision=content["precision"],
        pixels=pixel_format(content.get("pixels")),
        size_divisor=int(content.get("size_divisor", 1)),
        origin={key: value for key, value in content.items() if key not in keys},
    )
