"""What an exported student gives in other runtimes, beside onnxruntime: scores, classes and time, on one image.

    segdistill export RUN size=360x480 outputs=small out=files
    segdistill export RUN format=torch size=360x480 outputs=small out=files
    taskset --cpu-list 1 python benchmarks/runtimes.py files PHOTO ncnn|executorch|litert|coreml [--out results]

Each runtime has an environment of its own, with numpy, Pillow and onnxruntime beside it: ncnn and pnnx; torch and
executorch; torch and litert-torch; torch and coremltools, which converts here, and runs on a Mac only. taskset gives
all of them the same one core. Rows replace those of the same runtime in the JSON, and the table is made of it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

RESULTS = Path(__file__).parent / "results"
ROUNDS = 30

HEAD = """# An exported student in other runtimes

Made by `benchmarks/runtimes.py` (its text says how): each runtime in turn with onnxruntime in the same process, on one
core of an Intel(R) Xeon(R) Processor with AMX, the median of 30 passes over one image. difference: the largest of two
scores, and the largest score beside it; pixels: the share whose class differs. `mobile_pair`'s student alone (1,500
steps on CamVid), 360x480, `outputs=small`. Core ML packages run on a Mac only.
"""

Run = Callable[[np.ndarray], np.ndarray]
"""Scores (1,K,h,w) of an RGB image (1,3,H,W) in [0,1]."""


def size_of(folder: Path) -> tuple[int, int]:
    """(H,W) of the images that the files take."""
    height, width = json.loads((folder / "export.json").read_text())["size"]
    return height, width


def onnx(folder: Path) -> tuple[Run, Path]:
    """Of what all others are compared with."""
    session = onnxruntime.InferenceSession(folder / "student.onnx", providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"image": image})[0], folder / "student.onnx"


def ncnn(folder: Path) -> tuple[Run, Path]:
    """Weights in float32: pnnx writes them in float16 if it is not told otherwise."""
    import ncnn as runtime

    height, width = size_of(folder)
    work = folder / "ncnn"
    work.mkdir(exist_ok=True)
    source = work / "student.onnx"
    source.write_bytes((folder / "student.onnx").read_bytes())
    tool = Path(sys.executable).with_name("pnnx")
    words = [tool, source.name, f"inputshape=[1,3,{height},{width}]", "fp16=0"]
    subprocess.run(words, cwd=work, check=True, stdout=subprocess.DEVNULL)
    net = runtime.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    net.load_param(str(work / "student.ncnn.param"))
    net.load_model(str(work / "student.ncnn.bin"))

    def run(image: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("in0", runtime.Mat(image[0]))
        return np.array(extractor.extract("out0")[1])[None]

    return run, work / "student.ncnn.bin"


def executorch(folder: Path) -> tuple[Run, Path]:
    """By XNNPACK, in float32."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    program = torch.export.load(folder / "student.pt2")
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    path = folder / "student.pte"
    path.write_bytes(lowered.buffer)
    method = Runtime.get().load_program(path).load_method("forward")
    return lambda image: method.execute([torch.from_numpy(image)])[0].numpy(), path


def litert(folder: Path) -> tuple[Run, Path]:
    """By XNNPACK, in float32."""
    import litert_torch
    import torch
    from ai_edge_litert.interpreter import Interpreter

    height, width = size_of(folder)
    module = torch.export.load(folder / "student.pt2").module()
    path = folder / "student.tflite"
    litert_torch.convert(module, (torch.rand(1, 3, height, width),)).export(str(path))
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(taken["index"], image)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    return run, path


def coreml(folder: Path) -> tuple[None, Path]:
    """Written only; weights in float16, as is usual there."""
    import coremltools
    import torch

    program = torch.export.load(folder / "student.pt2").run_decompositions({})
    path = folder / "student.mlpackage"
    coremltools.convert(program, minimum_deployment_target=coremltools.target.iOS17).save(str(path))
    return None, path


PACKAGES = {"ncnn": "ncnn", "executorch": "executorch", "litert": "litert-torch", "coreml": "coremltools"}
MAKE: dict[str, Callable[[Path], tuple[Run | None, Path]]] = {
    "ncnn": ncnn, "executorch": executorch, "litert": litert, "coreml": coreml,
}  # fmt: skip


def measure(name: str, folder: Path, image: np.ndarray) -> dict[str, Any]:
    """What one runtime gives, and what it takes in turn with onnxruntime."""
    base, _ = onnx(folder)
    run, path = MAKE[name](folder)
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    row: dict[str, Any] = {
        "runtime": name, "version": version(PACKAGES[name]), "onnxruntime": version("onnxruntime"),
        "megabytes": sum(each.stat().st_size for each in files) / 1e6, "machine": platform.machine(),
    }  # fmt: skip
    if run is None:
        return row
    want, scores = base(image), run(image)
    seconds: dict[str, list[float]] = {"ms": [], "onnx_ms": []}
    for _ in range(ROUNDS):
        for key, each in (("ms", run), ("onnx_ms", base)):
            began = time.perf_counter()
            each(image)
            seconds[key].append(1000 * (time.perf_counter() - began))
    row |= {key: statistics.median(values) for key, values in seconds.items()}
    row |= {
        "difference": float(np.abs(scores - want).max()), "scale": float(np.abs(want).max()),
        "pixels": float((scores.argmax(1) != want.argmax(1)).mean()),
    }  # fmt: skip
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        HEAD,
        "| runtime | version | MB | largest difference | of | pixels | ms | onnxruntime ms |",
        "|---|" + "---|" * 7,
    ]
    for row in rows:
        cells = [row["runtime"], row["version"], f"{row['megabytes']:.1f}", "not run", "", "", "", ""]
        if "difference" in row:
            cells[3:6] = [f"{row['difference']:.1e}", f"{row['scale']:.1f}", f"{row['pixels']:.5f}"]
            cells[6:] = [f"{row['ms']:.1f}", f"{row['onnx_ms']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with student.onnx, student.pt2 and export.json")
    parser.add_argument("image", type=Path)
    parser.add_argument("runtime", choices=sorted(MAKE))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    height, width = size_of(options.folder)
    picture = Image.open(options.image).convert("RGB").resize((width, height))
    image = np.ascontiguousarray(np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255)
    row = measure(options.runtime, options.folder, image)
    file = options.out / "runtimes.json"
    rows = json.loads(file.read_text()) if file.exists() else []
    rows = sorted(
        [*(each for each in rows if each["runtime"] != row["runtime"]), row], key=lambda each: each["runtime"]
    )
    file.write_text(json.dumps(rows, indent=2) + "\n")
    (options.out / "runtimes.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
