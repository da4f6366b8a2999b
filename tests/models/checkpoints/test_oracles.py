"""OpenMMLab's networks: their names, and their numbers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from filling import FIXTURES, INDEX, NAMES, oracle_input, oracle_state
from torch import Tensor

from segdistill.models.checkpoints.published import as_layout, read_published
from segdistill.models.segmenter import Segmenter

ZOO_NAMES = {
    "deeplabv3plus_mv2_bpkdcity": "deeplabv3plus_mv2_city",
    "deeplabv3plus_mv2_mmseg": "deeplabv3plus_mv2",
    "fcn_hr18s": "hrnet_w18s",
    "fcn_hr48": "hrnet_w48",
}


def _opened(state: dict[str, Tensor], folder: Path) -> tuple[Segmenter, str | None]:
    torch.save({"state_dict": state, "meta": {}}, folder / "file.pth")
    published = read_published(folder / "file.pth")
    network = published.load().network
    assert isinstance(network, Segmenter)
    return network, published.spec.name


def _digest(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(state):
        if not key.endswith("num_batches_tracked"):
            digest.update(key.encode() + state[key].numpy().astype("<f4").tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_comes_in_and_goes_out_again(name: str, tmp_path: Path) -> None:
    noise = torch.Generator().manual_seed(0)  # the reference's filling takes longer than all that is tested here
    deep = any(part in name for part in ("r101", "hr48", "b4"))  # of these a file holds one number a tensor
    state = {
        key: torch.tensor(7)
        if key.endswith("num_batches_tracked")
        else torch.rand(1 if deep else size, generator=noise).expand(size)
        for key, size in NAMES[name]
    }
    network, zoo_name = _opened(state, tmp_path)
    assert zoo_name == ZOO_NAMES.get(name, name)
    again = as_layout(network, "openmmlab")
    assert set(again) == set(state)
    assert all(again[key].shape == value.shape and torch.equal(again[key], value) for key, value in state.items())


@pytest.mark.parametrize("name", INDEX)
def test_outputs_equal_the_reference(name: str, tmp_path: Path) -> None:
    state = oracle_state(name)
    assert _digest(state) == INDEX[name]["state_dict_sha256"], "not what the reference was filled with"
    network, _ = _opened(state, tmp_path)
    assert sum(parameter.numel() for parameter in network.parameters()) == INDEX[name]["n_params"]
    network.mean.zero_()
    network.std.fill_(1)  # the reference's input is normalised already
    with torch.no_grad():
        output = network(oracle_input(INDEX[name]["seed"]))
        got = {f"stage{i + 1}": feature for i, feature in enumerate(output.features)} | {"logits": output.logits}
        if network.auxiliary is not None and network.auxiliary_classifier is not None:
            got["aux_logits"] = network.auxiliary_classifier(network.auxiliary(output.features))
    reference = np.load(FIXTURES / "outputs.npz")
    assert {key.split("/")[1] for key in reference.files if key.startswith(f"{name}/")} == set(got)
    for key, tensor in got.items():
        assert tuple(reference[f"{name}/{key}/shape"]) == tuple(tensor.shape), key
        flat = tensor.flatten().numpy()
        sampled = flat[np.random.RandomState(0).permutation(flat.size)[:256]]
        error = np.abs(sampled - reference[f"{name}/{key}"]).max() / reference[f"{name}/{key}/max"]
        assert error < 1e-4, f"{key} differs by {error:.1e} of its largest value"
