"""What the masks of a split hold, added up over the images that were looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from segdistill.core.classes import IGNORE_INDEX
from segdistill.data import Classes, SegmentationDataset
from segdistill.data.pairs import FilePairs
from segdistill.data.values import UNKNOWN, LabelValues
from segdistill.diagnosis.files import PairReport, Size


@dataclass(frozen=True)
class Count:
    """How often something occurs.

    Attributes:
        pixels: in how many pixels.
        images: in how many images.
    """

    pixels: int = 0
    images: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.pixels + other.pixels, self.images + other.images)


@dataclass(frozen=True)
class Evidence:
    """What the masks of a split hold.

    Attributes:
        split: its name.
        images: of the split.
        looked_at: how many of them.
        masks: how many could be read.
        classes: of the data set.
        meaning: what raw values mean.
        values: raw value -> count.
        labels: class index, 255 for void, -1 for unknown -> count.
        of_value: raw value -> label.
        sizes: (H,W) -> images, the most frequent first.
        forms: unusual form -> images.
        kinds: what files are -> how many.
        void: mask -> share of void, those with the most first.
        milliseconds: to read a sample, one thread, median of a few, files in the cache; None if not measured.
    """

    split: str
    images: int
    looked_at: int
    masks: int
    classes: Classes
    meaning: LabelValues
    values: dict[int, Count]
    labels: dict[int, Count]
    of_value: dict[int, int]
    sizes: dict[Size, int]
    forms: dict[str, int]
    kinds: dict[str, int]
    void: dict[str, float]
    milliseconds: float | None

    @property
    def pixels(self) -> int:
        """All pixels of the masks."""
        return sum(count.pixels for count in self.values.values())

    @property
    def complete(self) -> bool:
        """Whether every image was looked at."""
        return self.looked_at == self.images

    def share(self, label: int) -> float:
        """The share of a label's pixels.

        Args:
            label: a class index, `IGNORE_INDEX` for void, or `UNKNOWN` for values without a meaning.

        Returns:
            Of the pixels that are not void; for void and unknown values of all pixels.
        """
        void = 0 if label in (IGNORE_INDEX, UNKNOWN) else self.labels.get(IGNORE_INDEX, Count()).pixels
        return self.labels.get(label, Count()).pixels / max(1, self.pixels - void)

    def unknown(self) -> list[int]:
        """The raw values without a meaning."""
        return [value for value, label in self.of_value.items() if label == UNKNOWN]

    def absent(self) -> list[str]:
        """The names of the classes that never occur."""
        return [name for index, name in enumerate(self.classes.names) if index not in self.labels]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names: dict[int, str | None] = {IGNORE_INDEX: "void", UNKNOWN: None, **dict(enumerate(self.classes.names))}
        return {
            "images": self.images, "looked_at": self.looked_at, "masks": self.masks,
            "milliseconds": self.milliseconds,
            "sizes": [{"height": size[0], "width": size[1], "images": n} for size, n in self.sizes.items()],
            "forms": self.forms, "kinds": self.kinds,
            "values": {str(v): {**asdict(n), "means": names[self.of_value[v]]} for v, n in self.values.items()},
            "void_share": self.share(IGNORE_INDEX),
            "classes": {
                name: {**asdict(self.labels.get(index, Count())), "share": self.share(index)}
                for index, name in enumerate(self.classes.names)
            },
        }  # fmt: skip


def add_up(split: str, data: SegmentationDataset, seen: Sequence[PairReport], milliseconds: float | None) -> Evidence:
    """Add up what was seen of a split.

    Args:
        split: its name.
        data: the split.
        seen: the samples that were read.
        milliseconds: to read a sample, median of a few; None if unknown.

    Returns:
        Counts of values, labels, sizes and forms.
    """
    meaning = data.values if isinstance(data, FilePairs) else LabelValues.of_indices(len(data.classes))
    raws = [look.raw for look in seen if look.raw is not None]
    values: dict[int, Count] = {}
    for raw in raws:
        for value, pixels in raw.items():
            values[value] = values.get(value, Count()) + Count(pixels, 1)
    values = dict(sorted(values.items()))
    looked_up = meaning.look_up(np.array([*values], np.int64)).tolist() if values else []
    of_value = dict(zip(values, looked_up, strict=True))
    labels: dict[int, Count] = {}
    void: dict[str, float] = {}
    for look in seen:
        if look.raw is None:
            continue
        counts: Counter[int] = Counter()
        for value, pixels in look.raw.items():
            counts[of_value[value]] += pixels
        for label, pixels in counts.items():
            labels[label] = labels.get(label, Count()) + Count(pixels, 1)
        void[str(look.mask)] = counts[IGNORE_INDEX] / max(1, counts.total())
    return Evidence(
        split=split,
        images=len(data),
        looked_at=len(seen),
        masks=len(raws),
        classes=data.classes,
        meaning=meaning,
        values=values,
        labels=dict(sorted(labels.items())),
        of_value=of_value,
        sizes=dict(Counter(look.size for look in seen if look.size is not None).most_common()),
        forms=dict(Counter(form for look in seen for form in look.forms).most_common()),
        kinds=dict(Counter(kind for look in seen for kind in look.kinds).most_common()),
        void=dict(sorted(void.items(), key=lambda item: -item[1])),
        milliseconds=milliseconds,
    )
