"""A run goes on under the teacher that it began with."""

from __future__ import annotations

from segdistill.core.errors import TrainingError
from segdistill.runs.folder import RunFolder

_KEY = "teacher_checksum"


def require_same_teacher(folder: RunFolder, checksum: str, source: object) -> None:
    """Refuse to go on with a run under a teacher whose weights have changed since it began.

    Args:
        folder: Of the run, which notes the checksum when it begins.
        checksum: Of the teacher's weights.
        source: Where they come from, for the message.

    Raises:
        TrainingError: They are others than before.
    """
    before = folder.noted(_KEY)
    if before is None:
        folder.note(_KEY, checksum)
    elif before != checksum:
        raise TrainingError(
            f"{source} holds other weights than those that taught the run in {folder.path}. Choose another "
            "out=FOLDER for this teacher, or put the weights back."
        )
