"""A folder that runs an exported network in the browser alone: a page, the ONNX file and onnxruntime-web beside it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from segdistill.core.errors import RecipeError, SegdistillError
from segdistill.core.pixels import RGB_BYTES, PixelFormat
from segdistill.core.storage import write_text
from segdistill.exporting.result import ExportedFile
from segdistill.models.exported.description import ExportDescription

PAGE = "index.html"
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""What the page needs of onnxruntime-web."""

INSTALLED = Path("node_modules/onnxruntime-web")
_MARK = '<script id="about" type="application/json">'
"""What stands in every page of an export."""

_TEMPLATE = Path(__file__).with_name("templates") / "web.html"


def require_runtime(ort: str | None, pixels: PixelFormat = RGB_BYTES) -> str:
    """Where onnxruntime-web is taken from: the address of a CDN, ending in "/", or a folder with its files.

    Args:
        ort: An address, or the folder of the installed npm package; None for the one that npm installs here.
        pixels: What the images of the network are.

    Raises:
        RecipeError: The files are not there, or the images are no photos.
    """
    if not pixels.plain:
        raise RecipeError(f"format=web makes a page of photos in RGB; the network takes {pixels}. Take format=onnx.")
    if ort is not None and re.match(r"https?://", ort):
        return ort.rstrip("/") + "/"
    folder = Path(ort) if ort is not None else INSTALLED
    for each in (folder / "dist", folder):
        if all((each / name).is_file() for name in RUNTIME):
            return str(each)
    raise RecipeError(
        f"format=web needs the files of onnxruntime-web ({', '.join(RUNTIME)}), and they are not in {folder}. Install "
        "them with `npm install onnxruntime-web` and name the folder, as ort=node_modules/onnxruntime-web; or name the "
        "CDN that the page shall load them from, as ort=https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/."
    )


def refuse_other_page(out: Path) -> None:
    """Refuse a folder whose index.html was not written by an export, and would be lost.

    Args:
        out: The folder.

    Raises:
        SegdistillError: It has one.
    """
    page = out / PAGE
    if page.is_file() and _MARK not in page.read_text(encoding="utf-8", errors="replace"):
        raise SegdistillError(f"{page} is another page, and an export would replace it. Choose another out=FOLDER.")


def write_page(aside: Path, files: list[ExportedFile], description: ExportDescription, ort: str) -> None:
    """Write the page and what it needs of onnxruntime-web into the folder of the files.

    Args:
        aside: The folder.
        files: The ONNX files, which the page offers, the last one first.
        description: What they take and give.
        ort: As `require_runtime` gives it.
    """
    remote = ort if ort.startswith("http") else ""
    if not remote:
        for name in RUNTIME:
            shutil.copyfile(Path(ort) / name, aside / name)
    about = {
        **description.as_dict(),
        "files": [each.path.name for each in reversed(files)],
        "ort": remote or "./",
    }
    # "<" would end the script that the text stands in.
    text = json.dumps(about, ensure_ascii=False).replace("<", "\\u003c")
    page = _TEMPLATE.read_text(encoding="utf-8")
    write_text(aside / PAGE, page.replace("{{cdn}}", remote.split("?")[0]).replace("{{about}}", text))
