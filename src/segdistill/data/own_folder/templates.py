"""Finding files by a name template such as `gtFine/{split}/{name}_labelIds.png`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from segdistill.core.errors import DataError
from segdistill.core.paths import as_spelled, composed, expanded
from segdistill.data.formats import IMAGE_SUFFIXES, MASK_SUFFIXES
from segdistill.data.own_folder.split_folders import folder_of
from segdistill.data.reading import require_folder


def find_files(
    root: Path, template: str, split: str, *, hint: str | None, suffixes: frozenset[str] = IMAGE_SUFFIXES
) -> dict[str, Path]:
    """{name} -> file, sorted by name, of the files below `root` that fit the template.

    `{split}` is train or val, or the folder of that meaning that is there; `{name}` is what an image and its mask share
    and may hold folders; `*` is anything within one name. A template without a suffix takes any of `suffixes`, and the
    case of suffixes does not count. Files whose names begin with a dot are none.

    Args:
        root: of the data set.
        template: of paths below it.
        split: what stands for `{split}`.
        hint: a sentence for the message where the folder is missing; None if that is no fault.
        suffixes: that a template without one takes.

    Returns:
        The file of each name, whose accents are composed (NFC).

    Raises:
        DataError: the template lacks {name}, the folder is missing, or two files share a name.
    """
    if template.count("{name}") != 1:
        raise DataError(f"The template '{template}' must hold {{name}} once: what an image and its mask share.")
    base, rest = base_of(root, template, split)
    if hint is None and not base.is_dir():
        return {}
    require_folder(base, hint or "")
    pattern = _pattern(rest, suffixes)
    by_name: dict[str, Path] = {}
    for path in files_below(base):
        match = pattern.fullmatch(composed(path.relative_to(base).as_posix()))
        if match is None:
            continue
        name = match["name"]
        if name in by_name:
            raise DataError(f"{path} and {by_name[name]} share a name, so their mask is not certain. Rename one.")
        by_name[name] = path
    return dict(sorted(by_name.items()))


def base_of(root: Path, template: str, split: str) -> tuple[Path, str]:
    """The folder that a template searches, and the rest of the template below it.

    Args:
        root: of the data set.
        template: of paths below it.
        split: what stands for `{split}`.

    Returns:
        The folder, which may be missing, and the template of paths below it.
    """
    text = filled(root, template, split)
    fixed = re.split(r"[^/]*(?:\{name\}|\*)", text, maxsplit=1)[0]
    return as_spelled(root / fixed), text.removeprefix(fixed)


def files_below(base: Path) -> Iterator[Path]:
    """The files of a folder and of those below it, in order; not the hidden ones.

    Args:
        base: the folder.

    Yields:
        Files.
    """
    walked: set[str] = set()
    for folder, subfolders, files in os.walk(base, followlinks=True):
        real = os.path.realpath(folder)
        if real in walked:  # a link that leads back up
            subfolders[:] = []
            continue
        walked.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from (Path(folder, file) for file in sorted(files) if not file.startswith("."))


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
    path = root / filled(root, template, split).replace("{name}", name)
    return path if not _is_open(template) else Path(f"{path}.png")


def filled(root: Path, template: str, split: str) -> str:
    """The template with the split: a folder of its own may have another name of the same meaning, as valid for val.

    Args:
        root: of the data set.
        template: of paths below it.
        split: what stands for `{split}`.

    Returns:
        The template without `{split}`.
    """
    template = expanded(template)
    before, divider, _ = template.partition("/{split}/")
    if not divider and template.startswith("{split}/"):
        before, divider = "", "{split}/"
    if divider and "{name}" not in before and "*" not in before:
        split = folder_of(split, root / before) or split
    return template.replace("{split}", split)


def _is_open(template: str) -> bool:
    """Whether the template says no suffix."""
    return Path(template).suffix.lower() not in MASK_SUFFIXES or template.endswith("{name}")


def _pattern(template: str, suffixes: frozenset[str]) -> re.Pattern[str]:
    ending = "" if _is_open(template) else Path(template).suffix
    parts = re.split(r"(\{name\}|\*)", composed(template.removesuffix(ending)))
    text = "".join({"{name}": "(?P<name>.+)", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)
    endings = "|".join(re.escape(suffix) for suffix in sorted([ending] if ending else suffixes))
    return re.compile(f"{text}(?i:{endings})")
