"""Every network of the zoo as ONNX: for any size or a fixed one, how far it is from torch, how large it is.

    python benchmarks/exports.py [NETWORK ...] [--classes 19] [--limit SECONDS] [--out benchmarks/results/exports.json]

Weights are random: what is looked at is the graph. A network that can't be exported for any size is tried at 128x192,
and the table says why. The result is written after each network, with the commit it was measured at. Those that are
there already are left out, so it can be stopped and goes on; one that takes longer than the limit is left for another
time.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from segdistill.core.classes import unnamed_classes
from segdistill.core.errors import SegdistillError
from segdistill.exporting.export import export_model
from segdistill.exporting.settings import ExportSettings
from segdistill.models.build import build
from segdistill.models.catalog import ZOO
from segdistill.models.loaded import LoadedModel
from segdistill.models.zoo import resolve_spec
from segdistill.runtime.environment import describe_environment

FIXED = (128, 192)


def measure(name: str, classes: int) -> dict[str, Any]:
    """Export one network; what was found, in plain values."""
    torch.manual_seed(0)
    model = LoadedModel(build(resolve_spec({"name": name}), classes).eval(), unnamed_classes(classes), Path(name))
    faults = []
    for size in (None, FIXED):
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            try:
                done = export_model(model, ExportSettings(size=size), None, Path(folder), quiet=True)
            except SegdistillError as error:
                faults.append(str(error))
                continue
        (file,) = done.files
        assert file.parity is not None
        scale = max(check.scale for check in file.parity.checks)
        return {
            "network": name,
            "size": "any" if size is None else list(size),
            "least": done.description.least,
            "difference": file.parity.difference,
            "scale": scale,
            "pixels": file.parity.pixels,
            "megabytes": file.megabytes,
            "processor_seconds": time.process_time() - start,
            "faults": faults,
        }
    return {"network": name, "size": None, "faults": faults}


class OutOfTime(BaseException):
    """Not an Exception: one network that takes too long says nothing of the next."""


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """While entered, OutOfTime after so many seconds of the processor, however busy the machine is; 0 for no limit."""

    def stop(number: int, frame: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def markdown(rows: list[dict[str, Any]], environment: dict[str, Any]) -> str:
    """The table."""
    lines = [
        "# The networks of the zoo as ONNX",
        "",
        "Made by `python benchmarks/exports.py`: random weights, opset 18, `outputs=classes`, compared with torch at 1 "
        "image of 128x192, 2 of 97x129, 1 of 161x96 and 2 of 65x97. difference: the largest of two logits, and the "
        "largest logit beside it; pixels: the share whose class differs; least: the smallest side that the "
        "trace vouches for.",
        "",
        "| network | size | least | difference | of | pixels % | MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["size"] is None:
            lines.append(f"| {row['network']} | none: {row['faults'][-1].splitlines()[0]} |  |  |  |  |  |")
            continue
        size = row["size"] if row["size"] == "any" else "x".join(map(str, row["size"]))
        lines.append(
            f"| {row['network']} | {size} | {row['least']} | {row['difference']:.1e} | {row['scale']:.2g} | "
            f"{100 * row['pixels']:.3g} | {row['megabytes']:.1f} |"
        )
    faults = [f"- {row['network']}, any size: {row['faults'][0].splitlines()[0]}" for row in rows if row["faults"]]
    commits = ", ".join(dict.fromkeys(str(row["commit"]) for row in rows))
    made = f"{environment['machine']}; torch {environment['packages']['torch']}; commit {commits}."
    missing = "" if len(rows) == len(ZOO) else f"{len(rows)} of {len(ZOO)} networks; the same command goes on. "
    return "\n".join([*lines, "", *(["Not for any size:", "", *faults, ""] if faults else []), missing + made, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(ZOO))
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--limit", type=int, default=0, help="processor seconds a network; 0: none")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "exports.json")
    arguments = parser.parse_args()
    rows = json.loads(arguments.out.read_text())["networks"] if arguments.out.is_file() else []
    # Before anything is written: a changed table is a change of the tree, too.
    environment = describe_environment(command=False)
    if environment["commit"] is None:
        parser.error("the table names the commit it was measured at: run this from a git checkout, with git installed")
    for name in arguments.networks:
        if name in {row["network"] for row in rows}:
            continue
        try:
            with limited(arguments.limit):
                rows.append({**measure(name, arguments.classes), "commit": environment["commit"]})
        except OutOfTime:
            print(f"{name}: more than {arguments.limit} s of the processor", flush=True)
            continue
        rows.sort(key=lambda row: list(ZOO).index(row["network"]))
        arguments.out.write_text(json.dumps({"networks": rows, "environment": environment}, indent=2) + "\n")
        arguments.out.with_suffix(".md").write_text(markdown(rows, environment))
        print(json.dumps(next(row for row in rows if row["network"] == name)), flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
