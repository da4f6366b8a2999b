"""Is distillation worth it? Every method against the same student alone, over seeds, at equal steps.

    python benchmarks/study.py NAME PARTS... [--methods kd cwd bpkd] [--seeds 0 1 2] [--work FOLDER]

A method is a name, or LABEL=YAML for one with options, as 'kd4={name: kd, temperature: 4}'. PARTS are recipe parts.
With teacher.run=.. among them one teacher serves all seeds, else every seed trains its own. Runs live in --work and
are continued or skipped when the script runs again; the table goes to benchmarks/results/NAME.{json,md} with the
recipe in NAME.yaml.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import yaml

import segdistill
from segdistill.models.files import trained_record
from segdistill.storage import write_json, write_text, write_yaml
from segdistill.training import runs

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    options = parse()
    recipe = segdistill.load_recipe(*options.parts)
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        if recipe.teacher.run is None:
            teacher = make(options, rows, "teacher", seed, role="teacher")
        else:
            teacher = recipe.teacher.run
            if seed == options.seeds[0]:
                rows.append(record("teacher", Path(teacher)))
        make(options, rows, "student alone", seed)
        for label, method in options.methods.items():
            make(options, rows, label, seed, method=[method], teacher={"run": teacher})
    summary = summarise(rows)
    write_json(RESULTS / f"{options.name}.json", {"runs": rows, "summary": summary})
    write_text(RESULTS / f"{options.name}.md", markdown(options, rows, summary))
    write_yaml(RESULTS / f"{options.name}.yaml", recorded(recipe, options.methods))
    print(markdown(options, rows, summary))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("parts", nargs="+")
    parser.add_argument("--methods", nargs="+", default=["kd", "cwd", "bpkd"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("runs/studies"))
    options = parser.parse_intermixed_args()
    labelled = {}
    for word in options.methods:
        label, _, text = word.partition("=")
        labelled[label] = yaml.safe_load(text) if text else {"name": label}
    options.methods = labelled
    return options


def make(options: argparse.Namespace, rows: list[dict[str, Any]], label: str, seed: int, **changes: Any) -> Path:
    """Train (or go on training, or find finished) one network and add its row; the folder of its run."""
    run: Path = options.work / options.name / f"{label.replace(' ', '-')}-{seed}"
    recipe = segdistill.load_recipe(*options.parts, seed=seed, run=run, baseline="none", **changes)
    (runs.distill if recipe.method else runs.train)(recipe, resume=True)
    rows.append(record(label, run))
    return run


def record(network: str, run: Path) -> dict[str, Any]:
    """What a finished run reached in its last validation, and how."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    scores = [line for line in lines if line["kind"] == "validation"][-1]
    trained = trained_record(next(run.glob("*.safetensors")))
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    return {
        "network": network,
        **{key: trained[key] for key in ("seed", "steps", "batch_size", "seconds")},
        **{key: scores[key] for key in ("miou", "macc", "aacc", "iou")},
        **{key: environment[key] for key in ("machine", "threads", "commit")},
        "torch": environment["packages"]["torch"],
    }


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds, and the gain over the student alone of the same seed."""
    alone = {row["seed"]: row["miou"] for row in rows if row["network"] == "student alone"}
    summary = []
    for network in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == network]
        gains = [row["miou"] - alone[row["seed"]] for row in own if row["seed"] in alone]
        distilled = network not in ("teacher", "student alone")
        summary.append(
            {
                "network": network,
                "seeds": [row["seed"] for row in own],
                "miou": spread([row["miou"] for row in own]),
                "macc": spread([row["macc"] for row in own]),
                "aacc": spread([row["aacc"] for row in own]),
                "gain": spread(gains) if distilled else None,
                "steps": own[0]["steps"],
                "minutes": statistics.mean(row["seconds"] for row in own) / 60,
            }
        )
    return summary


def spread(values: list[float]) -> dict[str, Any]:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.mean(values), "std": deviation, "values": values}


def markdown(options: argparse.Namespace, rows: list[dict[str, Any]], summary: list[dict[str, Any]]) -> str:
    lines = [
        f"# {options.name}",
        "",
        f"Recipe: `{' '.join(options.parts)}`; methods "
        f"`{yaml.safe_dump(options.methods, default_flow_style=True, width=1000).strip()}`.",
        "Mean ± standard deviation over seeds of the last weights on validation; gain over the student alone of the "
        "same seed, in mIoU points, with the seeds' own gains.",
        "",
        "| network | seeds | mIoU % | mAcc % | aAcc % | gain | gain by seed | steps | train min |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in summary:
        gain = row["gain"]
        lines.append(
            f"| {row['network']} | {', '.join(map(str, row['seeds']))} | {text(row['miou'])} | {text(row['macc'])} "
            f"| {text(row['aacc'])} | {'' if gain is None else text(gain, '+')} "
            f"| {'' if gain is None else ', '.join(f'{value:+.2f}' for value in gain['values'])} "
            f"| {row['steps']} | {row['minutes']:.1f} |"
        )
    threads = sorted({row["threads"] for row in rows})
    commits = sorted({str(row["commit"]) for row in rows})
    lines += [
        "",
        f"Batch {rows[0]['batch_size']}. Machine: {rows[0]['machine']}, {' and '.join(map(str, threads))} thread(s) a "
        f"run (minutes are wall-clock beside other work); torch {rows[0]['torch']}; commit {', '.join(commits)}.",
        "",
    ]
    return "\n".join(lines)


def text(value: dict[str, Any], sign: str = "") -> str:
    mean = format(value["mean"], f"{sign}.2f")
    return mean if value["std"] is None else f"{mean} ± {value['std']:.2f}"


def recorded(recipe: segdistill.Recipe, methods: dict[str, Any]) -> dict[str, Any]:
    """The resolved recipe without the paths of this machine, and the methods that were compared."""
    plain = recipe.model_dump(mode="json", exclude={"run", "seed", "method", "baseline"})
    plain["data"].pop("root", None)
    for network in (plain["student"], plain["teacher"]["network"]):
        if network and network["backbone_weights"]:
            network["backbone_weights"] = "pretrained"
    plain["teacher"]["run"] = None
    return {**plain, "methods": methods}


if __name__ == "__main__":
    main()
