"""A fault campaign: processes killed, disks full, files torn, inputs mutated; counted, and repeatable by seed.

    OMP_NUM_THREADS=1 python benchmarks/faults.py [--parts kills,disk,inputs] [--only kills:17] [--work FOLDER]

Stopped, the same command goes on where it was, at the same commit. Results go to results/faults.json and faults.md; an
item that fails is printed with what repeats it. On 2 busy cores the whole takes about an hour.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from injection import disk, inputs, kills
from injection.common import Failure, Item

from segdistill.core.storage import write_json, write_text
from segdistill.runtime.environment import describe_environment

RESULTS = Path(__file__).parent / "results"
PARTS: dict[str, tuple[Callable[[Item, Path], None], int]] = {
    "kills": (kills.run, 30),
    "disk": (disk.run, 48),
    "inputs": (inputs.run, 720),
}
"""What does an item of a part, and how many items there are."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--only", help="One item, as kills:17; nothing is written.")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "segdistill-faults")
    parser.add_argument("--seeds", help="Only these, as 0:100; several processes may share a part, then --minutes 0.")
    parser.add_argument("--minutes", type=float, default=1e9, help="Stop a part after this time.")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.only:
        part, seed = options.only.split(":")
        print(json.dumps(asdict(done(part, int(seed), options.work)), indent=2))
        return
    for part in options.parts.split(","):
        first, last = map(int, (options.seeds or f"0:{PARTS[part][1]}").split(":"))
        campaign(part, options.work, range(first, last), options.minutes)
    page()


def done(part: str, seed: int, work: Path) -> Item:
    """Do one item."""
    item, began = Item(part, seed), time.perf_counter()
    try:
        PARTS[part][0](item, work)
    except Failure as failure:
        item.failure = str(failure).replace(str(work), "WORK")
    item.seconds = round(time.perf_counter() - began, 2)
    return item


def campaign(part: str, work: Path, seeds: range, minutes: float) -> None:
    """All items of a part that are not done yet, and then its record in the results."""
    journal = work / f"{part}.jsonl"
    environment = {**describe_environment(command=False), "commit": commit()}
    lines = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    items: list[dict[str, Any]] = [line for line in lines if line["commit"] == environment["commit"]]
    finished = {item["seed"] for item in items}
    until = time.monotonic() + 60 * minutes
    for seed in seeds:
        if seed in finished or time.monotonic() > until:
            continue
        items.append({**asdict(done(part, seed, work)), "commit": environment["commit"]})
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(items[-1]) + "\n")
        failure = items[-1]["failure"]
        if failure or seed % 10 == 9:
            print(f"{part}:{seed} {failure or 'good'}", flush=True)
    if not items:
        return
    file = RESULTS / "faults.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    # Rounds at other commits are kept: what they found has been mended since.
    rounds = [each for each in results.get(part, []) if each["environment"]["commit"] != environment["commit"]]
    results[part] = [*rounds, summary(items, environment)]
    write_json(file, results)


def commit() -> str:
    """Of the code alone, with a + if it has changed: the results that a part has written do not make another of it."""
    root = Path(__file__).parents[1]

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "src", "tests", "benchmarks", ":!benchmarks/results")
    return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


def summary(items: list[dict[str, Any]], environment: dict[str, Any]) -> dict[str, Any]:
    """Counts by kind, all failures, and where it was measured."""
    kinds: dict[str, Counter[str]] = {}
    largest: dict[str, float] = {}
    for item in items:
        counts = kinds.setdefault(item["kind"], Counter())
        counts.update({"items": 1, **item["counts"], "failures": int(bool(item["failure"]))})
        for name, value in item["measured"].items():
            largest[name] = max(value, largest.get(name, 0.0))
    return {
        "seeds": [min(item["seed"] for item in items), max(item["seed"] for item in items)],
        "seconds": round(sum(item["seconds"] for item in items)),
        "kinds": {kind: dict(counts) for kind, counts in sorted(kinds.items())},
        "largest": largest,
        "failures": [
            {"repeat": f"--only {item['part']}:{item['seed']}", "kind": item["kind"], "what": item["failure"]}
            for item in items
            if item["failure"]
        ],
        "environment": environment,
    }


def page() -> None:
    """results/faults.md, of what results/faults.json holds."""
    lines = ["# The fault campaign", "", "Made by `benchmarks/faults.py`; seeds repeat an item.", ""]
    results = json.loads((RESULTS / "faults.json").read_text())
    for part, result in ((part, each) for part, rounds in results.items() for each in rounds):
        where = result["environment"]
        totals: Counter[str] = Counter()
        for counts in result["kinds"].values():
            totals.update(counts)
        names = [name for name in totals if name != "failures"] + ["failures"]
        lines += [
            f"## {part}", "",
            f"Seeds {result['seeds'][0]} to {result['seeds'][1]}, {result['seconds'] / 60:.0f} min on "
            f"{where['machine']}, torch {where['packages']['torch']}, commit {where['commit']}, "
            f"{where['started']}.", "",
            f"| kind | {' | '.join(names)} |", "|---|" + "---|" * len(names),
            *(f"| {kind} | {_cells(counts, names)} |" for kind, counts in result["kinds"].items()),
            f"| **all** | {_cells(totals, names)} |", "",
            *(f"Largest {name}: {value:.2g}." for name, value in result["largest"].items()),
            *(f"- `{each['repeat']}` ({each['kind']}): {each['what'][:400]}" for each in result["failures"]), "",
        ]  # fmt: skip
    write_text(RESULTS / "faults.md", "\n".join(lines))


def _cells(counts: dict[str, int], names: list[str]) -> str:
    return " | ".join(str(counts.get(name, 0)) for name in names)


if __name__ == "__main__":
    main()
