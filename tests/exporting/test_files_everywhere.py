"""Exported files in every verb, INT8, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import segdistill
from segdistill.cli.main import app
from segdistill.cli.tables.exporting import int8_lines
from segdistill.commands.demo import demo_networks, demo_page
from segdistill.core.errors import CheckpointError, RecipeError, SegdistillError
from segdistill.evaluation.settings import InferenceConfig
from segdistill.exporting.benchmark_result import Benchmark
from segdistill.exporting.folder import assembled
from segdistill.exporting.measuring import Latency
from segdistill.exporting.profile import FileProfile
from segdistill.exporting.result import Int8Report
from segdistill.models.exported.network import Exported
from segdistill.models.identify import identify
from segdistill.reporting.page.exports import exports


def test_the_table_has_a_row_for_the_run_and_each_file(benchmark: Benchmark, files: Path) -> None:
    rows = {row.name: row for row in benchmark.rows}
    assert list(rows) == [
        "student", "student.onnx", "student.int8.onnx", "student.xml", "student.int8.xml", "student.pt2",
    ]  # fmt: skip
    for name, row in rows.items():
        assert row.latency[1].low <= row.latency[1].median <= row.latency[1].high
        if "int8" not in name:
            assert row.miou == pytest.approx(rows["student"].miou, abs=0.02)
            assert row.edge_miou == pytest.approx(rows["student"].edge_miou, abs=0.02)
    for float_name, int8_name in (("student.onnx", "student.int8.onnx"), ("student.xml", "student.int8.xml")):
        assert rows[int8_name].megabytes < 0.8 * rows[float_name].megabytes
        assert rows[int8_name].drop == pytest.approx(rows["student"].miou - rows[int8_name].miou)
    assert json.loads((files / "benchmark.json").read_text(encoding="utf-8"))["table"]["cells"] == benchmark.cells()
    assert "| student.int8.onnx | onnxruntime |" in (files / "benchmark.md").read_text(encoding="utf-8")


def test_the_table_lies_beside_what_was_exported_and_on_the_page(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("export"))
    segdistill.export(tmp_path / "run", "outputs=logits")
    before = (tmp_path / "run" / "export" / "student.onnx").read_bytes()
    segdistill.benchmark(tmp_path / "run", "formats=onnx", "int8=false", runs=1, quiet=True)
    assert (tmp_path / "run" / "export" / "student.onnx").read_bytes() == before
    table = exports(tmp_path / "run")
    assert table is not None
    assert [row[0] for row in table.rows] == ["student", "student.onnx"]


def test_int8_is_quantized_with_a_scale_a_channel_and_its_scores_stay_float(files: Path) -> None:
    model = onnx.load(files / "student.int8.onnx")
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("QuantizeLinear") > 5
    weights = {each.name: each for each in model.graph.initializer}
    scales = [
        onnx.numpy_helper.to_array(weights[node.input[1]])
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[1] in weights
    ]
    assert any(scale.ndim == 1 and scale.size > 1 for scale in scales)
    makers = {name: node for node in model.graph.node for name in node.output}
    (argmax,) = (node for node in model.graph.node if node.op_type == "ArgMax")
    assert makers[argmax.input[0]].op_type == "Resize"  # not a DequantizeLinear: ties would fall to the lower class


def test_evaluate_scores_a_file_as_its_run(run: Path, files: Path) -> None:
    expected = segdistill.evaluate(run, quiet=True).quality
    for name in ("student.onnx", "student.pt2"):
        quality = segdistill.evaluate(files / name, quiet=True).quality
        assert quality.scores.miou == pytest.approx(expected.scores.miou, abs=0.02)
        assert quality.boundary is not None
        assert expected.boundary is not None
        assert quality.boundary.edge_miou == pytest.approx(expected.boundary.edge_miou, abs=0.05)


def test_a_file_of_classes_refuses_what_needs_scores(files: Path, small: Path, run: Path) -> None:
    for words in (["inference.flip=true"], ["calibration=true"]):
        with pytest.raises(RecipeError, match=r"gives classes, not scores.*outputs=logits"):
            segdistill.evaluate(files / "student.onnx", *words, quiet=True)
    data = ["streets", "data.size=[48,80]", "data.count=3", "workers=0", "inference.flip=true"]
    flipped = segdistill.evaluate(small / "student.onnx", *data, quiet=True).scores.miou
    assert flipped == pytest.approx(segdistill.evaluate(run, *data, quiet=True).scores.miou, abs=0.05)


def test_predict_profile_show_and_identify_take_files(run: Path, files: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photo)
    masks = []
    for weights in (run, files / "student.onnx", files / "student.xml"):
        (done,) = segdistill.predict(weights, photo, out=tmp_path / Path(weights).name)
        masks.append(np.array(Image.open(done.mask)))
    assert (masks[0] == masks[1]).mean() > 0.999
    assert (masks[0] == masks[2]).mean() > 0.999
    with pytest.raises(RecipeError, match=r"batch=16 has no meaning for .*one image is timed"):
        segdistill.profile(files / "student.int8.onnx", batch=16)
    profile = segdistill.profile(files / "student.int8.onnx", runs=2)
    assert isinstance(profile, FileProfile)
    assert (profile.runtime, profile.precision, profile.size) == ("onnxruntime", "int8", (48, 80))
    assert profile.megabytes == pytest.approx((files / "student.int8.onnx").stat().st_size / 1e6)
    (picture,) = segdistill.show(files / "student.int8.onnx", what=["compare"], images=[0], out=tmp_path / "pictures")
    assert picture.is_file()
    slide = ["inference.mode=slide", "inference.crop=32x32"]  # a file of classes has no scores to average
    assert segdistill.show(files / "student.onnx", *slide, what=["compare"], images=[0], out=tmp_path / "more")
    assert identify(files / "student.xml") == Exported(files / "student.xml")


def test_a_file_of_one_size_and_its_int8_on_the_command_line(run: Path, tmp_path: Path) -> None:
    """The status says whether INT8 lost more than was allowed; images of other sizes are resized for the file."""
    words = ["size=48x80", "int8=true", "images=3", "seed=1", "max_drop=0", "outputs=logits", f"out={tmp_path}"]
    done = CliRunner().invoke(app, ["export", str(run), *words, "--json"])
    written = json.loads(done.stdout)
    report = written["int8"]
    assert done.exit_code == (1 if report["int8_miou"] < report["float_miou"] else 0)
    assert report["passed"] == (done.exit_code == 0)
    assert (report["images"], report["validation"], report["size"]) == (3, 6, [48, 80])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "export.json", "run_onnx.py", "student.int8.onnx", "student.onnx",
    ]  # fmt: skip
    for name, miou in (("student.onnx", report["float_miou"]), ("student.int8.onnx", report["int8_miou"])):
        data = ["streets", "data.size=[48,80]", "data.count=6", "workers=0"]
        assert segdistill.evaluate(tmp_path / name, *data, quiet=True).scores.miou == pytest.approx(miou, abs=0.01)
    network = segdistill.load_model(tmp_path / "student.onnx")
    image = torch.rand(2, 3, 96, 160)
    halved = torch.nn.functional.interpolate(image, (48, 80), mode="bilinear", antialias=True)
    torch.testing.assert_close(network(image).logits, scores_of(run, halved), rtol=1e-3, atol=1e-3)


def scores_of(run: Path, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits = segdistill.load_model(run)(image).logits
    return torch.nn.functional.interpolate(logits, image.shape[-2:], mode="bilinear")


def test_an_int8_file_that_loses_or_is_slower_is_called_so() -> None:
    report = Int8Report(8, 0, "minmax", 6, 50.0, 48.5, 1.0, Latency(2, 1, 3), Latency(4, 3, 5), (48, 80), 1)
    assert (report.drop, report.passed) == (1.5, False)
    lines = " ".join(int8_lines(report))
    assert "MORE than max_drop=1" in lines
    assert "smaller but SLOWER" in lines


def test_bad_files_are_refused_in_a_sentence(run: Path, files: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes((files / "student.onnx").read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"Can't read .*damaged\.onnx with onnxruntime"):
        segdistill.load_model(damaged)
    foreign = onnx.load(files / "student.onnx")
    del foreign.metadata_props[:]
    onnx.save_model(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(CheckpointError, match=r"metadata has no key 'segdistill'.*segdistill export"):
        segdistill.load_model(tmp_path / "foreign.onnx")
    foreign.metadata_props.add(key="segdistill", value='{"format": "segdistill export 9"}')
    onnx.save_model(foreign, tmp_path / "later.onnx")
    with pytest.raises(CheckpointError, match="of another version"):
        segdistill.load_model(tmp_path / "later.onnx")
    with pytest.raises(CheckpointError, match="No file"):
        segdistill.load_model(tmp_path / "nothing.onnx")
    with pytest.raises(CheckpointError, match="is an exported file, not a file to fill one from"):
        segdistill.load_checkpoint(torch.nn.Identity(), files / "student.onnx")


def test_what_can_not_be_exported_is_refused_in_a_sentence(run: Path, files: Path, tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    with pytest.raises(CheckpointError, match="Is it a finished run"):
        segdistill.export(tmp_path / "begun")
    with pytest.raises(RecipeError, match="is an exported file already"):
        segdistill.export(files / "student.onnx")
    with pytest.raises(RecipeError, match=r"'size'.*HEIGHTxWIDTH"):
        segdistill.export(run, "size=big")
    with pytest.raises(RecipeError, match=r"more than 8192x8192 pixels"):
        segdistill.export(run, "size=100000x100000")
    with pytest.raises(RecipeError, match=r"Unknown key 'formt'.*format"):
        segdistill.export(run, formt="onnx")
    with pytest.raises(RecipeError, match=r"fp16 and int8 are for format=onnx"):
        segdistill.export(run, format="torch", int8=True)
    (tmp_path / "file").touch()
    with pytest.raises(SegdistillError, match="Can't write to the folder"):
        segdistill.export(run, out=tmp_path / "file" / "out")


def test_a_missing_package_is_named(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RecipeError, match=r"package onnxruntime.*pip install 'segdistill\[export\]'"):
        segdistill.load_model(files / "student.onnx")


def _interrupted(out: Path) -> None:
    with assembled(out) as aside:
        (aside / "student.onnx").write_bytes(b"half")
        raise KeyboardInterrupt


def test_an_interrupted_export_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "made" / "out"
    with pytest.raises(KeyboardInterrupt):
        _interrupted(out)
    assert list(tmp_path.iterdir()) == []
    out.mkdir(parents=True)
    (out / "student.onnx").write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        _interrupted(out)
    assert [path.read_bytes() for path in out.iterdir()] == [b"before"]


@pytest.mark.parametrize(
    ("entry", "change"),
    [
        ("model_weights_config.json", lambda text: text.replace('"use_pickle": false', '"use_pickle": true', 1)),
        ("model.json", lambda text: text.replace("Symbol('s", "__import__('s", 1)),
        ("model.json", lambda text: text.replace("positive=True", "positive=open('x')", 1)),
        ("model.pt", lambda text: "pickle"),
    ],
)
def test_a_pt2_file_that_would_run_code_is_refused(files: Path, tmp_path: Path, entry: str, change: object) -> None:
    changed = tmp_path / "changed.pt2"
    with zipfile.ZipFile(files / "student.pt2") as source, zipfile.ZipFile(changed, "w") as target:
        names = [name for name in source.namelist() if name.endswith(entry)]
        assert len(names) == 1
        for name in source.namelist():
            content = source.read(name)
            if name in names:
                altered = change(content.decode())  # type: ignore[operator]
                assert altered != content.decode()
                content = altered.encode()
            target.writestr(name, content)
    with pytest.raises(CheckpointError, match="could run code of whoever wrote it"):
        segdistill.load_model(changed)


def test_sigterm_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom segdistill.exporting.folder import assembled\n"
        "with assembled(Path(sys.argv[1])) as aside:\n"
        "    (aside / 'student.onnx').touch()\n    print('begun', flush=True)\n    time.sleep(60)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "made" / "out")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_export_left_goes_with_the_next(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    left, living = (tmp_path / f".export.{number}.part" for number in (gone.pid, os.getppid()))
    for folder in (left, living):
        folder.mkdir()
        (folder / "student.onnx").write_bytes(b"half")
    with assembled(tmp_path) as aside:
        (aside / "new.onnx").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([living.name, "new.onnx"])


def test_the_demo_shows_the_files_of_a_run_and_its_network(run: Path, files: Path) -> None:
    model, networks = demo_networks(run, [])
    assert list(networks) == ["student.onnx", "student.xml", "student.int8.onnx", "student.int8.xml", "student"]
    assert networks["student"] is model.network
    _, alone = demo_networks(files / "student.onnx", [])
    assert list(alone) == ["student"]
    with pytest.raises(RecipeError, match="Only a run folder has a recipe"):
        demo_networks(files / "student.onnx", ["data.root=x"])


def test_the_demo_runs_whole_images_bordered_as_the_run_says(run: Path) -> None:
    page, _ = demo_page(run, "inference.size_divisor=8", "inference.align_corners=true", "inference.flip=true")
    page.close()
    assert page.inference == InferenceConfig(size_divisor=8, align_corners=True)
