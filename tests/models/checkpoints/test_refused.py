"""Published files that are refused: what does not fit, would run code or is broken is named."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filling import oracle_state, written

import segdistill
from segdistill.core.errors import CheckpointError
from segdistill.models.open import create_model


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("backbone.layer2.0.conv1.weight"), "missing backbone.layer2.0.conv1.weight"),
        (lambda state: state.update({"decode_head.extra": torch.zeros(1)}), "surplus decode_head.extra"),
        (
            lambda state: state.update({"backbone.stem.3.weight": torch.zeros(32, 16, 3, 3)}),
            "backbone.stem.3.weight is (32, 16, 3, 3), the network has (32, 32, 3, 3)",
        ),
    ],
    ids=["missing", "surplus", "misshapen"],
)
def test_a_tensor_that_does_not_fit_is_named(change: Any, words: str, tmp_path: Path) -> None:
    state = oracle_state("pspnet_r18")
    change(state)
    network = create_model("pspnet_r18", 19)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = written(tmp_path, {"state_dict": state})
    with pytest.raises(CheckpointError) as error:
        segdistill.load_checkpoint(network, path)
    assert words in str(error.value)
    assert str(path) in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert words in segdistill.inspect(path).faults


def test_another_network_or_number_of_classes_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"state_dict": oracle_state("pspnet_r18")})
    with pytest.raises(CheckpointError, match="missing decode_head"):
        segdistill.load_checkpoint(create_model("isanet_r18", 19), path)
    with pytest.raises(CheckpointError, match="scores 19 classes, the network 150"):
        segdistill.load_checkpoint(create_model("pspnet_r18", 150), path)


class _Mischief:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("mischief"),))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "plain.pth").open("wb") as file:
        pickle.dump({"state_dict": {}, "meta": _Mischief()}, file)
    for path in (
        tmp_path / "plain.pth",
        written(tmp_path, {"state_dict": oracle_state("pspnet_r18"), "meta": _Mischief()}),
    ):
        with pytest.raises(CheckpointError, match="can run code"):
            segdistill.inspect(path)
    assert not (tmp_path / "mischief").exists()


def test_numbers_of_numpy_in_the_metadata_are_harmless(tmp_path: Path) -> None:
    meta = {"iter": np.float64(3.5), "seed": np.int64(3)}
    path = written(tmp_path, {"state_dict": oracle_state("pspnet_r18"), "meta": meta})
    assert segdistill.inspect(path).network == "pspnet_r18"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"state_dict": {"fc.weight": torch.zeros(2, 2)}}, "none of the layouts"),
        ({"epoch": 3}, "no tensors by name"),
        ([1, 2], "holds no tensors by name"),
    ],
    ids=["unknown", "no tensors", "no dictionary"],
)
def test_a_file_that_is_no_network_is_refused(content: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=words):
        segdistill.inspect(written(tmp_path, content))


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"state_dict": oracle_state("pspnet_r18")})
    path.write_bytes(path.read_bytes()[:10_000])
    with pytest.raises(CheckpointError, match=r"Can't read .*file\.pth"):
        segdistill.inspect(path)
    for text in ("hello\n", "# A page\n\nof text, which read as a pickle names a class.\n"):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=r"Can't read .*file\.pth: its bytes are not those of a torch file"):
            segdistill.inspect(path)
    path.write_bytes(b"\x80\x02\x87.")  # a tuple of three, of an empty stack
    with pytest.raises(CheckpointError, match=r"Can't read .*file\.pth: its bytes are not those of a torch file"):
        segdistill.inspect(path)
