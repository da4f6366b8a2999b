"""PNG and TIFF files of depths and bands that Pillow does not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def png(values: Array, bits: int, path: Path, colors: int = 0) -> None:
    """A PNG of any bit depth. colors: 0 grey, 2 RGB."""
    if bits == 16:
        packed = values.astype(">u2").reshape(len(values), -1).view(np.uint8)
    else:
        rows = values.reshape(len(values), -1, 8 // bits).astype(int)
        packed = sum(rows[..., k] << (8 - bits * (k + 1)) for k in range(8 // bits)).astype(np.uint8)  # type: ignore[union-attr]

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", values.shape[1], len(values), bits, colors, 0, 0, 0)
    lines = zlib.compress(b"".join(b"\0" + line.tobytes() for line in packed))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b""))


def tiff(pixels: Array, path: Path, photometric: int = 2) -> None:
    """An uncompressed TIFF of 8 or 16 bits, whose bands beyond the colors are not said to be anything."""
    height, width, bands = pixels.shape
    extra = bands - (3 if photometric == 2 else 1)
    at = 8 + 2 + 12 * (11 if extra else 10) + 4
    data_at = at + 2 * bands + 2 * extra
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, bands, at), (259, 3, 1, 1), (262, 3, 1, photometric),
            (273, 4, 1, data_at), (277, 3, 1, bands), (278, 3, 1, height), (279, 4, 1, pixels.nbytes), (284, 3, 1, 1),
            *([(338, 3, extra, at + 2 * bands if extra > 2 else 0)] if extra else [])]  # fmt: skip
    head = struct.pack("<HHIH", 0x4949, 42, 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    depths = struct.pack(f"<{bands}H", *[8 * pixels.itemsize] * bands) + bytes(2 * extra)
    path.write_bytes(head + bytes(4) + depths + pixels.tobytes())
