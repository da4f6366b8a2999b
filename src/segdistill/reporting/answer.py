"""The answer in sentences: what was gained, at what cost, how sure that is, and what is missing."""

from __future__ import annotations

import statistics
from collections.abc import Collection
from dataclasses import dataclass

from segdistill.reporting.numbers import UNKNOWN, plural, points, ratio, share, signed
from segdistill.studies.result import ALONE, LONGER, Gain, Study, Summary
from segdistill.studies.verdict import verdict

NO_DIFFERENCE = "made no difference"
_LITTLE = 1.0  # mIoU between student alone and teacher; seeds are as far apart


@dataclass(frozen=True)
class Fact:
    """A number that stands out.

    Attributes:
        value: The number as text.
        what: What it is.
        description: What stands beside it.
    """

    value: str
    what: str
    description: str = ""


@dataclass(frozen=True)
class Answer:
    """What a study says, in sentences.

    Attributes:
        headline: What the best method was worth.
        confidence: How sure that is.
        others: What the other methods were worth.
        problems: What failed or is not finished.
        facts: The numbers of the headline.
    """

    headline: str
    confidence: tuple[str, ...]
    others: tuple[str, ...]
    problems: tuple[str, ...]
    facts: tuple[Fact, ...]

    def lines(self) -> list[str]:
        """All sentences, the answer first."""
        return [self.headline, *self.others, *self.confidence, *self.problems]


def answer(study: Study) -> Answer:
    """What a study says about its best method, in plain words.

    Args:
        study: What was found.

    Returns:
        The sentences and the numbers that stand out.
    """
    methods = study.methods()
    best = methods[0] if methods else None
    return Answer(
        headline=_headline(study, best),
        confidence=(*_confidence(best, len(methods)), *_little_to_gain(study)),
        others=(*(_other(row) for row in methods[1:]), *_at_equal_minutes(study, best)),
        problems=tuple(_problems(study)),
        facts=() if best is None else tuple(_facts(study, best)),
    )


def interval(gain: Gain) -> str:
    """The confidence interval of a gain, as text.

    Args:
        gain: Over seeds.

    Returns:
        As "95 % CI 5.4 to 14.2, 3 seeds"; that there is none for a single seed.
    """
    if gain.low is None or gain.high is None:
        return "one seed, no interval"
    return f"95 % CI {ends(gain)}, {plural(len(gain.values), 'seed')}"


def ends(gain: Gain) -> str:
    """The ends of a gain's confidence interval, as text.

    Args:
        gain: Over seeds.

    Returns:
        As "5.4 to 14.2"; a dash for a single seed.
    """
    return UNKNOWN if gain.low is None or gain.high is None else f"{points(gain.low)} to {points(gain.high)}"


def _headline(study: Study, best: Summary | None) -> str:
    if best is None:
        alone = study.of(ALONE)
        if alone is None and not study.pending and not study.failures:
            return "No validation image has a label, so nothing was scored."
        if alone is None:
            return "No run of this study is finished yet, so nothing is known."
        return f"No method is finished yet; the student alone reaches {points(alone.miou.mean)} mIoU."
    if best.gain is None:
        which = "no student alone" if study.one_seed else "no student alone of the same seed"
        return (
            f"{best.label} reaches {points(best.miou.mean)} mIoU; {which} is beside it, so what distillation was worth "
            "is not known."
        )
    moved = f"{signed(best.gain.mean)} mIoU [{interval(best.gain)}] over {_baseline(study)}{_at_what_cost(best)}"
    change = _change(best.gain)
    if change != NO_DIFFERENCE and verdict(best.gain) == "unclear":
        return f"{best.label} is not distinguishable from no gain: {moved}."
    if change != "gained":
        return f"{best.label} {change}: {moved}."
    closed = f" and closed {share(best.gap_closed)} of the gap to the teacher" if best.gap_closed is not None else ""
    return f"{best.label} {change} {moved.removeprefix('+')}{closed}."


def _change(gain: Gain) -> str:
    """What became of the mIoU in a word or two; a change that is written as 0.0 is none."""
    if points(abs(gain.mean)) == points(0):
        return NO_DIFFERENCE
    return "gained" if gain.mean > 0 else "lost"


def _baseline(study: Study) -> str:
    if study.alone_cost is None:
        return "the same student alone"
    return "the given baseline" if _is_of_another_network(study) else "the given student alone"


def _is_of_another_network(study: Study) -> bool:
    """Whether the baseline was given and is another network than the student."""
    return study.alone_cost is not None and study.alone_cost.parameters != study.student_cost.parameters


def _at_what_cost(row: Summary) -> str:
    if row.cost is None:
        return ""
    return f" at {ratio(row.cost)} times its time a step"


def _confidence(best: Summary | None, methods: int) -> list[str]:
    if best is None or best.gain is None:
        return []
    gain = best.gain
    result = verdict(gain)
    if result == "one seed":
        lines = ["One seed proves little: nothing can be said about other seeds."]
    elif result == "unclear":
        lines = [
            "The 95 % interval contains zero: seeds alone make differences as large as this. More seeds would tell."
        ]
    else:
        lines = [
            f"The 95 % interval leaves zero out: with other seeds a {result} is to be expected too, on these images "
            "and with this recipe."
        ]
    if methods > 1:
        lines.append(
            f"It is the best of {methods} methods on these very images, and the best of several looks better than it "
            "is."
        )
    return lines


def _little_to_gain(study: Study) -> list[str]:
    """What to say where the teacher is hardly better than the student alone, or worse."""
    alone = study.of(ALONE)
    if study.teacher is None or alone is None:
        return []
    lead = study.teacher.miou - alone.miou.mean
    if not lead < _LITTLE:  # also of a teacher whose classes can't be scored
        return []
    ahead = f"only {points(lead)} mIoU ahead of" if lead > 0 else "not ahead of"
    baseline = "the student alone" if study.alone_cost is None else _baseline(study)
    fact = f"The teacher ({points(study.teacher.miou)} mIoU) is {ahead} {baseline} ({points(alone.miou.mean)})"
    if _is_of_another_network(study):  # no advice follows
        return [f"{fact}."]
    return [f"{fact}, so there was little to gain: train it for longer, or take a larger one."]


def _other(row: Summary) -> str:
    if row.gain is None:
        return f"{row.label}: {points(row.miou.mean)} mIoU, its gain is not known."
    moved = f"{signed(row.gain.mean)} mIoU [{interval(row.gain)}]"
    cost = "" if row.cost is None else f", at {ratio(row.cost)} times the time a step"
    outcome = {
        "gain": _change(row.gain),
        "loss": _change(row.gain),
        "unclear": "is not distinguishable from no gain",
        "one seed": f"{_change(row.gain)} in its one seed",
    }[verdict(row.gain)]
    return f"{row.label} {outcome}: {moved}{cost}."


def _at_equal_minutes(study: Study, best: Summary | None) -> list[str]:
    """Whether the student alone would have gained as much by training on, if the study asked for that.

    The minutes are those that runs took: its steps were measured once, and a costlier method may have joined since.
    """
    longer = study.of(LONGER)
    if longer is None:
        return []
    alone = f"In {longer.minutes:.1f} minutes of training the student alone makes {longer.steps} steps"
    sentence = f"{alone} and reaches {points(longer.miou.mean)} mIoU"
    if longer.gain is not None:
        sentence += f" ({signed(longer.gain.mean)})"
    both = {*longer.seeds} & {*best.seeds} if best is not None else set()
    if best is not None and both:
        mean = {row.label: statistics.mean(_of_seeds(row, both)) for row in (best, longer)}
        sentence += f"; {best.label} has {signed(mean[best.label] - mean[LONGER])} beside it"
        sentence += f", in {best.minutes:.1f} minutes"
    return [f"{sentence}."]


def _of_seeds(row: Summary, seeds: Collection[int]) -> list[float]:
    """Its mIoU of these seeds."""
    return [miou for seed, miou in zip(row.seeds, row.miou.values, strict=True) if seed in seeds]


def _problems(study: Study) -> list[str]:
    lines = [f"Failed: {failure.label}, seed {failure.seed}: {failure.error}" for failure in study.failures]
    if study.pending:
        lines.append(f"Not finished yet: {'; '.join(study.pending)}.")
    counts = {row.label: len(row.seeds) for row in study.summary}
    fewer = [f"{label} ({count})" for label, count in counts.items() if count < len(study.seeds)]
    if fewer:
        lines.append(f"Fewer than the {plural(len(study.seeds), 'seed')} of the study: {', '.join(fewer)}.")
    return lines


def _facts(study: Study, best: Summary) -> list[Fact]:
    facts = []
    if best.gain is not None:
        facts.append(Fact(signed(best.gain.mean), f"mIoU points over {_baseline(study)}", interval(best.gain)))
    helped = best.gain is not None and _change(best.gain) == "gained" and verdict(best.gain) != "unclear"
    if helped and best.gap_closed is not None and study.teacher is not None:
        description = f"the teacher has {points(study.teacher.miou)} mIoU, {best.label} {points(best.miou.mean)}"
        facts.append(Fact(share(best.gap_closed), "of the gap to the teacher closed", description))
    if best.cost is not None:
        description = f"{best.minutes:.1f} min of training a run, {study.budget}"
        facts.append(Fact(f"{ratio(best.cost)} times", "the student alone's time a step", description))
    student, teacher = study.student_cost, study.teacher_cost
    if teacher.milliseconds > 0:
        description = (
            f"{student.milliseconds:.1f} and {teacher.milliseconds:.1f} ms an image here, "
            f"{student.parameters / 1e6:.1f} and {teacher.parameters / 1e6:.1f} M parameters"
        )
        part = share(student.milliseconds / teacher.milliseconds)
        facts.append(Fact(part, "of the teacher's time an image", description))
    return facts
