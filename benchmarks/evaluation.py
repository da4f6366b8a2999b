"""What evaluation costs beyond the network.

    python benchmarks/evaluation.py [--network mobilenetv2_pspnet] [--cases 360x480:11 512x1024:19] [--rounds 21]

Every part is timed in turn with the network's own pass, from uint8 image to logits, on the same image; the table shows
the median over rounds of part / network, in percent. Parts: classes (upsampling of the logits and argmax), confidence
(what calibration adds to that), confusion matrix, boundary quality, calibration counts. `plain` is torch's
interpolate and argmax instead of `classes`; `default` is classes, confusion and boundary, what `evaluate` does unless
told otherwise. Goals: default at most 15, confusion and boundary at most 10. Times are this thread's own on a
processor (`--clock wall` counts waiting as well), so that other processes disturb them less.

What `classes` costs depends on how sure the logits are. They are made from the label: at 360x480 85 % of the cells have
one class that can win, where networks trained on CamVid have 73 to 90 %. `unsure` is the same for the logits of the
untrained network itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdistill.core.outputs import SegOutput
from segdistill.core.storage import write_json, write_text
from segdistill.data.datasets.streets import Streets
from segdistill.evaluation.inference.inference import infer, predict_classes
from segdistill.evaluation.scoring import Counts
from segdistill.evaluation.settings import InferenceConfig, MetricsConfig
from segdistill.models.network import as_input
from segdistill.models.open import create_model
from segdistill.runtime.environment import describe_environment

RESULTS = Path(__file__).parent / "results"
PARTS = ("plain", "unsure", "classes", "confidence", "confusion", "boundary", "calibration")


class Ready(nn.Module):
    """A network that costs nothing: it returns what another has said."""

    def __init__(self, output: SegOutput) -> None:
        super().__init__()
        self.output = output

    def forward(self, image: Tensor) -> SegOutput:
        return self.output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mobilenetv2_pspnet")
    parser.add_argument("--cases", nargs="+", default=["360x480:11", "512x1024:19", "512x683:150"])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    options = parser.parse_args()
    rows = []
    for case in options.cases:
        size, _, classes = case.partition(":")
        height, width = map(int, size.split("x"))
        rows.append({"size": size, "num_classes": int(classes), **measure(options, height, width, int(classes))})
    environment = describe_environment()
    load = os.getloadavg()[0]
    lines = [
        "# Cost of evaluation beyond the network", "",
        f"`{options.network}`, one image, whole; percent of the network's {options.clock} time, median of "
        f"{options.rounds} paired rounds. {environment['machine']}, {environment['threads']} thread(s), "
        f"{os.cpu_count()} cores, load {load:.1f} at the end; "
        f"torch {environment['packages']['torch']}, commit {environment['commit']}.", "",
        f"| image | K | network ms | {' | '.join(PARTS)} | confusion + boundary | default | all |",
        "|---" * (len(PARTS) + 6) + "|",
        *(
            f"| {row['size']} | {row['num_classes']} | {row['network_ms']:.0f} | "
            + " | ".join(f"{row[key]:.1f}" for key in (*PARTS, "metrics", "default", "all"))
            + " |"
            for row in rows
        ),
        "", "In no sum: `plain`, what `classes` replaces, and `unsure`, what that costs for an untrained network.", "",
    ]  # fmt: skip
    write_json(RESULTS / "evaluation.json", {"rows": rows, "load": load, "environment": environment})
    write_text(RESULTS / "evaluation.md", "\n".join(lines))
    print("\n".join(lines))


@torch.no_grad()
def measure(options: argparse.Namespace, height: int, width: int, classes: int) -> dict[str, float]:
    sample = Streets(split="val", size=(height, width), count=1)[0]
    image, label = sample.image[None], sample.label[None]
    network = create_model(options.network, classes).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    output = network(as_input(image))
    unsure, ready = Ready(output), Ready(replace(output, logits=confident(label, output.logits)))
    config, counts = InferenceConfig(), Counts(classes, MetricsConfig(calibration=True))
    result = infer(ready, image, config, confidence=True)
    # A prediction as good networks make them: the label, shifted a little.
    predicted = label.masked_fill(label == 255, 0).roll((1, 2), (1, 2))
    assert counts.boundary is not None
    assert counts.calibration is not None
    assert result.confidence is not None
    boundary, calibration, confidence = counts.boundary, counts.calibration, result.confidence
    work: dict[str, Callable[[], object]] = {
        "network": lambda: network(as_input(image)),
        "plain": lambda: predict_classes(ready, image),
        "unsure": lambda: infer(unsure, image, config),
        "classes": lambda: infer(ready, image, config),
        "confidence": lambda: infer(ready, image, config, confidence=True),
        "confusion": lambda: counts.confusion.update(predicted, label),
        "boundary": lambda: boundary.update(predicted, label),
        "calibration": lambda: calibration.update(confidence, predicted, label),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    clock = time.thread_time if options.clock == "cpu" else time.perf_counter
    for turn in range(options.rounds + 2):
        for name, run in work.items():
            began = clock()
            run()
            if turn >= 2:
                times[name].append(clock() - began)
    once = [dict(zip(times, values, strict=True)) for values in zip(*times.values(), strict=True)]
    for round_ in once:
        round_["confidence"] -= round_["classes"]
        round_["metrics"] = round_["confusion"] + round_["boundary"]
        round_["default"] = round_["classes"] + round_["metrics"]
        round_["all"] = round_["default"] + round_["confidence"] + round_["calibration"]
    shares = {
        name: statistics.median(100 * round_[name] / round_["network"] for round_ in once)
        for name in (*PARTS, "metrics", "default", "all")
    }
    return {"network_ms": 1000 * statistics.median(times["network"]), **shares}


def confident(label: Tensor, like: Tensor) -> Tensor:
    """Logits (1,K,h,w) of a network that has learned: the label's class leads by 6, borders are blurred."""
    torch.manual_seed(0)
    coarse = F.interpolate(label.masked_fill(label == 255, 0)[None].float(), like.shape[-2:])[0].long()
    lead = 6 * F.one_hot(coarse, like.shape[1]).permute(0, 3, 1, 2).float()
    return F.avg_pool2d(lead, 3, 1, 1) + 0.5 * torch.randn_like(lead)


if __name__ == "__main__":
    main()
