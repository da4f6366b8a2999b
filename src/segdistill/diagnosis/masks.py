"""What is wrong, or only unusual, with the images and masks of a split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from segdistill.core.classes import IGNORE_INDEX
from segdistill.core.findings import Finding, shortened
from segdistill.diagnosis.evidence import Evidence
from segdistill.diagnosis.files import BANDS, GREY_SEEN, PairReport
from segdistill.diagnosis.mistakes import recognise

_NEARLY_ALL = 0.95  # of a mask's pixels
_MOST = 0.9  # of all pixels of a split
FEW = 50
"""Masks from which it means something that a class does not occur."""
_SOFT = 40  # unknown values from which on masks are pictures

_BANDS_ADVICE = "Choose the bands that are meant and save them as RGB; or read all, data.channels (docs/data.md)."


def findings_of(dataset: str, evidence: Evidence, seen: Sequence[PairReport]) -> Iterator[Finding]:
    """What is wrong or unusual in the masks and images of a split, worst first.

    Args:
        dataset: the name of the data set.
        evidence: of all samples that were read.
        seen: each of them.

    Yields:
        Findings.
    """
    where = evidence.split
    yield from _faults(where, seen)
    values = list(_values(dataset, evidence, seen))
    yield from values
    yield from _painted(where, seen)
    yield from _soft(evidence, seen)
    if not values:  # what is said of wrong labels is wrong as well
        yield from _void(evidence)
        yield from _classes(evidence)
    yield from _forms(evidence, seen)
    yield from _palettes(where, seen)


def _faults(where: str, seen: Sequence[PairReport]) -> Iterator[Finding]:
    """What is wrong with files, equal faults together."""
    groups: dict[str, dict[str, str]] = {}
    for look in seen:
        for fault in look.faults:
            kind = fault
            for name in filter(None, (look.mask, look.image)):
                kind = kind.replace(name, "")
            groups.setdefault(re.sub(r"\d+", "", kind), {})[_file(look, fault)] = fault
    for group in groups.values():
        files = tuple(group)
        text = group[files[0]]
        if len(files) > 1:
            text = f"{len(files)} files, as {files[0]} and {files[1]}, have the same fault: {text}"
        yield Finding("problem", where, text, files=files)


def _forms(evidence: Evidence, seen: Sequence[PairReport]) -> Iterator[Finding]:
    """What is unusual with images: bands that are dropped, pictures that are turned, and other forms."""
    bands = {form.removeprefix(BANDS): count for form, count in evidence.forms.items() if form.startswith(BANDS)}
    if bands:
        counts = ", ".join(f"{count} of {number} bands" for number, count in bands.items())
        files = tuple(look.image for look in seen if any(form.startswith(BANDS) for form in look.forms))
        text = f"Only the first three bands of images are read, the others are dropped: {counts}."
        yield Finding("warning", evidence.split, text, _BANDS_ADVICE, files)
    turned = tuple(look.image for look in seen if look.turned)
    if turned:
        yield Finding(
            "warning",
            evidence.split,
            f"{len(turned)} images are turned by EXIF, and nothing in their masks tells whether these are, too: masks "
            "must be turned, too.",
            "Look at some with `segdistill show`; data.exif=ignore is for masks that were drawn on the stored pixels.",
            turned,
        )
    forms = {form: count for form, count in evidence.forms.items() if not form.startswith(BANDS)}
    if forms:
        shown = ", ".join(f"{count} {form}" for form, count in forms.items())
        yield Finding("note", evidence.split, f"Not plain RGB: {shown}.")


def _file(look: PairReport, fault: str) -> str:
    """The file that the fault of a pair is about."""
    return look.mask if look.mask is not None and look.mask in fault else look.image


def _values(dataset: str, evidence: Evidence, seen: Sequence[PairReport]) -> Iterator[Finding]:
    """Values without a meaning, and mistakes that the values betray."""
    where, unknown = evidence.split, evidence.unknown()
    mistake, meaning = recognise(dataset, evidence), evidence.meaning
    files = tuple(look.mask for look in seen if look.mask and look.raw and not set(unknown).isdisjoint(look.raw))
    if mistake is not None:
        source = f" ({meaning.source})" if meaning.source else ""
        yield Finding("problem", where, f"Wrong mask values: {mistake[0]}{source}.", mistake[1], files)
    elif unknown:
        more = ", ..." if len(unknown) > _SOFT else ""
        text = (
            f"{len(files)} of {evidence.masks} masks hold values that mean nothing: {meaning.listed(unknown[:_SOFT])}"
            f"{more}; expected {meaning.expected()}."
        )
        advice = meaning.cause or "Check the class list and the masks."
        if len(unknown) > _SOFT:
            advice = (
                "So many values are no class indices: these are photos, masks saved as JPEG or resized with smooth "
                "edges, or maps of instances. Export the masks anew, as PNG, without smoothing."
            )
        yield Finding("problem", where, text, advice, files)


def _soft(evidence: Evidence, seen: Sequence[PairReport]) -> Iterator[Finding]:
    """Masks with values that lie only between others: resized smoothly, or once a JPEG."""
    files = tuple(look.mask for look in seen if look.mask and look.soft)
    if files:
        values = sorted({value for look in seen for value in look.soft})
        yield Finding(
            "problem" if 2 * len(files) > evidence.masks else "warning",
            evidence.split,
            f"{len(files)} of {evidence.masks} masks look resized with smooth edges, or saved as JPEG once: the values "
            f"{evidence.meaning.listed(values)} lie mostly in single pixels between a lower and a higher one.",
            "Export the masks anew from their source; resize masks with nearest neighbor only.",
            files,
        )


def _painted(where: str, seen: Sequence[PairReport]) -> Iterator[Finding]:
    """Color masks whose colors are the classes' own."""
    painted = [look.mask for look in seen if look.mask and look.painted is not None and look.painted > 0.5]
    if painted:
        yield Finding(
            "problem",
            where,
            f"{len(painted)} masks are painted in the colors of the classes, not with class indices.",
            "Take the index masks of the data set; for your own folder data.mask_colors=true reads painted ones, with "
            "data.colors for classes whose color differs.",
            tuple(painted),
        )


def _void(evidence: Evidence) -> Iterator[Finding]:
    share = evidence.share(IGNORE_INDEX)
    if evidence.masks and share > _MOST:
        yield Finding(
            "problem",
            evidence.split,
            f"{100 * share:.1f} % of all pixels are void: there is next to nothing to learn from.",
            "Check which values are void (data.void, data.unlisted) and that these are the right masks.",
        )
        return
    files = tuple(mask for mask, void in evidence.void.items() if void > _NEARLY_ALL)
    if files:
        yield Finding(
            "warning",
            evidence.split,
            f"{len(files)} of {evidence.masks} masks are void nearly everywhere (more than {100 * _NEARLY_ALL:.0f} %).",
            "Label them or take them off the list: they cost time and teach nothing.",
            files,
        )


def _classes(evidence: Evidence) -> Iterator[Finding]:
    here = len(evidence.classes) - len(evidence.absent())
    if not evidence.masks:
        return
    if here < 2 and evidence.masks > 1:
        name = next((name for name in evidence.classes.names if name not in evidence.absent()), "none")
        yield Finding(
            "problem",
            evidence.split,
            f"A single class occurs in all {evidence.masks} masks: {name}.",
            "Check what the mask values mean (data.values, data.void).",
        )
    elif evidence.masks >= FEW and here < len(evidence.classes) / 4:
        yield Finding(
            "warning",
            evidence.split,
            f"Only {here} of {len(evidence.classes)} classes occur in {evidence.masks} masks.",
            "Check that the class list belongs to these masks.",
        )
    elif evidence.absent() and evidence.masks >= FEW:
        yield Finding(
            "note",
            evidence.split,
            f"Never seen in {evidence.masks} masks: {shortened(evidence.absent(), 12)}.",
            "" if evidence.complete else "Look at all with images=all.",
        )


def _palettes(where: str, seen: Sequence[PairReport]) -> Iterator[Finding]:
    """Palette masks, which this library reads by index, and what others would make of them."""
    grey = {value: shade for look in seen for value, shade in look.grey.items()}
    if grey:
        shown = ", ".join(f"{value} as {shade}" for value, shade in sorted(grey.items())[:GREY_SEEN])
        count = sum(bool(look.grey) for look in seen)
        yield Finding("note", where, f"{count} palette masks, read by index; tools that read grey would take {shown}.")
