"""What goes wrong in and around an export: a sentence, the right status, and the folder as it was."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from patches import Patches, patches
from torch import Tensor, nn

import segdistill
from segdistill.cli.main import main
from segdistill.core.errors import CheckpointError, RecipeError, SegdistillError
from segdistill.core.outputs import SegOutput
from segdistill.exporting.export import export_model
from segdistill.exporting.folder import assembled
from segdistill.exporting.settings import ExportSettings
from segdistill.models.loaded import LoadedModel


def status(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """The exit status of the command line."""
    monkeypatch.setattr(sys, "argv", ["segdistill", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code if isinstance(left.value.code, int) else 1


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A folder with the files of an earlier export."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("export.json", "student.onnx", "run_onnx.py", "patches.onnx"):
        (out / name).write_text(f"{name} of before")
    return out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["size=0x0"], "'size'"),
        (["size=abc"], "expected HEIGHTxWIDTH in pixels, as 512x1024"),
        (["size=100000x100000"], "more than 8192x8192 pixels"),
    ],
)
def test_a_size_that_is_none_is_refused_on_the_command_line(
    run: Path, earlier: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: list[str],
    sentence: str,
) -> None:  # fmt: skip
    before = content(earlier)
    assert status(monkeypatch, "export", run, f"out={earlier}", *words) == 1
    shown = capfd.readouterr()
    assert sentence in " ".join((shown.out + shown.err).split())
    assert "Traceback" not in shown.err
    assert content(earlier) == before


def test_an_unfinished_run_and_files_of_other_tools_end_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "recipe.yaml").write_text("data: {name: streets}\n")
    image = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 4, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", image[:1], image[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "foreign.onnx")
    torch.export.save(torch.export.export(nn.Conv2d(3, 3, 1), (torch.rand(1, 3, 4, 4),)), tmp_path / "foreign.pt2")
    (tmp_path / "foreign.xml").write_text("<annotations><version>1.1</version></annotations>")
    for words, sentence in (
        (["export", begun], "Is it a finished run"),
        (["benchmark", begun], "Is it a finished run"),
        (["predict", tmp_path / "foreign.onnx", tmp_path], "metadata has no key 'segdistill'"),
        (["predict", tmp_path / "foreign.pt2", tmp_path], "Expected a .pt2 file of `segdistill export`"),
        (["predict", tmp_path / "foreign.xml", tmp_path], "foreign.xml with OpenVINO: Unable to read the model"),
    ):
        assert status(monkeypatch, *words) == 1
        shown = " ".join(capfd.readouterr().err.split())
        assert sentence in shown
        assert "Traceback" not in shown


class Strict(Patches):
    """Takes images of multiples of 32 only, as networks with strides and skips that must meet."""

    def forward(self, image: Tensor) -> SegOutput:
        if image.shape[-2] % 32 or image.shape[-1] % 32:
            raise ValueError("sides must be multiples of 32")
        return super().forward(image)


@pytest.mark.parametrize("size", [None, "100x64"])
def test_a_size_that_the_network_refuses_ends_in_its_message(earlier: Path, size: str | None) -> None:
    before = content(earlier)
    model = LoadedModel(Strict().eval(), patches(*"abcd").classes, Path("strict"))
    with pytest.raises(SegdistillError, match=r"does not take images of .*: sides must be multiples of 32.*size="):
        export_model(model, ExportSettings(size=size), None, earlier, quiet=True)
    assert content(earlier) == before


@pytest.mark.parametrize("package", ["onnxruntime", "onnxscript"])
def test_a_missing_package_is_named_before_anything_is_traced(
    earlier: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    before = content(earlier)
    model = LoadedModel(Strict().eval(), patches(*"abcd").classes, Path("strict"))  # which can't be traced
    with pytest.raises(RecipeError, match=rf"package {package}.*pip install 'segdistill\[export\]'"):
        export_model(model, ExportSettings(), None, earlier, quiet=True)
    assert content(earlier) == before


@contextmanager
def files_of_at_most(count: int) -> Iterator[None]:
    """While entered, this process can write no larger file, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_a_full_disk_is_a_sentence_and_loses_nothing(earlier: Path, format: str) -> None:
    before = content(earlier)
    with files_of_at_most(5000), pytest.raises(SegdistillError, match=r"Can't write to the folder .*out=FOLDER"):
        export_model(patches(*"abcd", width=4000), ExportSettings(format=format), None, earlier, quiet=True)
    assert content(earlier) == before
    assert sorted(path.name for path in earlier.iterdir()) == sorted(before)


@contextmanager
def without_rights() -> Iterator[None]:
    """While entered, this process is nobody's if it was root's, who may write everywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(("mode", "below"), [(0o555, ""), (0o555, "new/out"), (0o000, ""), (0o000, "new/out")])
def test_a_folder_that_may_not_be_written_is_a_sentence(mode: int, below: str) -> None:
    with tempfile.TemporaryDirectory() as around:  # not pytest's, which only its user may look into
        Path(around).chmod(0o755)
        locked = Path(around) / "locked"
        locked.mkdir()
        locked.chmod(mode)
        with (
            without_rights(),
            pytest.raises(SegdistillError, match=r"Can't write to the folder .*Permission denied.*out=FOLDER"),
            assembled(locked / below),
        ):
            pass
        locked.chmod(0o755)
        assert list(locked.iterdir()) == []


def _bring_in(out: Path, *names: str) -> None:
    with assembled(out) as aside:
        for name in names:
            (aside / name).write_text("new")


def test_files_come_in_all_or_none(earlier: Path) -> None:
    before = content(earlier)
    (earlier / "z.onnx").mkdir()
    with pytest.raises(SegdistillError, match=r"A folder has the name of a file.*as it was"):
        _bring_in(earlier, "a.onnx", "student.onnx", "z.onnx")
    assert content(earlier) == before
    (earlier / "z.onnx").rmdir()
    _bring_in(earlier, "student.onnx")
    assert content(earlier) == {**before, "student.onnx": b"new"}
    assert sorted(path.name for path in earlier.iterdir()) == sorted(before)


@pytest.mark.parametrize(("number", "left_with"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_loses_nothing(
    run: Path, earlier: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], number: int,
    left_with: int,
) -> None:  # fmt: skip
    before = content(earlier)

    def send() -> None:
        while not list(earlier.glob(".export.*.part")):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    assert status(monkeypatch, "export", run, f"out={earlier}") == left_with
    sender.join()
    assert content(earlier) == before
    assert sorted(path.name for path in earlier.iterdir()) == sorted(before)
    shown = capfd.readouterr()
    assert "Traceback" not in shown.err
    assert ("Stopped." in shown.out + shown.err) == (number == signal.SIGINT)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_that_other_code_drops_ends_the_export(
    earlier: Path, number: int, raised: type[BaseException]
) -> None:
    before = content(earlier)

    def write() -> None:
        with assembled(earlier) as aside:
            (aside / "student.onnx").write_bytes(b"new")
            with suppress(BaseException):
                signal.raise_signal(number)

    with pytest.raises(raised):
        write()
    assert content(earlier) == before


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of each format."""
    out = tmp_path_factory.mktemp("written")
    for format in ("onnx", "openvino", "torch"):
        export_model(patches(*"abcd"), ExportSettings(format=format), None, out, quiet=True)
    return out


@pytest.mark.parametrize(("kind", "described"), [("cut", False), ("empty", False), ("cut", True), ("flipped", True)])
@pytest.mark.parametrize("name", ["network.onnx", "network.xml", "network.bin", "network.pt2"])
def test_a_damaged_file_is_refused(written: Path, tmp_path: Path, name: str, kind: str, described: bool) -> None:
    """With `export.json` beside it by its checksum; alone by what reads it, which a flipped byte can pass."""
    for part in {name, "network.xml", "network.bin", *(["export.json"] if described else [])}:
        shutil.copyfile(written / part, tmp_path / part)
    damaged = bytearray((tmp_path / name).read_bytes())
    if kind == "flipped":
        damaged[len(damaged) // 2] ^= 255
    (tmp_path / name).write_bytes(damaged[: {"cut": len(damaged) // 2, "empty": 0, "flipped": len(damaged)}[kind]])
    opened = tmp_path / name.replace(".bin", ".xml")
    with pytest.raises(CheckpointError, match="checksum is not the one" if described else "Can't read .*network"):
        segdistill.load_model(opened)
