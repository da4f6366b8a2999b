"""Label maps in MATLAB files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from segdistill.core.errors import DataError


def read_label_map(path: Path, *keys: str) -> NDArray[np.uint16]:
    """The label map of a .mat file. scipy reads numbers and structs; functions and objects of MATLAB are not run.

    Args:
        path: of the file.
        keys: what leads to the map: ("LabelMap",) or ("GTcls", "Segmentation").

    Returns:
        (H,W), uint16.

    Raises:
        DataError: the file can't be read, or holds something else there.
    """
    try:
        content: Any = loadmat(str(path), squeeze_me=True)
        for key in keys:
            content = content[key]
            content = content.item() if content.dtype == object and content.ndim == 0 else content
        values = np.asarray(content)
        good = values.ndim == 2 and values.dtype.kind in "uif" and (values >= 0).all() and (values <= 65535).all()
        if not good:
            raise ValueError(f"{'.'.join(keys)} is {values.dtype} of shape {values.shape}")
        return values.astype(np.uint16)
    except Exception as error:  # on a damaged file scipy fails with whatever it stumbles over, NameError included
        what = f"{type(error).__name__}: {error}"
        raise DataError(
            f"Can't read {path} as a label map ({what}). Expected {'.'.join(keys)}, whole numbers (H,W) to 65535."
        ) from error
