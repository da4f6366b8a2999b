"""A page on 127.0.0.1: drop an image or take the camera, and see two networks under a divider.

Nothing leaves the machine: the server listens on the loopback interface only and answers to its name only (so that no
website that a browser shows can ask it), shares no link and reports no use, and the page may ask nobody else
(Content-Security-Policy). Images that were dropped, and answers, are gone when the process ends.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from segdistill.core.classes import Classes
from segdistill.core.colors import Pixels
from segdistill.core.errors import RecipeError, SegdistillError
from segdistill.data.reading import read_image
from segdistill.evaluation.settings import InferenceConfig
from segdistill.models.network import SegmentationNetwork
from segdistill.serving.answers import answer, legend, shown_image

_HOST = "127.0.0.1"
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:"
)
_STYLE = """
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
.legend span { display: inline-block; width: 1em; height: 1em; margin-right: .4em; border: 1px solid #888; }
"""
_FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}


class DemoPage:
    """The page; `start` serves it and `close` ends that.

    Args:
        networks: By the names that the page shows, the first one is the student; all know `classes`.
        classes: Names and colors.
        title: Heads the page.
        inference: How images are run, the same for all networks.

    Raises:
        RecipeError: Gradio is not installed.
    """

    def __init__(
        self,
        networks: Mapping[str, SegmentationNetwork],
        classes: Classes,
        title: str,
        inference: InferenceConfig = InferenceConfig(),  # noqa: B008 (frozen)
    ) -> None:
        self.networks, self.classes, self.title, self.inference = networks, classes, title, inference
        self._gradio = _gradio()
        self._blocks = self._build()

    def compare(
        self, file: str | Path | None, name: str, other: str, strength: float
    ) -> tuple[tuple[Pixels, Pixels] | None, str, str]:
        """Two networks on an image.

        Args:
            file: Of the image, read as `predict` reads it; None shows nothing.
            name: The network on the right of the divider, whose classes are listed.
            other: The one on the left.
            strength: Of the colors, in percent.

        Returns:
            The two pictures, left first; a line with the milliseconds; the legend.

        Raises:
            DataError: The file can't be read as an image.
        """
        if file is None:
            return None, "", ""
        image = shown_image(read_image(Path(file)))
        left, right = (
            answer(self.networks[each], image, self.classes, self.inference, strength / 100) for each in (other, name)
        )
        height, width = image.shape[1:]
        agree = float((left.label == right.label).float().mean())
        line = (
            f"{width} x {height} pixels. Left: {other}, {left.milliseconds:.1f} ms. Right: {name}, "
            f"{right.milliseconds:.1f} ms. They agree on {100 * agree:.1f} % of the pixels."
        )
        return (left.picture, right.picture), line, legend(right.label, self.classes)

    def start(self, port: int | None, *, browser: bool = False, block: bool = True) -> str:
        """Serve the page.

        Args:
            port: Of the address; None for the first free one from 7860 on.
            browser: Whether to open it in the browser of this machine.
            block: Whether to stay until Ctrl-C.

        Returns:
            The address.

        Raises:
            SegdistillError: The port is taken.
        """
        middleware = import_module("starlette.middleware").Middleware
        named = import_module("starlette.middleware.trustedhost").TrustedHostMiddleware
        gradio = self._gradio
        try:
            _, address, _ = self._blocks.launch(
                server_name=_HOST, server_port=port, share=False, inbrowser=browser, quiet=True,
                prevent_thread_lock=True, footer_links=[], enable_monitoring=False, ssr_mode=False, mcp_server=False,
                css=_STYLE, theme=gradio.themes.Default(**_FONTS), max_file_size="50mb",
                show_error=True,
                app_kwargs={"middleware": [middleware(named, allowed_hosts=[_HOST, "localhost"]), middleware(_Policy)]},
            )  # fmt: skip
        except OSError as error:
            raise SegdistillError(
                f"Can't serve on port {port} of {_HOST}: {error}. Choose another, as port=7861."
            ) from error
        if block:
            print(f"{self.title}: {address} (this machine only; Ctrl-C ends it)", flush=True)
            self._blocks.block_thread()
        return str(address)

    def close(self) -> None:
        """Stop serving."""
        self._blocks.close(verbose=False)

    def _build(self) -> Any:
        gradio, names = self._gradio, list(self.networks)
        with gradio.Blocks(title=self.title, analytics_enabled=False) as blocks:
            gradio.Markdown(f"# {self.title}\nImages stay on this machine.")
            with gradio.Row():
                image = gradio.Image(
                    sources=["upload", "webcam", "clipboard"], type="filepath", image_mode=None, label="Image",
                    height=360, buttons=[],  # the file as it is: Gradio would cut what has 16 bits at 255
                )  # fmt: skip
                with gradio.Column():
                    other = gradio.Dropdown(names, value=names[-1], label="Left of the divider")
                    name = gradio.Dropdown(names, value=names[0], label="Right of the divider")
                    strength = gradio.Slider(0, 100, value=50, step=5, label="Strength of the colors, %")
            slider = gradio.ImageSlider(
                label="Answers", type="numpy", format="png", buttons=["fullscreen"], elem_id="answers"
            )
            line = gradio.Markdown(elem_id="times")
            listed = gradio.HTML(elem_id="classes")
            for part in (image, other, name, strength):
                part.change(
                    self.compare, [image, name, other, strength], [slider, line, listed], api_visibility="private",
                    show_progress="minimal", concurrency_id="networks", concurrency_limit=1,
                )  # fmt: skip
        return blocks


class _Policy:
    """Adds the header that forbids the page to ask anybody but this server."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_header(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", _POLICY.encode())]
            await send(message)

        await self.app(scope, receive, with_header)


@cache
def _files() -> TemporaryDirectory[str]:
    """A folder for uploads and answers, for this user only, which goes with the process."""
    return TemporaryDirectory(prefix="segdistill-demo-")


def _gradio() -> Any:
    """Gradio, with all that it would report of its use turned off, and its files kept apart."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = _files().name
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        return import_module("gradio")
    except ImportError as error:
        raise RecipeError(
            f"The page needs Gradio, which can't be imported ({error}). Install it with: pip install 'segdistill[demo]'"
        ) from error
