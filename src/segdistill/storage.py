"""Writing files so that they are complete or absent."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from segdistill.errors import SegdistillError


def write_aside(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, flush it to disk, then rename it; a failure leaves `path` as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(aside)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except Exception as error:
        aside.unlink(missing_ok=True)
        if _is_full(error):
            kept = "The file of that name from before is untouched." if path.exists() else "Nothing was left behind."
            raise SegdistillError(
                f"No space left on the disk while saving {path}. {kept} Free some space, then continue with --resume."
            ) from error
        raise
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """`text` as UTF-8, complete or absent."""
    write_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON, complete or absent."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_yaml(path: Path, value: Any) -> None:
    """`value` as YAML in its own key order, complete or absent."""
    write_text(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def _is_full(error: Exception) -> bool:
    """Whether the disk was full; torch and safetensors wrap the system's error in text of their own."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error)
    return "No space left" in text or "os error 28" in text or "unexpected pos" in text or "file write failed" in text
