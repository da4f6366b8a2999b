"""Files for the test servers of the data sets, and a check of them before they are sent."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segdistill.core.errors import DataError, SegdistillError, nearest
from segdistill.core.storage import write_aside, write_json
from segdistill.data.datasets.pascal_context import context_table
from segdistill.data.tables import LabelTable, label_table

_LARGEST = 64 * 2**20
"""Bytes an entry may unpack to; a label map of 2048x1024 has 2 MB."""
_SHOWN = 5


@dataclass(frozen=True)
class Server:
    """What a test server wants: one PNG an image, in a zip.

    Attributes:
        table: the class table whose raw ids are sent.
        images: the number of test images.
        folder: where in the zip the files are.
        size: (width, height) of every map; None for each image's own.
        palette: whether maps carry the class colors.
        upload: where to send it.
    """

    table: str
    images: int
    folder: str = ""
    size: tuple[int, int] | None = None
    palette: bool = False
    upload: str = ""

    @property
    def labels(self) -> LabelTable:
        return context_table(60, "id") if self.table == "pascal_context" else label_table(self.table)

    def ids(self, names: Sequence[str]) -> NDArray[np.uint8]:
        """The value that is sent for each class of a network.

        Args:
            names: of the network's K classes.

        Returns:
            (K,), uint8.

        Raises:
            DataError: a name is no class of the table.
        """
        labels = self.labels
        by_name = {name: ids[0] for name, ids in zip(labels.classes.names, labels.ids, strict=True)}
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise DataError(
                f"The network knows '{unknown[0]}', which is no class of {self.table} ({len(unknown)} such). Submit a "
                f"network that was trained on {self.table}."
            )
        return np.array([by_name[name] for name in names], dtype=np.uint8)

    def path(self, image: Path) -> str:
        """The name in the zip of an image's map.

        Args:
            image: the test image.

        Returns:
            A path with "/".
        """
        return f"{self.folder}{image.stem}.png"


SERVERS = {
    "cityscapes": Server("cityscapes", 1525, size=(2048, 1024), upload="https://www.cityscapes-dataset.com/submit/"),
    "ade20k": Server("ade20k", 3352, upload="http://sceneparsing.csail.mit.edu/eval/"),
    "voc": Server(
        "voc",
        1456,
        folder="results/VOC2012/Segmentation/comp6_test_cls/",
        palette=True,
        upload="http://host.robots.ox.ac.uk:8080/",
    ),
    "pascal_context": Server("pascal_context", 5105, palette=True, upload="no server: for your own exchange"),
}


def server_of(name: str) -> Server:
    """The test server of a data set.

    Args:
        name: of the data set.

    Returns:
        What the server wants.

    Raises:
        DataError: none is known for it.
    """
    if name not in SERVERS:
        raise DataError(f"No test server is known for '{name}'.{nearest(name, SERVERS)} Known: {', '.join(SERVERS)}.")
    return SERVERS[name]


def encode(classes: NDArray[np.integer], ids: NDArray[np.uint8], server: Server) -> bytes:
    """Class indices as the PNG that a server reads: one 8-bit channel, `ids[class]` in the place of a class.

    Args:
        classes: class indices (H,W).
        ids: the value of each class (K,), uint8.
        server: what it wants.

    Returns:
        The bytes of the file.
    """
    picture = Image.fromarray(ids[classes])
    if server.palette:
        labels = server.labels
        colors = np.zeros((256, 3), np.uint8)
        colors[[ids[0] for ids in labels.ids]] = labels.classes.colors
        picture = picture.convert("P")
        picture.putpalette(colors.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


class Submission:
    """A folder of maps that grows image by image and becomes a zip.

    An interrupted submission goes on where it stopped, if it is of the same network; `pending` are the images whose map
    is not there yet.

    Args:
        folder: of the maps.
        server: what it wants.
        names: the network's classes.
        images: all test images.
        made_by: what made the maps, plain values; written beside them.

    Raises:
        DataError: two images have one name in the zip, or a class is none of the server's.
        SegdistillError: the folder holds maps that something else made.
    """

    def __init__(
        self, folder: Path, server: Server, names: Sequence[str], images: Sequence[Path], made_by: Mapping[str, object]
    ) -> None:
        """names: the network's classes."""
        twice = [name for name, count in Counter(map(server.path, images)).items() if count > 1]
        if twice:
            raise DataError(f"Two images would be sent as {twice[0]} ({len(twice)} such). Name the test images only.")
        self.folder, self.server, self.images = folder, server, images
        self.ids = server.ids(names)
        record = folder / "made_by.json"
        if record.is_file() and json.loads(record.read_text(encoding="utf-8")) != dict(made_by):
            raise SegdistillError(
                f"{folder} holds predictions that were made otherwise, see {record}. Choose another out=, or delete it."
            )
        write_json(record, dict(made_by))

    @property
    def pending(self) -> list[Path]:
        return [image for image in self.images if not self._file(image).is_file()]

    def add(self, image: Path, classes: NDArray[np.integer]) -> None:
        """Write the map of an image.

        Args:
            image: one of the test images.
            classes: its class indices (H,W).
        """
        content = encode(classes, self.ids, self.server)
        write_aside(self._file(image), lambda aside: aside.write_bytes(content))

    def pack(self) -> Path:
        """The zip with the maps of all images, beside the folder."""
        target = self.folder.with_name(f"{self.folder.name}.zip")

        def write(aside: Path) -> None:
            with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:  # PNGs are compressed already
                for image in self.images:
                    archive.write(self._file(image), self.server.path(image))

        write_aside(target, write)
        return target

    def _file(self, image: Path) -> Path:
        return self.folder / self.server.path(image)


def check_submission(file: Path, server: Server, images: Sequence[Path] = ()) -> list[str]:
    """What a server would refuse or misread, in sentences; nothing if the zip is good.

    Args:
        file: the zip.
        server: what it wants.
        images: the test images, for names and sizes; without them the number of maps and what is known of all is
            checked.

    Returns:
        The faults.
    """
    try:
        archive = zipfile.ZipFile(file)
    except FileNotFoundError:
        return [f"There is no file {file}."]
    except (zipfile.BadZipFile, OSError) as error:
        return [f"{file} is no zip file ({error}). Pack the PNGs as .zip."]
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        names = [entry.filename for entry in entries]
        problems = list(_names(names, server, images))
        sizes = {server.path(image): image for image in images}
        faults: dict[str, list[str]] = {}
        for entry in entries:
            if entry.filename.endswith(".png"):
                for problem in _faults(archive, entry, server, sizes.get(entry.filename)):
                    faults.setdefault(problem, []).append(entry.filename)
    for problem, where in faults.items():
        problems.append(f"{problem}: {where[0]}{f' and {len(where) - 1} more' if len(where) > 1 else ''}.")
    return problems


def _names(names: Sequence[str], server: Server, images: Sequence[Path]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{name} is in the zip {count} times."
    maps = [name for name in names if name.endswith(".png")]
    other = sorted(set(names) - set(maps))
    if other:
        yield f"{len(other)} files are no PNG, first {other[0]}. Take them out."
    wanted = {server.path(image) for image in images}
    if not wanted:
        if len(maps) != server.images:
            yield f"The zip holds {len(maps)} maps; the test set has {server.images} images."
        misplaced = [name for name in maps if f"{PurePosixPath(name).parent}/".removeprefix("./") != server.folder]
        if misplaced:
            yield f"{len(misplaced)} maps are not in '{server.folder or '/'}', first {misplaced[0]}."
        return
    missing, unknown = sorted(wanted - set(maps)), sorted(set(maps) - wanted)
    if missing:
        yield f"{len(missing)} of {len(wanted)} maps are missing: {', '.join(missing[:_SHOWN])}."
    if unknown:
        yield f"{len(unknown)} maps belong to no image: {', '.join(unknown[:_SHOWN])}."


def _faults(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, server: Server, image: Path | None) -> Iterator[str]:
    if entry.file_size > _LARGEST:
        yield f"Larger than {_LARGEST // 2**20} MB"
        return
    try:
        with Image.open(io.BytesIO(archive.read(entry))) as picture:
            mode, size, values = picture.mode, picture.size, np.unique(np.asarray(picture))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError, zipfile.BadZipFile):
        yield "No readable PNG"
        return
    if mode not in {"L", "P"}:
        yield f"Mode {mode} instead of one 8-bit channel"
        return
    wanted = server.size
    if image is not None:
        with Image.open(image) as original:
            wanted = original.size
    if wanted is not None and size != wanted:
        yield f"{size[0]}x{size[1]} pixels (width x height) instead of {wanted[0]}x{wanted[1]}"
    ids = {ids[0] for ids in server.labels.ids}
    wrong = sorted(set(values.tolist()) - ids)
    if wrong:
        indices = wrong[-1] < len(ids) and set(values.tolist()) <= set(range(len(ids)))
        guess = " (these look like train ids; send the data set's own ids)" if indices else ""
        yield f"Values {', '.join(map(str, wrong[:_SHOWN]))} mean no class{guess}"
