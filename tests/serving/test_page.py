"""The page of `segdistill demo`, in a real browser: answers of two networks, and nobody else is asked."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from segdistill.core.classes import Classes
from segdistill.core.errors import SegdistillError
from segdistill.core.outputs import SegOutput
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.network import SegmentationNetwork
from segdistill.serving.answers import LONGEST, shown_image
from segdistill.serving.page import DemoPage

CLASSES = Classes(("rust", "moss", "<b>sea</b>"), ((200, 60, 10), (20, 200, 40), (10, 30, 220)))


class Hue(SegmentationNetwork):
    """The class of a pixel is its strongest channel, or the one after it."""

    def __init__(self, shift: int) -> None:
        super().__init__(num_classes=3, mean=(0, 0, 0), std=(1, 1, 1))
        self.shift = shift
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor) -> SegOutput:
        return SegOutput(image.roll(self.shift, 1), image, ())


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thirds red, one third blue, 60 high, 90 wide."""
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[:, :60, 0] = 255
    pixels[:, 60:, 2] = 255
    file = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(pixels).save(file)
    return file


@pytest.fixture(scope="module")
def page() -> Iterator[DemoPage]:
    made = DemoPage({"student": Hue(0), "teacher": Hue(1)}, CLASSES, "A run")
    yield made
    made.close()


def test_answers_are_painted_named_and_timed(page: DemoPage, photo: Path) -> None:
    pictures, line, classes = page.compare(photo, "student", "teacher", 100)
    assert pictures is not None
    left, right = pictures
    assert right[0, 0].tolist() == [200, 60, 10]
    assert right[0, 89].tolist() == [10, 30, 220]
    assert left[0, 0].tolist() == [20, 200, 40]
    assert re.match(r"90 x 60 pixels. Left: teacher, [\d.]+ ms. Right: student, [\d.]+ ms. They agree on 0.0 %", line)
    assert classes.index("rust 66.7 %") < classes.index("&lt;b&gt;sea&lt;/b&gt; 33.3 %")
    assert "moss" not in classes
    assert page.compare(None, "student", "teacher", 50) == (None, "", "")


class Width(Hue):
    """The class of all pixels is the image's width modulo 3."""

    def forward(self, image: Tensor) -> SegOutput:
        scores = torch.zeros_like(image)
        scores[:, image.shape[-1] % 3] = 1
        return SegOutput(scores, image, ())


def test_images_are_run_as_the_page_was_asked_to(photo: Path) -> None:
    page = DemoPage({"student": Width(0)}, CLASSES, "A run", InferenceConfig(size_divisor=64))
    pictures, _, classes = page.compare(photo, "student", "student", 100)
    page.close()
    assert pictures is not None
    assert pictures[0].shape == (60, 90, 3)
    assert classes.count("%") == 1
    assert "sea" in classes  # 128 % 3, and 90 % 3 is rust


def test_large_photos_are_reduced() -> None:
    image = torch.arange(0, 240, 0.08).byte()[None, :, None].expand(3, -1, 1000)
    reduced = shown_image(image)
    assert reduced.shape == (3, LONGEST, round(LONGEST / 3))
    assert reduced[:, ::128, 0].tolist() == 3 * [[0, 30, 60, 90, 120, 150, 180, 210]]


@pytest.mark.skipif(os.name != "posix", reason="no file modes")
def test_what_was_dropped_is_for_this_user_only(page: DemoPage) -> None:
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    assert folder.stat().st_mode & 0o077 == 0
    assert "segdistill-demo-" in folder.name


def test_in_the_browser_an_image_is_answered_and_nobody_else_is_asked(
    page: DemoPage, photo: Path, browser: Any, tmp_path: Path
) -> None:
    Image.fromarray(np.linspace(0, 4095, 4096, dtype=np.uint16).reshape(64, 64)).save(tmp_path / "deep.png")
    address = page.start(None, block=False)
    assert address.startswith("http://127.0.0.1:")
    context = browser.new_context()
    opened, requests = context.new_page(), []
    opened.on("request", lambda request: requests.append(request.url))
    response = opened.goto(address)
    assert "default-src 'self'" in response.headers["content-security-policy"]
    opened.set_input_files("input[type=file]", photo)
    opened.wait_for_selector("text=They agree on 0.0 %", timeout=60_000)
    opened.wait_for_selector("#classes >> text=rust 66.7 %", timeout=60_000)
    assert opened.locator("#answers img").count() >= 2
    assert opened.locator("textarea, input[type=url], input[type=text]").count() == 0  # nowhere to type a path
    opened.reload()
    opened.set_input_files("input[type=file]", tmp_path / "deep.png")
    opened.wait_for_selector("text=more than 8 bits a channel", timeout=60_000)
    assert all(url.startswith((address, "data:", "blob:")) for url in requests), requests
    context.close()
    request = Request(address, headers={"Host": "evil.example:7860", "Origin": "http://evil.example:7860"})
    with pytest.raises(HTTPError, match="400"):
        urlopen(request)


def test_a_port_that_is_taken_is_an_error(page: DemoPage) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SegdistillError, match=r"Can't serve on port \d+ of 127\.0\.0\.1.*port="):
            DemoPage({"student": Hue(0)}, CLASSES, "A run").start(taken.getsockname()[1], block=False)
