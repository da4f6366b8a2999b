"""What each method costs: forward and backward, time and peak memory, beside a plain transcription of its formula.

    OMP_NUM_THREADS=1 python benchmarks/methods.py [--sizes city ade] [--rows task "cirkd minibatch" ...]

A row is the task loss, a method found by discovery, or a named part of one. Where there is a transcription, the two
must first give the same loss, gradient and state (in float64, on small maps); then both are measured, in turn. Ours has
its default options, so that it also leaves void out, which published code doesn't.

Processor time is the median over the rounds of a process's user and system time; memory is the peak of what one forward
and backward hold beyond inputs, parameters and queues, as the profiler's ledger of allocations counts it. Published
numbers are those of the papers' code on another machine, from a file that is not part of the project. Rows that were
not measured stay as they were; results/methods.{json,md} and docs/methods.md's table are written anew after each row.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from transcriptions import PARTS, TRANSCRIPTIONS

from segdistill.core.discovery import options_of
from segdistill.core.outputs import SegOutput
from segdistill.core.storage import write_json, write_text
from segdistill.methods import create_method, method_names
from segdistill.methods.base import Method, method_class, on_grid
from segdistill.runtime.environment import describe_environment
from segdistill.training.task_loss import task_loss

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "methods.md"
START, END = "<!-- table: benchmarks/methods.py -->\n", "<!-- end of table -->"
OFFICIAL = HERE.parents[1] / "shared" / "oracles" / "losses" / "official_bench.json"
SIZES = {"city": (4, 19, (64, 128), (512, 1024)), "ade": (2, 150, (64, 64), (512, 512))}
SMALL = {"city": (2, 19, (16, 32), (128, 256)), "ade": (2, 150, (16, 16), (128, 128))}
WIDTH, SMALL_WIDTH = 512, 32
SMALL_QUEUES = {"cirkd": {"pixel_queue": 300, "region_queue": 90}}
SMALL_QUEUES["cirkdv2"] = {"channel_queue": 500, "channel_keys": 100}
TOLERANCE = 1e-4
PUBLISHED = {
    "task": ["task_ce"], "kd": ["kd"], "fitnet": ["fitnet"], "at": ["at"], "skds dense pairs": ["skd_pool2"],
    "ifvd": ["ifvd"], "cwd": ["cwd_logit"], "dsd": ["dsd"], "cirkd minibatch": ["cirkd_minibatch"],
    "cirkd memory terms": ["cirkd_memory"], "cirkdv2 channel": ["cirkd_channel"], "adversary": ["adv_G", "adv_D"],
    "dist": ["dist"], "mgd": ["mgd"], "afdcd": ["afdcd"], "maskd": ["maskd"], "pkd": ["pkd"],
}  # fmt: skip
GOALS: dict[str, tuple[float, float | None]] = {
    "ifvd": (10, 1 / 10), "cirkd minibatch": (1 / 1.3, 1 / 8), "cirkd memory update": (10, None),
    "bpkd": (5, 1 / 5), "task": (1, 1 / 4),
}  # fmt: skip
"""Over the transcription: times faster at least, share of its memory at most. BPKD's is set at 150 classes. `cwd`, `kd`
and `dist` are written plainly, too, and leave void out, which the transcriptions don't: milliseconds of a step."""
Loss = Callable[[Any, SegOutput, SegOutput, Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["task", *method_names(), *PARTS]
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--rows", nargs="+", default=names, choices=names, metavar="ROW", help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=9, help="of each form at most, fewer if they take --seconds")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--official", type=Path, default=OFFICIAL, help="the published code's numbers, if at hand")
    options = parser.parse_args()
    path = RESULTS / "methods.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    environment = describe_environment()
    for size in options.sizes:
        for name in options.rows:
            row = {"size": size, "row": name, "commit": environment["commit"]}
            row |= measure(name, size, options.rounds, options.seconds) | published(name, size, options.official)
            rows = [other for other in rows if (other["size"], other["row"]) != (size, name)] + [row]
            rows.sort(key=lambda row: (list(SIZES).index(row["size"]), names.index(row["row"])))
            print(row, flush=True)
            write_json(path, {"rows": rows, "environment": environment})
            write_text(RESULTS / "methods.md", "\n".join(page(rows, environment)))
            before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
            write_text(PAGE, before + START + "\n".join(brief(rows)) + "\n" + END + rest.partition(END)[2])
    print("\n".join(page(rows, environment)))


def measure(name: str, size: str, most: int, seconds: float) -> dict[str, Any]:
    """Median seconds and peak MiB of ours and, where there is one, of the transcription."""
    if name in TRANSCRIPTIONS:
        check(name, size)
    student, teacher, label = scene(SIZES[size], WIDTH)
    method = made(name, student, teacher)
    forms = {"ours": ours(name)}
    if name in TRANSCRIPTIONS:
        forms["plain"] = TRANSCRIPTIONS[name]
    row: dict[str, Any] = {}
    times: dict[str, list[float]] = {form: [] for form in forms}
    for form, loss in forms.items():
        cost(loss, method, *(_first_image(x) for x in (student, teacher)), label[:1])  # warm, queues made
        row[f"{form}_mib"], spent = peak(loss, method, student, teacher, label)
        if spent > seconds:  # so long that the ledger's own cost is lost in it
            times[form].append(spent)
    while not min(map(len, times.values())) or (len(times["ours"]) < most and sum(map(sum, times.values())) < seconds):
        for form, loss in forms.items():
            times[form].append(cost(loss, method, student, teacher, label))
    return {**{f"{form}_s": statistics.median(times[form]) for form in forms}, **row, "rounds": len(times["ours"])}


def _first_image(output: SegOutput) -> SegOutput:
    features = tuple(x[:1] for x in output.features)
    return replace(output, logits=output.logits[:1], embedding=output.embedding[:1], features=features)


def check(name: str, size: str) -> None:
    """Ours and the transcription give the same loss, gradient of the student's maps and state, twice in a row."""
    student, teacher, label = scene(SMALL[size], SMALL_WIDTH, torch.float64)
    base = PARTS.get(name, (name, {}))[0]
    extra = dict(SMALL_QUEUES.get(base, {}))
    if name not in ("task", "cirkd memory update") and "as_published" in options_of(method_class(base)).model_fields:
        extra["as_published"] = True
    method = made(name, student, teacher, **extra)
    if method is not None:
        method.double()
        ours(name)(method, student, teacher, label)  # queues may be made for the first batch
    results = []
    for loss in (ours(name), TRANSCRIPTIONS[name]):
        module, numbers = copy.deepcopy(method), []
        for turn in range(2):
            torch.manual_seed(turn)
            maps = fresh(student)
            value = loss(module, maps, teacher, label)
            numbers.append(value.detach())
            if value.requires_grad:
                numbers += torch.autograd.grad(value, (maps.logits, maps.embedding), allow_unused=True)
        state = {} if module is None else module.state_dict()
        results.append([*numbers, *(x for key, x in sorted(state.items()) if isinstance(x, Tensor))])
    for mine, plain in zip(*results, strict=True):
        mine, plain = (torch.zeros(()) if x is None else x.double() for x in (mine, plain))
        error = (mine - plain).abs().max() / plain.abs().max().clamp_min(1e-30)
        if mine.count_nonzero() + plain.count_nonzero() and error > TOLERANCE:
            raise SystemExit(f"{name}, {size}: ours and the transcription differ by {error:.1e} of {plain.abs().max()}")


def made(name: str, student: SegOutput, teacher: SegOutput, **extra: Any) -> Method | None:
    if name == "task":
        return None
    base, options = PARTS.get(name, (name, {}))
    torch.manual_seed(0)
    classes = student.logits.shape[1]
    return create_method(base, student=student, teacher=teacher, num_classes=classes, **options, **extra)


def ours(name: str) -> Loss:
    if name == "task":
        return lambda method, student, teacher, label: task_loss(student.logits, label)
    if name == "cirkd memory update":
        return _update
    return lambda method, *batch: torch.stack(list(method(*batch).values())).sum()


def _update(method: Any, student: SegOutput, teacher: SegOutput, label: Tensor) -> Tensor:
    """Of pixels as they are laid out for the memory terms, which that work is part of."""
    method.memory.push(teacher.features[0], on_grid(label, teacher.embedding).flatten(1))
    return torch.zeros(())


def scene(
    shape: tuple[int, int, tuple[int, int], tuple[int, int]], width: int, dtype: torch.dtype = torch.float32
) -> tuple[SegOutput, SegOutput, Tensor]:
    """Random maps, and labels of blocks of 16x16 pixels with a void strip at the bottom."""
    n, k, grid, (height, wide) = shape
    random = torch.Generator().manual_seed(0)

    def maps() -> SegOutput:
        logits, embedding = (torch.randn(n, c, *grid, generator=random).to(dtype) for c in (k, width))
        return SegOutput(logits=logits, embedding=embedding, features=(embedding,))

    student, teacher = maps(), maps()
    teacher = replace(teacher, features=(teacher.embedding.flatten(2).mT.contiguous(), teacher.embedding))
    label = torch.randint(0, k, (n, height // 16, wide // 16), generator=random)
    label = label.repeat_interleave(16, 1).repeat_interleave(16, 2)
    label[:, -height // 16 :] = 255
    return student, teacher, label


def cost(loss: Loss, method: Method | None, student: SegOutput, teacher: SegOutput, label: Tensor) -> float:
    student = fresh(student)
    began = time.process_time()
    value = loss(method, student, teacher, label)
    if value.requires_grad:
        value.backward()
    return time.process_time() - began


def peak(
    loss: Loss, method: Method | None, student: SegOutput, teacher: SegOutput, label: Tensor
) -> tuple[float, float]:
    """MiB: the highest point of allocations minus releases; and the seconds it took."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        seconds = cost(loss, method, student, teacher, label)
    held = highest = 0
    ledger = [event for event in trace.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(ledger, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest / 2**20, seconds


def fresh(student: SegOutput) -> SegOutput:
    logits, embedding = (x.detach().requires_grad_() for x in (student.logits, student.embedding))
    return replace(student, logits=logits, embedding=embedding, features=(embedding,))


def published(name: str, size: str, path: Path) -> dict[str, float]:
    """One thread's processor seconds and peak live MiB of the published code; of several losses sum and maximum."""
    if name not in PUBLISHED or not path.exists():
        return {}
    losses = {
        row["loss"]: row for row in json.loads(path.read_text(encoding="utf-8"))["results"] if row["size"] == size
    }
    parts = [losses[loss] for loss in PUBLISHED[name]]
    return {
        "published_s": sum(part["cpu_s_1thread"] for part in parts),
        "published_mib": max(part["peak_live_growth_mib"] for part in parts),
    }


def page(rows: list[dict[str, Any]], environment: dict[str, Any]) -> list[str]:
    shapes = "; ".join(
        f"{name}: N={n} K={k} logits {h}x{w} labels {height}x{width} D={WIDTH}"
        for name, (n, k, (h, w), (height, width)) in SIZES.items()
    )
    cells = (
        "| size | row | s | plain s | times faster | published s | MiB | plain MiB | share | published MiB | rounds |"
    )
    return [
        "# Cost of the methods", "",
        f"Forward and backward in float32, {shapes}. Median processor seconds, peak MiB beyond inputs, parameters and "
        f"queues. {environment['machine']}, {environment['threads']} thread, torch {environment['packages']['torch']}, "
        f"commits {', '.join(sorted({str(row['commit'])[:12] for row in rows}))}.", "",
        "plain: the formula in plain PyTorch (benchmarks/transcriptions), same run. published: the papers' own code, "
        "one thread of another machine (AMD EPYC), resident memory; adversary: generator and discriminator step, "
        "summed seconds and the larger memory; dsd: with a third map.", "",
        "## Goals over the plain form", "",
        "| size | row | goal | measured | |", "|---|---|---|---|---|", *goals(rows), "",
        "## All rows", "", cells, "|---" * cells.count(" | ") + "|---|", *map(line, rows), "",
    ]  # fmt: skip


def goals(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        if row["row"] not in GOALS or (row["row"], row["size"]) == ("bpkd", "city"):
            continue
        faster, share = GOALS[row["row"]]
        ratio, part = row["plain_s"] / row["ours_s"], row["ours_mib"] / row["plain_mib"]
        goal, reached = f"{faster:.3g} times faster", f"{ratio:.2f} times faster"
        met = ratio >= faster
        if share is not None:
            goal, reached, met = f"{goal}, {share:.3g} of the memory", f"{reached}, {part:.3f}", met and part <= share
        lines.append(f"| {row['size']} | {row['row']} | {goal} | {reached} | {'met' if met else 'MISSED'} |")
    return lines


def line(row: dict[str, Any]) -> str:
    def cell(key: str, form: str) -> str:
        return format(row[key], form) if key in row else ""

    both = "plain_s" in row
    cells = [row["size"], row["row"], cell("ours_s", ".4f"), cell("plain_s", ".4f")]
    cells += [f"{row['plain_s'] / row['ours_s']:.1f}" if both else "", cell("published_s", ".4f")]
    cells += [cell("ours_mib", ".0f"), cell("plain_mib", ".0f")]
    cells += [f"{row['ours_mib'] / row['plain_mib']:.2f}" if both else "", cell("published_mib", ".0f")]
    return f"| {' | '.join(cells)} | {row['rounds']} |"


def brief(rows: list[dict[str, Any]]) -> list[str]:
    """For docs/methods.md: our cost alone, the sizes side by side."""
    lines = [
        "| | " + " | ".join(f"{size} s | {size} MiB" for size in SIZES) + " |",
        "|---" * (2 * len(SIZES) + 1) + "|",
    ]
    for name in dict.fromkeys(row["row"] for row in rows):
        by_size = {row["size"]: row for row in rows if row["row"] == name}
        cells = [
            f"{by_size[size]['ours_s']:.3g} | {by_size[size]['ours_mib']:.0f}" if size in by_size else " | "
            for size in SIZES
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
