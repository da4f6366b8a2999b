"""The documentation site, made by Sphinx from the Markdown files as they are: `make docs`.

The source folder is the root of the project, so that links between README.md, docs/ and benchmarks/ work here as they
do in the files.
"""

from __future__ import annotations

import inspect
import re
from importlib import metadata
from typing import Any, get_type_hints

from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

project = "segdistill"
release = metadata.version("segdistill")
copyright = "the segdistill authors, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "docs/*.md", "benchmarks/README.md", "benchmarks/results/*.md"]
exclude_patterns = [".*", "build", "runs", "src", "tests"]

html_theme = "furo"  # brings its fonts and scripts along: the pages ask no other server for anything
html_title = "segdistill"
html_extra_path = ["redirect"]
html_copy_source = False

smartquotes = False  # "quotes" in docstrings are Python's
myst_heading_anchors = 3
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!segdistill).*"),  # types of other libraries: looking them up needs a connection
]

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
python_maximum_signature_line_length = 100


def as_rst(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are Markdown here: `code`, and formulas on lines that are indented; nothing else means anything."""
    made: list[str] = []
    for line in lines:
        indented = line.startswith("  ")
        if indented and not (made and (made[-1].startswith("  ") or made[-1] == "::")):
            made += ["", "::", ""]
        elif not indented and made and made[-1].startswith("  ") and line:
            made.append("")
        made.append(line if indented else _prose(line))
    lines[:] = made


def _prose(line: str) -> str:
    parts = line.split("`")
    return "``".join(part if place % 2 else re.sub(r"([*_|\\])", r"\\\1", part) for place, part in enumerate(parts))


def plain_types(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """The keys of a section of the recipe with their types, without what pydantic checks beside them."""
    if not (what == "class" and issubclass(obj, BaseModel)):
        return signature, returns
    checked, plain = inspect.signature(obj), get_type_hints(obj)
    keys = [key.replace(annotation=plain.get(key.name, key.annotation)) for key in checked.parameters.values()]
    return stringify_signature(checked.replace(parameters=keys), unqualified_typehints=True), None


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", as_rst)
    app.connect("autodoc-process-signature", plain_types)
