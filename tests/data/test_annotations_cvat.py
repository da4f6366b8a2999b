"""CVAT XML for images, by hand from its own documentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from annotated import annotated, grid, images, label_of
from own_folders import says_in_order

from segdistill.core.errors import DataError

META = """
  <version>1.1</version>
  <meta><job><labels>
    <label><name>road</name><color>#fa3253</color><type>any</type><attributes></attributes></label>
    <label><name>car</name><color>#3d3df5</color><type>any</type><attributes></attributes></label>
    <label><name>tree</name><color>#00ff00</color><type>any</type><attributes></attributes></label>
  </labels></job></meta>
"""


def write(root: Path, shapes: str, size: str = 'width="8" height="6"') -> Path:
    images(root, "images/a.png", "images/b.png")
    path = root / "annotations.xml"
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{META}<image id="0" name="a.png" {size}></image>'
        f'<image id="1" name="images/b.png" {size}>{shapes}</image></annotations>'
    )
    return path


def test_every_kind_of_shape_by_z_order(tmp_path: Path) -> None:
    write(
        tmp_path,
        '<box label="car" source="manual" occluded="0" xtl="0" ytl="0" xbr="4" ybr="2" z_order="1"></box>'
        '<polygon label="road" points="0.00,0.00;8.00,0.00;8.00,4.00;0.00,4.00" z_order="0"></polygon>'
        '<mask label="tree" rle="0, 1, 1, 2, 1, 1" left="5" top="3" width="3" height="2" z_order="2"></mask>'
        '<ellipse label="car" cx="1.50" cy="4.50" rx="1.10" ry="1.10" z_order="0"></ellipse>'
        '<box label="tree" xtl="2" ytl="1" xbr="4" ybr="5" rotation="90.0" z_order="3"></box>'
        '<points label="car" points="1,1" z_order="0"></points>',
    )
    data = annotated(tmp_path, "annotations.xml")
    assert data.classes.names == ("background", "road", "car", "tree")
    assert data.classes.colors[1:] == ((250, 50, 83), (61, 61, 245), (0, 255, 0))
    shown = grid("22221111 22221111 13333111 13333313 222..3.3 .2......")
    assert np.array_equal(label_of(data, "b"), shown)
    assert any("1 points" in note for note in data.notes)
    assert not label_of(annotated(tmp_path, "annotations.xml", "train"), "a").any()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ('<mask label="car" rle="1, 2" left="0" top="0" width="2" height="2" z_order="0"/>', "run lengths of 3 pixels"),
        ('<polygon label="car" points="1,2;x,3;4,5" z_order="0"/>', "points"),
        ('<box label="car" xtl="1" z_order="0"/>', "'ytl'"),
        ("<box", "not whole XML"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, shape: str, words: str) -> None:
    path = write(tmp_path, shape)
    with pytest.raises(DataError, match=says_in_order(path, words)):
        label_of(annotated(tmp_path, "annotations.xml"), "b")


def test_videos_and_entities_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.write_text("<annotations><track id='0'/></annotations>")
    with pytest.raises(DataError, match=says_in_order(path, "video", "CVAT for images")):
        annotated(tmp_path, "annotations.xml")
    path.write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>')
    with pytest.raises(DataError, match=says_in_order(path, "entities")):
        annotated(tmp_path, "annotations.xml")
