"""What the site has to hold, of what Sphinx can't know."""

from __future__ import annotations

import re
from pathlib import Path

import segdistill

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_has_every_public_name() -> None:
    shown = re.findall(r"^\.\. auto\w+:: (?:segdistill\.)?(\w+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert sorted(shown) == sorted(segdistill.__all__), "docs/api.md lists what segdistill.__all__ does"


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = re.findall(r"^([\w-]+)$", (DOCS / "index.md").read_text(), re.MULTILINE)
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert pages == set(listed), "docs/index.md lists every page of docs/ under one of its headings"
