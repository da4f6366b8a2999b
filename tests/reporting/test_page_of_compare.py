"""A study that `compare` has just made has a page."""

from __future__ import annotations

from pathlib import Path

from segdistill import compare, report
from segdistill.studies.result import ALONE, LONGER
from segdistill.studies.verdict import verdict

MINUS = "\N{MINUS SIGN}"


def test_the_page_of_a_fresh_study_shows_its_networks_and_its_answer(tiny: tuple[str, ...], tmp_path: Path) -> None:
    words = [word for word in tiny if not word.startswith("steps=")]
    done = compare(*words, "budget=steps:2", methods="kd,longer", seeds="0,1", out=tmp_path / "study", quiet=True)
    gain = done.methods()[0].gain
    assert gain is not None
    shown = report(tmp_path / "study", quiet=True)
    moved = "gained " if gain.mean >= 0 else "lost: " + MINUS
    if verdict(gain) == "unclear":
        moved = f"is not distinguishable from no gain: {'+' if gain.mean >= 0 else MINUS}"
    assert shown.answer.startswith(f"kd {moved}{abs(gain.mean):.1f} mIoU [95 % CI ")
    assert shown.warnings == ()
    assert len(shown.pictures) == 8
    page = shown.file.read_text(encoding="utf-8")
    for name in ("teacher", ALONE, "kd"):
        assert f">{name}</option>" in page
    for name in (ALONE, LONGER, "kd"):  # what the curves are of
        assert f"{name}</li>" in page
