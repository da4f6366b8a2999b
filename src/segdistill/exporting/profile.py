"""What an exported file costs: its size on disk and its time an image."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from segdistill.core.results import Result
from segdistill.exporting.measuring import Latency, latencies, timing_image
from segdistill.models.exported.description import Precision
from segdistill.models.exported.network import ExportedNetwork


@dataclass(frozen=True, repr=False)
class FileProfile(Result):
    """The cost of an exported file for one image of `size` (H,W), from uint8 pixels to classes.

    Attributes:
        file: Its path.
        runtime: What ran it.
        precision: Of its weights.
        megabytes: Its size, weights beside it included.
        num_classes: K.
        size: (H,W) of the image.
        latency: Milliseconds, median and quartiles.
        runs: Of which.
        threads: Of the runtime.
        environment: Machine and versions.
    """

    file: str
    runtime: str
    precision: Precision
    megabytes: float
    num_classes: int
    size: tuple[int, int]
    latency: Latency
    runs: int
    threads: int
    environment: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "size": list(self.size)}


def profile_file(
    network: ExportedNetwork, size: tuple[int, int], runs: int, environment: dict[str, Any]
) -> FileProfile:
    """Measure an exported file.

    Args:
        network: The opened file.
        size: (H,W) of the image, unless the file has a fixed one.
        runs: How often it is timed.
        environment: For the profile.
    """
    size = network.description.size or size
    (latency,) = latencies([network], timing_image(size, network.description.pixels.channels), runs=runs)
    return FileProfile(
        file=str(network.backend.path),
        runtime=network.backend.name,
        precision=network.description.precision,
        megabytes=network.backend.bytes / 1e6,
        num_classes=network.num_classes,
        size=size,
        latency=latency,
        runs=runs,
        threads=network.backend.threads,
        environment=environment,
    )
