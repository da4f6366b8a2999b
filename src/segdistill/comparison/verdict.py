"""What a study says, in sentences: the answer first, and how sure it is."""

from __future__ import annotations

from segdistill.comparison.result import Gain, Study, Summary

_STEADY = 5  # seeds below which an interval rests on a standard deviation that is hardly known


def verdict(study: Study) -> list[str]:
    """The best method, the others' fate, and what to keep in mind."""
    compared = [row for row in study.methods() if row.gain is not None]
    if not compared:
        return ["No method has a finished run beside the student alone of the same seed yet."]
    best = compared[0]
    lines = [_of_best(best)]
    lines += _others(compared[1:])
    most = max(len(row.gain.values) for row in compared if row.gain is not None)
    if most == 1:
        lines.append("One seed: another may well give another order. Add --seeds 1,2.")
    elif most < _STEADY:
        lines.append(
            f"{most} seeds: the intervals are wide, and each is for one method; the best of {len(compared)} is "
            "also the luckiest."
        )
    lines += [f"{each.label}, seed {each.seed} failed: {each.error}" for each in study.failures]
    if study.pending:
        lines.append(f"Not finished yet: {'; '.join(study.pending)}.")
    return lines


def judgement(gain: Gain) -> str:
    """ "gain" or "loss" if the interval leaves 0 out, "unclear" if not, "one seed" if there is none."""
    if gain.low is None or gain.high is None:
        return "one seed"
    return "gain" if gain.low > 0 else "loss" if gain.high < 0 else "unclear"


def interval(gain: Gain) -> str:
    """As "+9.80 (95 % CI +5.42 to +14.18)", or the difference alone."""
    if gain.low is None or gain.high is None:
        return f"{gain.mean:+.2f}"
    return f"{gain.mean:+.2f} (95 % CI {gain.low:+.2f} to {gain.high:+.2f})"


def _of_best(best: Summary) -> str:
    assert best.gain is not None
    said = judgement(best.gain)
    if said == "loss" or (said == "one seed" and best.gain.mean <= 0):
        return (
            f"No method helped. The least harmful, {best.label}, is {interval(best.gain)} mIoU off the student alone."
        )
    cost = "" if best.cost is None else f", at {best.cost:.2f} times its time a step"
    closed = "" if best.gap_closed is None else f"; {100 * best.gap_closed:.0f} % of the way to the teacher"
    if said == "unclear":
        return (
            f"No method is certain to help. {best.label} came out best, {interval(best.gain)} mIoU over the student "
            f"alone{cost}{closed}; that includes no gain at all."
        )
    return f"{best.label} is worth {interval(best.gain)} mIoU over the same student alone{cost}{closed}."


def _others(rows: list[Summary]) -> list[str]:
    """Which of the other methods helped, which cost accuracy, and which can't be told."""
    known = [(row, row.gain) for row in rows if row.gain is not None]
    groups = {
        "Helped too": [(row, gain) for row, gain in known if judgement(gain) == "gain"],
        "Lost": [(row, gain) for row, gain in known if judgement(gain) == "loss"],
        "Can't be told from the student alone": [(row, gain) for row, gain in known if judgement(gain) == "unclear"],
        "Others": [(row, gain) for row, gain in known if judgement(gain) == "one seed"],
    }
    return [
        f"{name}: {', '.join(f'{row.label} {gain.mean:+.2f}' for row, gain in group)}."
        for name, group in groups.items()
        if group
    ]
