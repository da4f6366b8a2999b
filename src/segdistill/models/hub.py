"""Networks of this library on the Hugging Face hub: which names mean one, and whether its files are whole."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from segdistill.core.errors import CheckpointError
from segdistill.core.paths import expanded
from segdistill.core.storage import sha256, write_json

PREFIX = "hf-segdistill:"
"""Before the name of a network of this library, which needs no look at the hub to know that it is one."""

MANIFEST = "segdistill.json"
"""The file of a published folder that has the checksums of the others, and by which it is recognized."""

_NEEDED = [MANIFEST, "*.safetensors", "*.yaml"]
_OTHERS = "hf:"


def published_folder(source: str | Path) -> Path | None:
    """The folder of a network that `publish` wrote, of which all files are whole.

    Args:
        source: Such a folder, "hf-segdistill:user/name" or "hf:user/name"; what is not in the working folder is taken
            from the hub, or from what was downloaded before.

    Returns:
        The folder; None for anything else, as a run or "hf:" with a network of transformers.

    Raises:
        CheckpointError: It can't be downloaded, or a file is missing or damaged.
    """
    name = str(source)
    prefix = next((each for each in (PREFIX, _OTHERS) if name.startswith(each)), "")
    rest = name.removeprefix(prefix)
    folder = expanded(Path(rest))
    if not folder.is_dir():
        if not prefix or rest.count("/") != 1:
            if prefix == PREFIX:
                raise CheckpointError(f"'{name}': expected user/name, or a folder that publish wrote.")
            return None
        downloaded = _downloaded(rest, is_certain=prefix == PREFIX)
        if downloaded is None:
            return None
        folder = downloaded
    if not (folder / MANIFEST).is_file():
        if prefix == PREFIX:
            raise CheckpointError(f"'{name}': {folder} holds no {MANIFEST}, which publish writes.")
        return None
    check_files(folder)
    return folder


def write_manifest(folder: Path, names: Iterable[str]) -> None:
    """Write the checksums of files.

    Args:
        folder: That holds them.
        names: Of the files.
    """
    files = {name: sha256(folder / name) for name in sorted(names)}
    write_json(folder / MANIFEST, {"format": "segdistill 1", "files": files})


def published_files(folder: Path) -> dict[str, str]:
    """The files that a published folder was made of.

    Args:
        folder: With a manifest.

    Returns:
        Name -> checksum.

    Raises:
        CheckpointError: The manifest is missing or damaged.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {Path(str(name)).name: str(digest) for name, digest in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder / MANIFEST} can't be read: {error}. Download or publish it anew.") from error


def check_files(folder: Path) -> None:
    """Compare the files of a published folder with their checksums. Those that need not be downloaded may be missing.

    Args:
        folder: That holds them.

    Raises:
        CheckpointError: One is damaged, or a weight file or description is missing.
    """
    for name, digest in published_files(folder).items():
        file = folder / name
        if not file.is_file():
            if file.suffix in (".safetensors", ".yaml"):
                raise CheckpointError(f"{folder} lacks {name}, which its {MANIFEST} lists. Download it anew.")
        elif sha256(file) != digest:
            raise CheckpointError(
                f"{file} is damaged: its checksum is not the one in {MANIFEST}. Download or publish it anew."
            )


def _downloaded(name: str, *, is_certain: bool) -> Path | None:
    """The folder of the hub's snapshot; None for a repository without our manifest, unless it must have one."""
    from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache  # which take time to import
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        if not is_certain and isinstance(try_to_load_from_cache(name, "config.json"), str):
            return None  # transformers' own, which needs no connection from here on
        hf_hub_download(name, MANIFEST)
        return Path(snapshot_download(name, allow_patterns=_NEEDED))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        if not is_certain:
            return None  # transformers says better what is wrong with a name of its own
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"Can't take '{name}' from the Hugging Face hub: {reason} Is the name right, is there a connection, and "
            "is this machine logged in (hf auth login) if it is private?"
        ) from error
