"""Data sets with a file that is damaged, disguised or of no certain meaning: to be read rightly or refused by name."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from folder_truth import Made, mistakes, open_made, refused
from PIL import Image
from raw_files import png, tiff

Rng = np.random.Generator
Damage = Callable[[Made, Path, Path, Rng], "list[Path] | None"]
"""Changes a data set by one of its images and its mask; gives the files that a refusal must name one of, or None
where this data set can't be changed so."""


def outcome(made: Made, damage: Damage, rng: Rng) -> tuple[str, str]:
    """What comes of a damaged data set: "right", "refused" or "", if it can't be damaged so; and what is wrong."""
    data: Any = open_made(made, "train")
    image, mask = data.pairs[int(rng.integers(len(data)))]
    try:
        about = damage(made, image, mask, rng)
    except OSError as error:  # the file's format can't hold that
        about, _ = None, error
    if about is None:
        return "", ""
    message = refused(made)
    if not message:
        wrong = mistakes(made)
        return "right", "; ".join(wrong)
    named = any(path.name in message or path.stem in message for path in about)
    return "refused", "" if named else f"the refusal names none of {[str(path) for path in about]}: {message}"


def _array(mask: Path) -> Any:
    return np.load(mask) if mask.suffix == ".npy" else np.array(Image.open(mask))


def _save(mask: Path, pixels: Any, format: str = "PNG", **options: Any) -> None:
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(mask, format=format, **options)


def _grey(mask: Path) -> Any:
    """The values of an index mask; of a painted one its red, which is something else."""
    values = _array(mask)
    return (values[..., 0] if values.ndim == 3 else values).astype(np.uint8)


def jpeg_mask(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    _save(mask, _grey(mask), "JPEG", quality=int(rng.integers(50, 101)))
    return [mask]


def webp_mask(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    _save(mask, Image.fromarray(_grey(mask)).convert("RGB"), "WEBP", quality=90)
    return [mask]


def cut_mask(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    mask.write_bytes(mask.read_bytes()[: -int(rng.integers(12, 30))])
    return [mask]


def cut_image(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    return [image]


def flipped_bit(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    content = bytearray(mask.read_bytes())
    if content[:4] != b"\x89PNG":
        return None  # other formats have no checksums
    content[int(rng.integers(8, len(content)))] ^= 1 << int(rng.integers(8))
    mask.write_bytes(content)
    return [mask]


def not_an_image(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    path = (image, mask)[int(rng.integers(2))]
    path.write_bytes((b"", b"<html>404</html>", b"version https://git-lfs.github.com/spec/v1\n")[int(rng.integers(3))])
    return [path]


def small_mask(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    _save(mask, _grey(mask)[::2, ::2])
    return [mask]


def lying_mask(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    _save(mask, np.ascontiguousarray(_grey(mask).T))
    return [mask]


def unknown_value(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    values = _grey(mask)
    values[0, 0] = 200
    _save(mask, values)
    return [mask]


def soft_edges(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    if mask.suffix == ".npy":
        np.save(mask, _grey(mask) + 0.25)
    else:
        _save(mask, _grey(mask).astype(np.float32) + np.float32(0.25), "TIFF")
    return [mask]


def grey_as_rgb(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    _save(mask, Image.fromarray(_grey(mask)).convert(("RGB", "RGBA")[int(rng.integers(2))]))
    return [mask]


def glass(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    values = _array(mask).astype(np.uint8)
    alpha = rng.integers(0, 255, values.shape[:2], np.uint8)
    _save(mask, np.dstack([values[..., :3] if values.ndim == 3 else values, alpha][:2]))
    return [mask]


def pages(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    values = Image.fromarray(_grey(mask))
    _save(mask, values, ("TIFF", "GIF")[int(rng.integers(2))], save_all=True,
          append_images=[Image.fromarray(255 - _grey(mask))])  # fmt: skip
    return [mask]


def white_is_zero(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    _save(mask, _grey(mask) > 0, "TIFF", tiffinfo={262: 0})
    return [mask]


def turned_image(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(2, 9))
    kind = ("JPEG", "PNG", "TIFF")[int(rng.integers(3))]
    _save(image, Image.open(image).convert("RGB"), kind, exif=exif)
    return [image, mask]


def deep_image(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    pixels = np.array(Image.open(image).convert("RGB")).astype(np.uint16) * 16
    png(pixels, 16, image, 2) if rng.integers(2) else tiff(pixels, image)
    return [image]


def bands(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    tiff(rng.integers(0, 255, (4, 8, 8), np.uint8), image)
    return [image]


def another_suffix(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    twin = image.with_suffix(".jpeg" if image.suffix != ".jpeg" else ".png")
    if "columns" in made.options or (made.root / "train.txt").exists():
        return None  # a list says which
    if made.options.get("images", "{name}").lower().endswith(".png"):
        return None  # and so does a template
    Image.open(image).convert("RGB").save(twin)
    return [image, twin]


def other_accents(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    forms = {form: image.with_name(unicodedata.normalize(form, image.name)) for form in ("NFC", "NFD")}
    if forms["NFC"] == forms["NFD"] or (made.root / "train.txt").exists():
        return None
    for path in forms.values():
        path.write_bytes(image.read_bytes())
    return [*forms.values()]


def mac_files(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    for path in (image, mask):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7Mac OS X")
    return [image, mask]


def disguised_image(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    _save(image, Image.open(image).convert(("L", "RGBA", "P")[int(rng.integers(3))]), "PNG")
    return [image]


def linked_to_itself(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    path = (image, mask)[int(rng.integers(2))]
    path.unlink()
    path.symlink_to(path)
    return [image, mask, made.root / "train.txt"]


def no_mask(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    mask.unlink()
    return [image, mask]


def _list(made: Made) -> Path | None:
    file = made.root / "train.txt"
    return file if file.exists() else None


def line_twice(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    if (file := _list(made)) is None:
        return None
    lines = file.read_text(encoding="utf-8").splitlines()
    columns = lines[0].split("\t")
    name = os.path.relpath(image, made.root)
    other = f"./{name}" if len(columns) == 1 else f"./{name}\t{mask}"
    file.write_text("\n".join([*lines, other]), encoding="utf-8")
    return [file]


def windows_text(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    if (file := _list(made)) is None:
        return None
    text = file.read_text(encoding="utf-8").replace("\n", "\r\n")
    file.write_bytes(text.encode("utf-16" if rng.integers(2) else "utf-8-sig"))
    return [file]


def unknown_line(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    if (file := _list(made)) is None:
        return None
    with file.open("a", encoding="utf-8") as opened:
        opened.write("images/zebra.png\n")
    return [file]


def bare_names(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    """Lines without folders, where several folders hold such a name."""
    file = _list(made)
    lines = [] if file is None else file.read_text(encoding="utf-8").splitlines()
    if file is None or "\t" in lines[0]:
        return None
    file.write_text("\n".join(line.replace("\\", "/").split("/")[-1] for line in lines), encoding="utf-8")
    return [file]


def loose_image(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    if not (made.root / "images" / "train").is_dir():
        return None
    for folder, path in (("images", image), ("masks", mask)):
        (made.root / folder / f"loose{path.suffix}").write_bytes(path.read_bytes())
    return [made.root / "images" / "loose"]


def class_file_header(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    file = made.root / str(made.options.get("classes", "classes.txt"))
    if not file.is_file() or file.suffix == ".yaml":
        return None
    file.write_text("# exported\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    return [file]


def class_file_of_windows(made: Made, image: Path, mask: Path, rng: Rng) -> list[Path] | None:
    file = made.root / str(made.options.get("classes", "classes.txt"))
    if not file.is_file() or file.suffix == ".yaml":
        return None
    text = file.read_text(encoding="utf-8").replace("\n", "\r\n")
    file.write_bytes(text.encode(("utf-16", "utf-8-sig")[int(rng.integers(2))]))
    return [file]


DAMAGES: dict[str, Damage] = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and name not in {"outcome"} and name[0] != "_"
}
