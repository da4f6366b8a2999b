"""The usual mistakes with mask values, recognised by the values that occur, each with its remedy.

Every function takes the evidence of a split and gives (what is wrong, what to do), or None. Sources: the published
label definitions (cityscapesScripts, the scene parsing challenge, cocostuff), and what users of other code reported.
"""

from __future__ import annotations

from collections.abc import Callable

from segdistill.core.classes import IGNORE_INDEX, distinct_colors
from segdistill.data.base import label_file
from segdistill.data.tables import label_table
from segdistill.data.values import ranges
from segdistill.diagnosis.evidence import Count, Evidence
from segdistill.diagnosis.files import luminance

Mistake = tuple[str, str] | None
"""What is wrong, and what to do; None if the values do not look like it."""

_ENOUGH = 20
"""Masks after which a value that is common in a data set should have occurred."""
_NEARLY = 0.9  # of all masks


def recognise(dataset: str, evidence: Evidence) -> Mistake:
    """The first of the usual mistakes that explains the values of a split's masks.

    Args:
        dataset: the name of the data set.
        evidence: what was seen of the split.

    Returns:
        What is wrong and what to do; None if no mistake explains them.
    """
    if not evidence.values or evidence.meaning.colors:
        return None
    return next((mistake for mistake in (rule(dataset, evidence) for rule in RULES) if mistake is not None), None)


def _seen(evidence: Evidence) -> set[int]:
    return {*evidence.values} - {IGNORE_INDEX}


def _counted_from_0(evidence: Evidence) -> bool:
    return evidence.meaning.class_values == list(range(len(evidence.classes)))


def cityscapes_ids_as_train_ids(dataset: str, evidence: Evidence) -> Mistake:
    """0..33 where 0..18 are expected.

    Args:
        dataset: Decides the remedy: "cityscapes" can read ids.
        evidence: Of a split whose 19 classes are the values 0..18. Under names that are not Cityscapes' a single value
            more is void that was not declared, or a class.
    """
    seen = _seen(evidence)
    if len(evidence.classes) != 19 or not _counted_from_0(evidence) or not 18 < max(seen, default=0) <= 33:
        return None
    if evidence.classes.names != label_table("cityscapes").classes.names and len(evidence.unknown()) == 1:
        return None
    how = (
        "Set data.labels=labelIds and give the files their published name *_labelIds.png"
        if dataset == "cityscapes"
        else "Use the data set cityscapes, or say in data.values what each id means ({7: road, 8: sidewalk, ...})"
    )
    return (
        f"the masks hold Cityscapes label ids ({ranges(sorted(seen))}) and are read as train ids (0..18): nearly every "
        "class would be another",
        f"{how}; or convert them: segdistill prepare cityscapes root=FOLDER out=FOLDER.",
    )


def train_ids_as_cityscapes_ids(dataset: str, evidence: Evidence) -> Mistake:
    """0..18 and 255 where 0..33 are expected: all of them are known, so that no reader complains.

    Args:
        dataset: Not asked.
        evidence: Of a split read as Cityscapes label ids; without 255 it takes 20 masks to be sure.
    """
    ids = [value for values in label_table("cityscapes").ids for value in values]
    seen = _seen(evidence)
    certain = IGNORE_INDEX in evidence.values or evidence.masks >= _ENOUGH
    if evidence.meaning.class_values != sorted(ids) or max(seen, default=0) > 18 or not certain:
        return None
    return (
        f"the masks hold Cityscapes train ids ({ranges(sorted(evidence.values))}; label ids go to 33 and never are "
        "255) and are read as label ids: road and all that is common would be void",
        "Set data.labels=labelTrainIds and give the files the name *_labelTrainIds.png.",
    )


def shifted_twice(dataset: str, evidence: Evidence) -> Mistake:
    """ADE20K or Pascal Context masks that hold class indices and 255 already.

    Args:
        dataset: "ade20k" or "pascal_context"; others reduce nothing.
        evidence: Of a split that is read from 1 on.
    """
    if dataset not in {"ade20k", "pascal_context"} or evidence.meaning.class_values[0] != 1:
        return None
    last = evidence.meaning.class_values[-1]
    if IGNORE_INDEX not in evidence.values or last in evidence.values:
        return None
    return (
        f"the masks hold 255, which the published ones never do: they are reduced by one already (0..{last - 1}, 255 "
        "void), and reading them reduces them again: every class would be its neighbour and the first one void",
        "Take the published masks (0 is everything else); or read these as a folder of class indices, data set folder.",
    )


def reduced_void(dataset: str, evidence: Evidence) -> Mistake:
    """254: 255 less one, or 0 less two in 8 bits.

    Args:
        dataset: Not asked.
        evidence: Of a split in which 254 has no meaning.
    """
    if 254 not in evidence.unknown():
        return None
    return (
        "the masks hold 254, which is void (255) after `reduce_zero_label` or another subtraction of one",
        "Reduce the masks once, from the original files, and keep 255; or for your own folder data.void=[254], if the "
        "other values are the class indices.",
    )


def palette_as_grey(dataset: str, evidence: Evidence) -> Mistake:
    """38, 75, 113, ...: the brightness of the colors of a palette, not its indices.

    Args:
        dataset: Not asked.
        evidence: Whose values are compared with the greys of VOC's colors and of the classes' own, up to 64 of them.
    """
    unknown = set(evidence.unknown())
    void = luminance((224, 224, 192))  # the border of VOC's masks
    for what, colors in (("Pascal VOC's palette", distinct_colors(20)), ("the classes", evidence.classes.colors)):
        greys = {luminance(color) for color in colors} | {0, void, IGNORE_INDEX}
        if unknown and len(greys) <= 64 and {*evidence.values} <= greys:
            return (
                f"the values ({ranges(sorted(evidence.values))}) are the brightness of the colors of {what}: a "
                "palette PNG was read as grey and saved",
                "Take the original palette PNGs, which this library reads by index. To convert some yourself use "
                'Pillow\'s np.array(Image.open(file)), not .convert("L") or cv2.imread(.., 0).',
            )
    return None


def ade_unshifted(dataset: str, evidence: Evidence) -> Mistake:
    """ADE20K's 0..150 read as the classes 0..149.

    Args:
        dataset: Not asked.
        evidence: Of a split with 150 classes; without the value 150 their names have to be ADE20K's, and 0 has to be in
            nearly all masks, as "everything else" is and walls are not.
    """
    is_ade = evidence.classes.names == label_table("ade20k").classes.names or len(evidence.classes) == 150
    if not is_ade or not _counted_from_0(evidence):
        return None
    named = evidence.classes.names == label_table("ade20k").classes.names
    zeros = evidence.values.get(0, Count()).images
    never_void = IGNORE_INDEX not in evidence.values and zeros > _NEARLY * evidence.masks
    if 150 not in evidence.values and not (named and never_void):
        return None
    return (
        f"the masks look like ADE20K's published ones ({ranges(sorted(evidence.values))[:60]}; 0 is everything else, "
        "1..150 are the classes) and are read without the shift by one: every class would be its neighbour",
        "Use the data set ade20k; or for your own folder data.values={0: null, 1: 0, 2: 1, ...} (raw value: class).",
    )


def coco_ids(dataset: str, evidence: Evidence) -> Mistake:
    """COCO-Stuff: published maps hold id - 1 and never an id that was not annotated.

    Args:
        dataset: "coco_stuff" only.
        evidence: Of either kind of map: published, or compacted to the 171 classes.
    """
    if dataset != "coco_stuff":
        return None
    seen = _seen(evidence)
    never = {int(row["id"]) for row in label_file("coco_stuff")["absent"]}
    if len(evidence.classes) == 171 and _counted_from_0(evidence):
        if max(seen, default=0) <= 170:
            return None
        return (
            f"the masks are named *_labelTrainIds.png but hold ids up to {max(seen)}: compacted ones end at 170",
            "Give them the published name <id>.png, without _labelTrainIds.",
        )
    odd, last = seen & never, max(seen, default=0)
    compact = last <= 170 and bool(odd or evidence.masks >= _ENOUGH)
    # With ids from 1, those that were never annotated are one higher, and 0 is no person but nothing.
    none_higher = not seen & {value + 1 for value in never} and not (compact and 0 in seen)
    if 182 in seen or (odd and none_higher):
        return (
            f"the masks hold {ranges(sorted(odd | (seen & {182})))}: these are COCO ids counted from 1 (1..182); the "
            "published maps hold id - 1 (0..181), so every class would be its neighbour",
            "Take the maps of stuffthingmaps_trainval2017.zip, or subtract 1 from all values but 255.",
        )
    if not compact:
        return None
    but = f", but ids that COCO never annotated ({ranges(sorted(odd))})" if odd else ""
    return (
        f"the masks hold nothing above {last}{but}: they look compacted to the classes 0..170, not like the "
        "published maps (0..181)",
        "If they are OpenMMLab's, name them <id>_labelTrainIds.png and take the others out of the folder; else "
        "take the maps of stuffthingmaps_trainval2017.zip.",
    )


def void_as_a_class(dataset: str, evidence: Evidence) -> Mistake:
    """255 among the classes, beside two or more others.

    Args:
        dataset: Not asked.
        evidence: Only what values mean counts, not which occur.
    """
    if IGNORE_INDEX not in evidence.meaning.class_values or len(evidence.meaning.class_values) < 3:
        return None
    return (
        "255 counts as a class; in nearly all masks it means void (unlabelled, borders)",
        "Leave 255 out of data.values and of the class table, unless it really is a class of yours.",
    )


def white_on_black(dataset: str, evidence: Evidence) -> Mistake:
    """0 and 255 only, where 255 is void: one class is left.

    Args:
        dataset: Not asked.
        evidence: Of a split with two classes.
    """
    if {*evidence.values} != {0, IGNORE_INDEX} or evidence.of_value[IGNORE_INDEX] != IGNORE_INDEX:
        return None
    if len(evidence.classes) != 2:
        return None
    return (
        "all masks hold 0 and 255 only, and 255 is void: a single class is left",
        "If white is the object, say so: data.values={0: 0, 255: 1}.",
    )


def one_value_too_many(dataset: str, evidence: Evidence) -> Mistake:
    """K classes and the value K: void that was not declared, or classes counted from 1.

    Args:
        dataset: Not asked.
        evidence: Of a split that is read from 0 on; 0 among its values decides between the two.
    """
    count = len(evidence.classes)
    if not _counted_from_0(evidence) or evidence.unknown() != [count]:
        return None
    if 0 not in evidence.values:
        return (
            f"the masks hold 1..{count} and no 0: the classes are counted from 1",
            "Say so: data.values={1: 0, 2: 1, ...} (raw value: class).",
        )
    return (
        f"the masks hold one value more than there are classes: {count}, where 0..{count - 1} are the classes",
        f"If {count} is void: data.void=[{count}]. If 0 is void and the classes are counted from 1: "
        "data.values={0: null, 1: 0, 2: 1, ...}. If it is a class: add its name to the class list.",
    )


RULES: tuple[Callable[[str, Evidence], Mistake], ...] = (
    coco_ids,
    ade_unshifted,
    palette_as_grey,
    cityscapes_ids_as_train_ids,
    train_ids_as_cityscapes_ids,
    shifted_twice,
    reduced_void,
    void_as_a_class,
    white_on_black,
    one_value_too_many,
)
