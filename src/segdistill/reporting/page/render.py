"""From the page model to one HTML file."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

from segdistill.reporting.page.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from segdistill.reporting.page.view import PageModel

_FOLDER = "templates"


def render(page: PageModel) -> str:
    """Fill the template.

    Args:
        page: All that the page shows.

    Returns:
        HTML with style, script and pictures in it, which asks for nothing else.
    """
    script = _text("page.js")
    environment = Environment(
        loader=PackageLoader("segdistill.reporting.page", _FOLDER),
        autoescape=True,  # class names, file names and error messages are other people's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        page=page,
        style=_text("page.css"),
        script=script,
        # Only this script runs, whatever a name may smuggle in.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        field={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
    )


def _text(name: str) -> str:
    return resources.files("segdistill.reporting.page").joinpath(_FOLDER, name).read_text(encoding="utf-8")
