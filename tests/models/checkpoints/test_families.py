"""OpenMMLab's files of the deployed networks: their names, and their numbers."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filling import FIXTURES, filled
from torch import Tensor

from segdistill.core.errors import CheckpointError
from segdistill.models.build import outline
from segdistill.models.checkpoints.published import as_layout, read_published
from segdistill.models.segmenter import Segmenter
from segdistill.models.zoo import resolve_spec

FACTS: dict[str, Any] = json.loads((FIXTURES / "deployed.json").read_text())
"""Of each network: classes, parameters, tensors and a digest of their published names and shapes."""
WITH_OUTPUTS = ["ddrnet_23_slim", "pidnet_s", "stdc1", "fast_scnn", "lraspp_mv3_large", "upernet_r18"]


def _outlined(name: str) -> Segmenter:
    made = outline(resolve_spec({"name": name}), FACTS[name]["num_classes"])
    assert isinstance(made, Segmenter)
    return made


@pytest.mark.parametrize("name", FACTS)
def test_tensors_have_the_published_names_and_shapes(name: str) -> None:
    network = _outlined(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == FACTS[name]["parameters"]
    names = as_layout(network, "openmmlab")
    assert len(names) == FACTS[name]["tensors"]
    lines = "".join(f"{key} {tuple(names[key].shape)}\n" for key in sorted(names))
    assert hashlib.sha256(lines.encode()).hexdigest() == FACTS[name]["digest"]


def _published(name: str, shared: Path) -> list[tuple[str, tuple[int, ...], str]]:
    """Name, shape and number type of each published tensor."""
    lines = (shared / "oracles" / "keys" / f"{name}.txt").read_text().splitlines()
    return [(key, ast.literal_eval(size), kind) for key, size, kind in (line.split("\t") for line in lines)]


def _opened(state: dict[str, Tensor], folder: Path) -> tuple[Segmenter, str | None]:
    torch.save({"state_dict": state}, folder / "file.pth")
    published = read_published(folder / "file.pth")
    network = published.load().network
    assert isinstance(network, Segmenter)
    return network, published.spec.name


@pytest.mark.parametrize("name", FACTS)
def test_every_tensor_comes_in_and_goes_out_again(name: str, tmp_path: Path, shared: Path) -> None:
    state = {
        key: torch.empty(size).uniform_() if kind == "torch.float32" else torch.ones(size, dtype=torch.int64)
        for key, size, kind in _published(name, shared)
    }
    network, zoo_name = _opened(state, tmp_path)
    assert zoo_name == name
    again = as_layout(network, "openmmlab")
    assert set(again) == set(state)
    assert all(again[key].shape == value.shape and torch.equal(again[key], value) for key, value in state.items())


@pytest.mark.parametrize("name", WITH_OUTPUTS)
def test_outputs_equal_the_reference(name: str, tmp_path: Path, shared: Path) -> None:
    models = shared / "oracles" / "models"
    facts = json.loads((models / "index.json").read_text())[name]
    state = filled([entry[:2] for entry in _published(name, shared)], seed=facts["seed"], gamma=facts["gamma"])
    network, _ = _opened(state, tmp_path)
    network.mean.zero_()
    network.std.fill_(1)  # the reference's input is normalised already
    with np.load(models / f"{name}.npz") as reference, torch.no_grad():
        output = network(torch.from_numpy(reference["input"]))
        heads = [each(output.features, torch.nn.Identity()) for each in network.auxiliary_heads]
        if network.auxiliary is not None and network.auxiliary_classifier is not None:
            heads.append(network.auxiliary_classifier(network.auxiliary(output.features)))
        ours = {"logits": output.logits} | {f"aux{i}": logits for i, logits in enumerate(heads)}
        assert {key for key in reference.files if key.startswith("aux")} <= set(ours)
        for key in {"logits", *ours} & set(reference.files):
            assert tuple(ours[key].shape) == reference[key].shape, key
            error = np.abs(ours[key].numpy() - reference[key]).max() / np.abs(reference[key]).max()
            assert error < 1e-4, f"{key} differs by {error:.1e} of its largest value"


@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("ddrnet_23_slim", "backbone.stem.0.conv.weight", "No DDRNet"),
        ("pidnet_s", "backbone.spp.scales.0.conv.weight", "No PIDNet"),
    ],
)
def test_a_size_that_is_none_of_the_family_is_named(name: str, key: str, words: str, tmp_path: Path) -> None:
    state = {key: torch.zeros(each.shape) for key, each in as_layout(_outlined(name), "openmmlab").items()}
    state[key] = torch.zeros(24, *state[key].shape[1:])
    torch.save(state, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match=words):
        read_published(tmp_path / "file.pth")
