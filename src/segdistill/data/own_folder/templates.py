"""Finding files by a name template such as `gtFine/{split}/{name}_labelIds.png`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from segdistill.core.errors import DataError
from segdistill.data.reading import IMAGE_SUFFIXES, require_folder

_ANY_SUFFIX = "(?i:" + "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES)) + ")"


def find_files(root: Path, template: str, split: str, *, hint: str | None) -> dict[str, Path]:
    """{name} -> file, sorted by name, of the files below `root` that fit the template.

    `{split}` is train or val; `{name}` is what an image and its mask share and may hold folders; `*` is anything
    within one name. A template without a suffix takes any image suffix. Files whose names begin with a dot are none.

    Args:
        root: of the data set.
        template: of paths below it.
        split: what stands for `{split}`.
        hint: a sentence for the message where the folder is missing; None if that is no fault.

    Returns:
        The file of each name.

    Raises:
        DataError: the template lacks {name}, the folder is missing, or two files share a name.
    """
    if template.count("{name}") != 1:
        raise DataError(f"The template '{template}' must hold {{name}} once: what an image and its mask share.")
    filled = template.replace("{split}", split)
    fixed = re.split(r"[^/]*(?:\{name\}|\*)", filled, maxsplit=1)[0]
    if hint is None and not (root / fixed).is_dir():
        return {}
    base = require_folder(root / fixed, hint or "")
    pattern = _pattern(filled.removeprefix(fixed))
    by_name: dict[str, Path] = {}
    walked: set[str] = set()
    for folder, subfolders, files in os.walk(base, followlinks=True):
        real = os.path.realpath(folder)
        if real in walked:  # a link that leads back up
            subfolders[:] = []
            continue
        walked.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for file in sorted(files):
            path = Path(folder, file)
            match = None if file.startswith(".") else pattern.fullmatch(path.relative_to(base).as_posix())
            if match is None:
                continue
            name = match["name"]
            if name in by_name:
                raise DataError(f"{path} and {by_name[name]} share a name, so their mask is not certain. Rename one.")
            by_name[name] = path
    return dict(sorted(by_name.items()))


def named(root: Path, template: str, split: str, name: str) -> Path:
    """The file of a name by the template, whether it exists or not.

    Args:
        root: of the data set.
        template: of paths below it.
        split: what stands for `{split}`.
        name: what stands for `{name}`.

    Returns:
        The path, with .png where the template leaves the suffix open.
    """
    path = root / template.replace("{split}", split).replace("{name}", name)
    return path if path.suffix.lower() in IMAGE_SUFFIXES and not template.endswith("{name}") else Path(f"{path}.png")


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\{name\}|\*)", template)
    text = "".join({"{name}": "(?P<name>.+)", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)
    open_ended = Path(template).suffix.lower() not in IMAGE_SUFFIXES
    return re.compile(text + (_ANY_SUFFIX if open_ended else ""))
