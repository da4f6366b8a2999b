"""The K classes of a data set: names, colors, and the label value that stands for void."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from segdistill.core.errors import DataError

IGNORE_INDEX = 255
"""The label of void pixels in every data set of this library; no loss and no metric sees them."""

UNLABELED = 254
"""The label, while training, of the pixels of an image that has no mask: no task loss sees them, but a teacher may say
what they are. Void is known not to matter; this is not known. Data sets themselves never give it (see `Sample`)."""


@dataclass(frozen=True)
class Classes:
    """The K classes of a data set or a network, in index order.

    Attributes:
        names: K names.
        colors: K times (red, green, blue), 0 to 255.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __len__(self) -> int:
        return len(self.names)


def require_countable(classes: Classes) -> None:
    """Refuse more classes than a label can hold: 8 bits a pixel, of which 255 is void and 254 an image without mask.

    Sixteen bits would double the memory and time of every label that is read, augmented, copied and counted, for all
    data sets, and palette masks hold 8 bits in any case.

    Args:
        classes: of a data set, or of a network whose predictions are to be labels.

    Raises:
        DataError: there are more than 254.
    """
    if len(classes) > UNLABELED:
        raise DataError(
            f"There are {len(classes)} classes; a label holds 0 to 253, as 254 (no mask) and 255 (void) are taken, so "
            f"at most {UNLABELED} are possible. Merge classes (data.merge={{a: b}}), or leave rare ones out "
            "(data.values, data.unlisted=void)."
        )


def unnamed_classes(count: int) -> Classes:
    """Classes of a network that came without names: LABEL_0, LABEL_1, ..., as Hugging Face calls them.

    Args:
        count: K.

    Returns:
        K names and distinct colors.
    """
    return Classes(tuple(f"LABEL_{index}" for index in range(count)), distinct_colors(count))


def with_the_rest(names: tuple[str, ...]) -> tuple[str, ...] | None:
    """Names of the two classes of a network that scores one class against the rest.

    Args:
        names: Of the one class it scores.

    Returns:
        "background" and that name; None if the name says nothing, as LABEL_0.
    """
    if len(names) != 1 or re.fullmatch(r"(label|class)?[\s_-]*0", names[0].strip(), re.IGNORECASE):
        return None
    return ("background", names[0])


def distinct_colors(count: int) -> tuple[tuple[int, int, int], ...]:
    """Colors for classes that have none: the bit-interleaved Pascal VOC map, without its black.

    Args:
        count: K.

    Returns:
        K times (red, green, blue), 0 to 255.
    """

    def color(index: int) -> tuple[int, int, int]:
        r = g = b = 0
        for shift in range(7, -1, -1):
            r |= (index & 1) << shift
            g |= (index >> 1 & 1) << shift
            b |= (index >> 2 & 1) << shift
            index >>= 3
        return r, g, b

    return tuple(color(index + 1) for index in range(count))


def as_color(value: Any, what: str) -> tuple[int, int, int]:
    """A color as a user writes it, as three numbers.

    Args:
        value: [red, green, blue] or "#rrggbb".
        what: whose color it is; the message begins with it.

    Returns:
        (red, green, blue), 0 to 255 each.

    Raises:
        DataError: the value is no color.
    """
    if isinstance(value, str) and len(value) == 7 and value.startswith("#"):
        try:
            value = tuple(bytes.fromhex(value[1:]))
        except ValueError:
            value = str(value)
    good = isinstance(value, list | tuple) and len(value) == 3
    if not good or any(not isinstance(part, int) or not 0 <= part <= 255 for part in value):
        raise DataError(f"{what} is {value!r}; expected [red, green, blue] from 0 to 255, or '#rrggbb'.")
    return value[0], value[1], value[2]
