"""ADE20K: nothing to convert."""

from __future__ import annotations

from segdistill.preparation.archives import Archive
from segdistill.preparation.base import Preparation


class ADE20K(Preparation):
    """The scene parsing challenge's release."""

    source = (
        "ADEChallengeData2016.zip (about 1 GB) from sceneparsing.csail.mit.edu, for research that is not commercial. "
        "The full ADE20K of groups.csail.mit.edu/vision/datasets/ADE20K has other masks and does not fit."
    )
    archives = (Archive("ADEChallengeData2016*.zip", below="ADEChallengeData2016"),)
