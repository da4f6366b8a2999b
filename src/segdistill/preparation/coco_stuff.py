"""COCO-Stuff-164K: nothing to convert."""

from __future__ import annotations

from segdistill.preparation.archives import Archive
from segdistill.preparation.base import Preparation


class CocoStuff(Preparation):
    """Images of COCO 2017 and pixel maps of COCO-Stuff."""

    source = (
        "train2017.zip (~18 GB) and val2017.zip (~1 GB) from cocodataset.org, and stuffthingmaps_trainval2017.zip "
        "(~0.7 GB) from github.com/nightrome/cocostuff. The labels are CC BY 4.0, the images follow Flickr's terms."
    )
    archives = (
        Archive("train2017*.zip", into="images"),
        Archive("val2017*.zip", into="images"),
        Archive("stuffthingmaps_trainval2017*.zip", into="annotations"),
    )
