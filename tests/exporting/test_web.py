"""The exported folder that runs in the browser alone."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from patches import patches
from PIL import Image

import segdistill
from segdistill.core.errors import RecipeError, SegdistillError
from segdistill.exporting.export import export_model
from segdistill.exporting.result import ExportedFile
from segdistill.exporting.settings import ExportSettings
from segdistill.exporting.web import INSTALLED, RUNTIME, require_runtime, write_page
from segdistill.models.exported.description import ExportDescription

ORT = Path(__file__).parents[2] / INSTALLED
SIZES = [(48, 80), (75, 101), (64, 50)]


@pytest.fixture(scope="module")
def ort() -> Path:
    if not ORT.is_dir():
        pytest.skip("No onnxruntime-web here (npm install onnxruntime-web)")
    return ORT


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Three images of three sizes."""
    paths = []
    for number, (height, width) in enumerate(SIZES):
        patches = np.random.default_rng(number).integers(0, 256, (5, 7, 3), np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(patches).resize((width, height), Image.Resampling.BILINEAR).save(paths[-1])
    return paths


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[Any]:
    """What serves a folder with Python alone, and gives its address."""
    processes = []

    def serve(folder: Path) -> str:
        words = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        processes.append(process)
        assert process.stdout is not None
        port = re.search(r"port (\d+)", process.stdout.readline())
        assert port is not None
        return f"http://127.0.0.1:{port.group(1)}/"

    yield serve
    for process in processes:
        process.kill()
        process.communicate()


def check_page(browser: Any, address: str, file: Path, photos: list[Path]) -> None:
    """The page shows of each photo the classes that the file has in Python, and asks nobody else."""
    network = segdistill.load_model(file)
    context = browser.new_context(permissions=["camera"])
    page, requests, faults = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.goto(address)
    page.wait_for_selector("#status:has-text('Ready')", timeout=60_000)  # a function would be eval, which it forbids
    for photo in photos:
        pixels = np.array(Image.open(photo))
        page.set_input_files("#file", photo)
        page.wait_for_selector(f"#status:has-text('{pixels.shape[1]} x {pixels.shape[0]} pixels in')", timeout=60_000)
        shown = page.evaluate("globalThis.shown")
        expected = network.classes_of(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].numpy()
        classes = np.array(shown["classes"]).reshape(shown["height"], shown["width"])
        assert classes.shape == pixels.shape[:2]
        assert np.array_equal(classes, expected)
        assert len(np.unique(expected)) > 1
        names = {network.classes.names[index] for index in np.unique(expected)}
        assert all(name in page.text_content("#legend") for name in names)
        assert "ms" in page.text_content("#status")
    page.click("#camera")
    page.wait_for_selector("#status:has-text('320 x 240 pixels in')", timeout=60_000)
    page.click("#camera")
    page.wait_for_selector("#camera:has-text('Camera')")
    assert faults == []
    assert all(url.startswith((address, "data:", "blob:")) for url in requests)
    context.close()


@pytest.mark.parametrize("input", ["float", "uint8"])
def test_the_page_shows_what_python_shows(
    ort: Path, photos: list[Path], served: Any, browser: Any, tmp_path: Path, input: str
) -> None:
    folder = tmp_path / "web"
    settings = ExportSettings(format="web", input=input, ort=str(ort))
    export_model(patches("roof", "moss", "sea", "stone"), settings, None, folder, quiet=True)
    assert {path.name for path in folder.iterdir()} == {
        "index.html", "network.onnx", "export.json", "run_onnx.py", *RUNTIME,
    }  # fmt: skip
    check_page(browser, served(folder), folder / "network.onnx", photos)


def test_a_name_is_no_code_and_a_cdn_that_is_named_is_all_the_page_may_ask(tmp_path: Path) -> None:
    model = patches("</script><script>document.title='x'</script>", "moss", "sea", "stone")
    about = ExportDescription(model.classes)
    ort = require_runtime("https://cdn.example/ort@1/dist")
    write_page(tmp_path, [ExportedFile(tmp_path / "student.onnx", 1, "float32", None)], about, ort)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "</script><script>" not in text
    (policy,) = re.findall(r'content="(default-src[^"]*)"', text)
    assert "connect-src 'self' https://cdn.example/ort@1/dist/;" in policy
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html"]


def test_without_onnxruntime_web_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"ort-wasm-simd-threaded\.wasm.*npm install onnxruntime-web.*ort=https://"):
        export_model(patches(*"abcd"), ExportSettings(format="web", ort=str(tmp_path)), None, tmp_path / "web")
    assert not (tmp_path / "web").exists()
    with pytest.raises(ValueError, match="format=web shows classes"):
        ExportSettings(format="web", outputs="logits")
    with pytest.raises(ValueError, match="ort is for format=web"):
        ExportSettings(ort="node_modules")


def test_another_page_in_the_folder_is_not_replaced(tmp_path: Path) -> None:
    settings = ExportSettings(format="web", ort="https://cdn.example/ort@1/dist")
    for _ in range(2):  # its own page is
        export_model(patches(*"abcd"), settings, None, tmp_path / "web", quiet=True)
    (tmp_path / "web" / "index.html").write_text("<h1>mine</h1>")
    with pytest.raises(SegdistillError, match=r"index\.html is another page"):
        export_model(patches(*"abcd"), settings, None, tmp_path / "web", quiet=True)
    assert (tmp_path / "web" / "index.html").read_text() == "<h1>mine</h1>"
