"""Thousands of small data sets at random, in every accepted form and damaged: what is read wrongly, or refused without
a name, is counted and listed. `tests/data/test_random_folders.py` is a short run of the same.

    OMP_NUM_THREADS=1 nice -n 19 python benchmarks/labels.py --examples 2000
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from damaged_folders import DAMAGES, outcome
from folder_truth import mistakes
from random_folders import FORMS, Form, make

RESULTS = Path(__file__).parent / "results"


class Campaign:
    """Counts what comes of examples; a failure is noted and does not end it."""

    def __init__(self, examples: int, number: int) -> None:
        self.counts: Counter[str] = Counter()
        self.by_damage: dict[str, Counter[str]] = {name: Counter() for name in sorted(DAMAGES)}
        self.failures: list[dict[str, str]] = []
        self.limits = settings(
            max_examples=examples, deadline=None, database=None, suppress_health_check=[*HealthCheck]
        )
        self.number = number

    def accepted(self) -> None:
        """Forms that are accepted must give the generator's own labels."""

        @seed(self.number)
        @self.limits
        @given(FORMS)
        def check(form: Form) -> None:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    wrong = "; ".join(mistakes(make(form, Path(folder))))
                except Exception as error:
                    wrong = f"{type(error).__name__}: {error}"
            self.note("accepted", form, "right", wrong)

        check()

    def damaged(self) -> None:
        """Damaged data sets must give right labels or a refusal that names a file."""

        @seed(self.number)
        @settings(self.limits, max_examples=self.limits.max_examples * 4 // 3)  # a quarter can't be damaged so
        @given(FORMS, st.sampled_from(sorted(DAMAGES)))
        def check(form: Form, damage: str) -> None:
            with tempfile.TemporaryDirectory() as folder:
                made = make(form, Path(folder))
                try:
                    what, wrong = outcome(made, DAMAGES[damage], np.random.default_rng(form.seed))
                except Exception as error:
                    what, wrong = "right", f"{type(error).__name__}: {error}"
            if what:
                self.by_damage[damage][what] += 1
            self.note("damaged", form, what or "not possible", wrong, damage)

        check()

    def note(self, part: str, form: Form, what: str, wrong: str, damage: str = "") -> None:
        self.counts[f"{part}: {'wrong' if wrong else what}"] += 1
        if wrong:
            self.failures.append({"part": part, "damage": damage, "form": repr(form), "wrong": wrong[:500]})


def write(campaign: Campaign, seconds: float, out: Path) -> None:
    result: dict[str, Any] = {
        "counts": dict(sorted(campaign.counts.items())),
        "by_damage": {name: dict(counts) for name, counts in campaign.by_damage.items()},
        "failures": campaign.failures,
        "seed": campaign.number,
        "seconds": round(seconds),
    }
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, count in result["counts"].items():
        print(f"{count:6d} {name}")
    for failure in campaign.failures[:20]:
        print(failure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=2200, help="of each part that count")
    parser.add_argument("--parts", default="accepted,damaged")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "labels.json")
    words = parser.parse_args()
    campaign, began = Campaign(words.examples, words.seed), time.monotonic()
    for part in words.parts.split(","):
        getattr(campaign, part)()
    write(campaign, time.monotonic() - began, words.out)
    sys.exit(bool(campaign.failures))


if __name__ == "__main__":
    main()
