"""Reading an ExportedProgram (.pt2), of which torch would unpickle parts and evaluate expressions: those are refused.

torch's reader takes weights and constants that are pickled where their entry says so, sample inputs that are, and
symbolic expressions, which it hands to sympy, which evaluates them. `segdistill export` writes none of the first two,
and of the last only arithmetic.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from segdistill.core.errors import CheckpointError

_NAMES = re.compile(
    r"[^/]+/(data/weights/(weight_\d+|\w+_weights_config\.json)|data/constants/(tensor_\d+|\w+_constants_config\.json)"
    r"|data/sample_inputs/\w+\.pt|models/\w+\.json|extra/\w+|archive_format|archive_version|byteorder|\.data/\w+)"
)
"""What such an archive may hold. Compiled code and objects of classes have other names."""

_SYMBOL = re.compile(r"'[su]\d+'")
_ARITHMETIC = re.compile(r"(\d+|[A-Z]\w*|[a-z]+(?==)|int_oo|[su]\d+|[\s()+\-*/,<>=&|~%])*")
"""An expression after its quoted symbols are taken out: numbers, sympy's classes, their keywords, and operators."""

_MOST = 1 << 28  # bytes of an entry that is read as JSON


def load_program(path: Path, key: str) -> tuple[torch.export.ExportedProgram, str | None]:
    """The program of a .pt2 file and the text that was saved beside it.

    Args:
        path: The file.
        key: Of the text.

    Raises:
        CheckpointError: The file is damaged, or holds what could run code of its writer.
    """
    try:
        _refuse_code(path)
    except (OSError, zipfile.BadZipFile, ValueError, KeyError) as error:
        raise CheckpointError(f"Can't read {path}: {error}. Expected a .pt2 file of `segdistill export`.") from error
    texts = {key: ""}
    program = torch.export.load(path, extra_files=texts)
    return program, texts[key] or None


def _refuse_code(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len({entry.filename for entry in entries}) != len(entries):
            raise _refused(path, "two entries of one name")
        for entry in entries:
            if not _NAMES.fullmatch(entry.filename):
                raise _refused(path, f"an entry '{entry.filename}'")
            if "/data/sample_inputs/" in entry.filename and entry.file_size:
                raise _refused(path, "pickled sample inputs")
            if entry.filename.endswith(".json"):
                if entry.file_size > _MOST:
                    raise _refused(path, f"{entry.file_size} bytes of '{entry.filename}'")
                for name, value in _pairs(json.loads(archive.read(entry))):
                    _check(path, name, value)
        if (damaged := archive.testzip()) is not None:  # torch does not look
            raise zipfile.BadZipFile(f"the checksum of its entry '{damaged}' does not fit")


def _check(path: Path, name: str, value: Any) -> None:
    if name == "use_pickle" and value is not False:
        raise _refused(path, "pickled tensors")
    if name == "expr_str" and (not _ARITHMETIC.fullmatch(_SYMBOL.sub("", str(value))) or "__" in str(value)):
        raise _refused(path, f"the expression {str(value)[:80]!r}")


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value of nested mappings, without recursion."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _refused(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} holds {what}, which could run code of whoever wrote it, so it is not opened. "
        "Expected a .pt2 file of `segdistill export`."
    )
