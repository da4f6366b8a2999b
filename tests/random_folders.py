"""Small data sets at random, in every form that a folder of one's own may have, with the truth of each pixel."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from folder_truth import Label, Made, Split
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from raw_files import png

VOID = 255
NAMES = ("sky", "tree", "été", "car", "no entry", "road")
COLORS = ((128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (90, 0, 128), (1, 2, 3))
STEMS = ("a", "b.c", "0001", "frame 7", "IMG_2", "été", "x-mask", "train1")


@dataclass(frozen=True)
class Form:
    """Everything that is drawn at random of a data set, but its pixels."""

    stems: tuple[str, ...]
    folders: tuple[str, ...]
    classes: int
    class_file: str
    split: str
    list_form: str
    image_suffix: tuple[str, ...]
    mask_kind: str
    template: str
    merge: str
    spelling: str
    seed: int
    pixels: NDArray[Any] | None = None


FORMS = st.builds(
    Form,
    stems=st.lists(st.sampled_from(STEMS), min_size=3, max_size=5, unique=True).map(tuple),
    folders=st.sampled_from([("",), ("",), ("one", "two"), ("deep/er", "deep/est")]),
    classes=st.integers(2, 6),
    class_file=st.sampled_from(["option", "classes.txt", "cvat", "csv", "labelme", "table", "yolo"]),
    split=st.sampled_from(
        ["every", "fraction", "pattern", "lists", "one list", "columns", "root folders", "image folders", "template"]
    ),
    list_form=st.sampled_from(
        ["name", "below", "dot", "absolute", "other prefix", "mask", "windows", "no suffix", "parent", "capitals"]
    ),
    image_suffix=st.sampled_from([(".png",), (".jpg", ".JPG"), (".PNG", ".png"), (".tif",), (".bmp", ".webp")]),
    mask_kind=st.sampled_from(
        [
            "grey",
            "palette",
            "1",
            "2",
            "4",
            "uint16",
            "int32",
            "float32",
            "npy",
            "gif",
            "alpha",
            "ids",
            "painted",
            "wide ids",
        ],
    ),
    template=st.sampled_from(["none", "open", "suffix", "ending", "star"]),
    merge=st.sampled_from(["none", "none", "join", "void", "rename"]),
    spelling=st.sampled_from(["NFC", "NFD"]),
    seed=st.integers(0, 1 << 20),
)
"""Forms of data sets; all of them are accepted."""


def make(form: Form, root: Path) -> Made:
    """Write a data set of a form."""
    return _Writer(form, root).made


class _Writer:
    """Writes one data set; keeps what it wrote."""

    def __init__(self, form: Form, root: Path) -> None:
        self.form, self.root = form, root
        self.rng = np.random.default_rng(form.seed)
        self.made = Made(root, {})
        self.names = [f"{folder}/{stem}".lstrip("/") for folder in form.folders for stem in form.stems]
        self.ids = list(range(form.classes))
        if form.mask_kind == "ids":
            self.ids = [7 + 3 * index for index in self.ids]
        elif form.mask_kind == "wide ids":
            self.ids = [1000 * (index + 1) for index in self.ids]
        self.void = {"1": None, "2": None, "4": None}.get(form.mask_kind, VOID)
        self.most = {"1": 2, "2": 4, "4": 16}.get(form.mask_kind, form.classes)
        self._classes()
        mapping = self._merge()
        splits = self._split()
        for split, names in splits.items():
            self.made.truth[split] = {}
            for name in names:
                self._pair(name, split, mapping)
        self._lists(splits)

    def _classes(self) -> None:
        form, options = self.form, self.made.options
        names = NAMES[: form.classes]
        painted, numbered = form.mask_kind == "painted", form.mask_kind in {"ids", "wide ids"}
        kind = form.class_file
        files = {
            "classes.txt": ("classes.txt", "\n".join(names)),
            "cvat": ("labelmap.txt", "# label:color_rgb:parts:actions\n" + "".join(
                f"{name}:{color[0]},{color[1]},{color[2]}::\n" for name, color in zip(names, COLORS, strict=False))),
            "csv": ("_classes.csv", "Pixel Value, Class\n" + "".join(
                f"{value}, {name}\n" for value, name in zip(self.ids, names, strict=True))),
            "labelme": ("labels.txt", "__ignore__\n" + "\n".join(names)),
            "table": ("table.yaml", "classes:\n" + "".join(
                f"  - {{name: {name}, id: {value}, color: {list(color)}}}\n"
                for name, value, color in zip(names, self.ids, COLORS, strict=False))),
            "yolo": ("data.yaml", f"names: {{{', '.join(f'{i}: {name}' for i, name in enumerate(names))}}}\n"),
        }  # fmt: skip
        if kind == "option":
            options["classes"] = list(names)
        else:
            file, text = files[kind]
            (self.root / file).write_text(unicodedata.normalize(form.spelling, text), encoding="utf-8")
            if file != "classes.txt":
                options["classes"] = file
        if numbered and kind not in {"csv", "table"}:
            options["values"] = dict(zip(self.ids, names, strict=True))
        if painted:
            options["mask_colors"] = True
            if kind not in {"cvat", "table"}:
                options["colors"] = {name: list(color) for name, color in zip(names, COLORS, strict=False)}

    def _merge(self) -> list[int]:
        """The class of the truth that each class as it is drawn counts as."""
        count, names = self.form.classes, NAMES
        if count < 3 or self.form.merge == "none" or "values" in self.made.options:
            return list(range(count))
        rest = list(range(count - 1))
        if self.form.merge == "join":
            self.made.options["merge"] = {names[count - 1]: names[0]}
            return [*rest, 0]
        if self.form.merge == "void":
            self.made.options["merge"] = {names[count - 1]: None}
            return [*rest, VOID]
        self.made.options["merge"] = {names[0]: "both", names[count - 1]: "both"}
        return [*rest, 0]

    def _split(self) -> dict[Split, list[str]]:
        form, options = self.form, self.made.options
        names = sorted(self.names)
        by_path = {name: name for name in names}
        if form.split == "pattern":
            options["val_pattern"] = f"*{form.stems[0]}"
            val = [name for name in names if name.endswith(form.stems[0])]
            if len(val) == len(names):
                val = names[:1]
        elif form.split == "every":
            options["val_every"] = 2
            val = names[1::2]
        elif form.split == "fraction":
            options["val_fraction"] = 0.4
            val = []  # which ones it draws is not ours to say: the truth is of all
        else:
            order = [by_path[name] for name in self.rng.permutation(names).tolist()]
            val = sorted(order[: max(1, len(names) // 3)])
        return {"train": [name for name in names if name not in val], "val": val}

    def _pair(self, name: str, split: Split, mapping: list[int]) -> None:
        form = self.form
        height, width = 4, 8
        index = self.rng.integers(0, min(form.classes, self.most), (height, width)).astype(np.uint8)
        void = self.rng.random((height, width)) < 0.1 if self.void is not None and form.mask_kind != "painted" else None
        truth = np.array(mapping, np.uint8)[index]
        raw = np.array(self.ids, np.uint32)[index]
        if void is not None:
            truth[void], raw[void] = VOID, VOID
        image = self.image_path(name, split)
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.rng.integers(0, 255, (height, width, 3), np.uint8)).save(image)
        self._write_mask(self.mask_path(name, split), raw, index)
        self.made.truth[split][image.relative_to(self.root).as_posix()] = truth

    def _write_mask(self, path: Path, raw: NDArray[Any], index: Label) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = self.form.mask_kind
        if kind in {"1", "2", "4"}:
            png(raw.astype(np.uint8), int(kind), path)
        elif kind in {"uint16", "int32", "float32"}:
            Image.fromarray(raw.astype(kind)).save(path)
        elif kind == "wide ids":
            Image.fromarray(raw.astype(np.uint16)).save(path)
        elif kind == "npy":
            np.save(path, raw.astype([np.uint8, np.int64, np.uint16][self.form.seed % 3]))
        elif kind == "alpha":
            Image.fromarray(np.dstack([raw.astype(np.uint8), np.full(raw.shape, 255, np.uint8)])).save(path)
        elif kind == "painted":
            Image.fromarray(np.array(COLORS, np.uint8)[index]).save(path)
        elif kind in {"palette", "gif"}:
            picture = Image.fromarray(raw.astype(np.uint8), mode="P")
            picture.putpalette([(37 * place + 11 * band + 5) % 256 for place in range(256) for band in range(3)])
            picture.save(path, **({"optimize": False} if kind == "gif" else {}))
        else:
            Image.fromarray(raw.astype(np.uint8)).save(path)

    @property
    def mask_suffix(self) -> str:
        by_kind = {"int32": ".tif", "float32": ".tiff", "npy": ".npy", "gif": ".gif"}
        return by_kind.get(self.form.mask_kind, ".png")

    def _place(self, kind: str, name: str, split: Split) -> Path:
        """The folder of images or masks, by the layout of the split, and the name in it."""
        name = unicodedata.normalize(self.form.spelling if kind == "images" else "NFC", name)
        layout = self.form.split
        if layout == "root folders":
            return self.root / {"train": "train", "val": ("val", "valid")[self.form.seed % 2]}[split] / kind / name
        if layout == "image folders":
            return self.root / kind / {"train": "train", "val": ("val", "validation")[self.form.seed % 2]}[split] / name
        if layout == "template":
            return self.root / f"all {kind}" / split / name
        return self.root / kind / name

    def image_path(self, name: str, split: Split) -> Path:
        place = self._place("images", name, split)
        suffix = self.form.image_suffix[self.names.index(name) % len(self.form.image_suffix)]
        if self._templates[0].endswith(".png"):
            suffix = (".png", ".PNG")[self.names.index(name) % 2]
        ending = "_left" if self.form.template == "star" and self._templates[1] else ""
        return place.with_name(f"{place.name}{ending}{suffix}")

    def mask_path(self, name: str, split: Split) -> Path:
        place = self._place("masks", name, split)
        ending = "_gt" if self.form.template == "ending" and self._templates[1] else ""
        return place.with_name(f"{place.name}{ending}{self.mask_suffix}")

    @property
    def _templates(self) -> tuple[str, str]:
        layout, kind = self.form.split, self.form.template
        if layout != "template" and (kind == "none" or layout == "root folders"):
            return "", ""
        base = {"template": ("all images/{split}/", "all masks/{split}/")}.get(layout, ("images/", "masks/"))
        image, mask = f"{base[0]}{{name}}", f"{base[1]}{{name}}"
        if kind == "suffix":
            return f"{image}.png", f"{mask}{self.mask_suffix.upper()}"
        if kind == "ending":
            mask = f"{mask}_gt"
        if kind == "star":
            image = f"{image}_*.png" if set(self.form.image_suffix) <= {".png", ".PNG"} else f"{image}_*"
        return image, mask

    def _lists(self, splits: dict[Split, list[str]]) -> None:
        images, masks = self._templates
        if images:
            self.made.options |= {"images": images, "masks": masks}
        layout = self.form.split
        if layout not in {"lists", "one list", "columns"}:
            return
        for split, names in splits.items():
            if layout == "one list" and split == "val":
                continue
            lines = [self._line(name, split, layout == "columns") for name in names]
            (self.root / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _line(self, name: str, split: Split, columns: bool) -> str:
        image, mask = self.image_path(name, split), self.mask_path(name, split)
        if columns:
            return f"{image.relative_to(self.root)}\t{mask if self.form.seed % 2 else mask.relative_to(self.root)}"
        below = image.relative_to(self.root).as_posix()
        forms = {
            "name": unicodedata.normalize("NFD", name),
            "below": below,
            "dot": f"./{below}",
            "absolute": str(image),
            "other prefix": f"/home/me/{below}",
            "mask": str(mask),
            "windows": "D:\\data\\" + below.replace("/", "\\"),
            "no suffix": below[: -len(image.suffix)],
            "parent": f"images/../{below}",
            "capitals": f"{below[: -len(image.suffix)]}{image.suffix.upper()}",
        }
        return forms[self.form.list_form]
