"""What `segdistill export` and `segdistill benchmark` print."""

from __future__ import annotations

from collections.abc import Iterator

from segdistill.cli.tables.fitted import FittedTable
from segdistill.core.pixels import RGB
from segdistill.exporting.benchmark_result import Benchmark
from segdistill.exporting.profile import FileProfile
from segdistill.exporting.result import Export, ExportedFile, Int8Report
from segdistill.exporting.web import PAGE


def export_lines(done: Export) -> Iterator[str]:
    """The files, how they compare with the network, and what INT8 costs.

    Args:
        done: What `export` wrote.

    Yields:
        A line for each.
    """
    about = done.description
    size = "images of any size" if about.size is None else f"images of {about.size[0]}x{about.size[1]}"
    channels = about.pixels.channels
    what = "RGB" if channels == RGB else f"{channels} channel(s)"
    takes = f"{what} (N,{channels},H,W) in [0,1]" if about.input == "float" else f"{what} uint8 (N,H,W,{channels})"
    if about.pixels.ranges is not None:
        takes += f" (made of the stored values {', '.join(f'{a:g} to {b:g}' for a, b in about.pixels.ranges)})"
    for each in done.files:
        yield f"{each.path} ({each.megabytes:.2f} MB, {each.precision}): {_parity(each)}"
    yield f"It takes {takes}, {size}, any number of them, and gives {about.outputs}; normalization is inside."
    if (done.folder / PAGE).is_file():
        yield f"See it: python -m http.server --bind 127.0.0.1 --directory {done.folder}"
    if done.int8 is not None:
        yield from int8_lines(done.int8)


def _parity(file: ExportedFile) -> str:
    if file.parity is None:
        return "its scores are below"
    if file.precision == "int8":
        return f"{100 * file.parity.pixels:.3g} % of pixels differ from the network that was trained with its rounding"
    checks = ", ".join(f"{check.images} of {check.height}x{check.width}" for check in file.parity.checks)
    difference = file.parity.difference
    largest = "" if difference is None else f"logits differ by {difference:.2g} at most, "
    return f"{largest}{100 * file.parity.pixels:.3g} % of pixels differ ({file.parity.images}: {checks})"


def int8_lines(report: Int8Report) -> Iterator[str]:
    """What 8 bits cost and bring, and whether that was allowed.

    Args:
        report: Of both files, scored and timed.

    Yields:
        Lines: mIoU in percent and its drop in points, what training brought if there was any, and median milliseconds.
    """
    verdict = "within" if report.passed else "MORE than"
    yield (
        f"INT8 ({report.method}, {report.images} training images, seed {report.seed}): mIoU {report.int8_miou:.2f} "
        f"after {report.float_miou:.2f} on {report.validation} validation images, a drop of {report.drop:.2f}, "
        f"{verdict} max_drop={report.max_drop:g}."
    )
    if report.untrained_miou is not None:
        yield (
            f"Without training, INT8 has mIoU {report.untrained_miou:.2f}; {report.steps} steps with its rounding and "
            f"{report.teacher} as the teacher made that {report.int8_miou:.2f}."
        )
    slow, quick = report.float_latency.median, report.int8_latency.median
    size = "x".join(map(str, report.size))
    change = f"{slow / quick:.1f} times as fast" if quick < slow else "smaller but SLOWER here"
    yield f"An image of {size} on {report.threads} thread(s): {quick:.1f} ms after {slow:.1f} ms, {change}."


def benchmark_table(done: Benchmark) -> FittedTable:
    """A row for each network and file.

    Args:
        done: What `benchmark` measured.

    Returns:
        The table; the first column names the network or file, the others are numbers.
    """
    return FittedTable(done.headings(), done.cells(), ("body", "edge", "runtime"))


def benchmark_notes(done: Benchmark) -> Iterator[str]:
    """How the numbers were made.

    Args:
        done: What `benchmark` measured.

    Yields:
        The notes in one line, then a line for each warning.
    """
    yield done.notes()
    yield from done.warnings


def file_profile_line(profile: FileProfile) -> str:
    """What an exported file costs.

    Args:
        profile: What `profile` measured of the file.

    Returns:
        A line: size in MB, and milliseconds an image, median and quartiles.
    """
    height, width = profile.size
    latency = profile.latency
    return (
        f"{profile.file}: {profile.megabytes:.2f} MB, {profile.precision}, {profile.num_classes} classes. An image of "
        f"{height}x{width} from pixels to classes: {latency.median:.1f} ms ({latency.low:.1f} to {latency.high:.1f}, "
        f"median and quartiles of {profile.runs} runs) with {profile.runtime} on {profile.threads} thread(s), "
        f"{profile.environment['machine']}."
    )
