"""The adversary against the published discriminator; its parameters are too large to keep here, so they are shared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from segdistill.core.outputs import SegOutput
from segdistill.methods import create_method
from segdistill.methods.adversary import Adversary, gradient_penalty

LAYERS = {"l1.0.module": "layers.0", "l2.0.module": "layers.2", "l3.0.module": "layers.4", "l4.0.module": "layers.7"}
NAMES = {
    "preprocess_additional.": "norm.",
    **{f"{official}.{old}": f"{ours}.{new}" for official, ours in LAYERS.items()
       for old, new in (("weight_bar", "weight"), ("weight_u", "u"), ("bias", "bias"))},
    **{f"attn{n}.{part}": f"layers.{place}.{part.removesuffix('_conv')}" for n, place in ((1, 6), (2, 9))
       for part in ("gamma", "query_conv", "key_conv", "value_conv")},
    "last.0": "layers.10",
}  # fmt: skip


Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def arrays(shared: Path) -> Arrays:
    with np.load(shared / "oracles" / "losses" / "adv.npz") as content:
        return dict(content)


def _own(name: str) -> str:
    for old, new in NAMES.items():
        if name.startswith(old):
            return name.replace(old, new)
    return ""


def _parameters(arrays: Arrays) -> dict[str, Tensor]:
    parameters = {}
    for key, value in arrays.items():
        if key.startswith("shared/param/"):
            parameters[_own(key.removeprefix("shared/param/"))] = torch.from_numpy(value).double()
        elif key.startswith("shared/param_q/"):
            name = key.removeprefix("shared/param_q/")
            parameters[_own(name)] = torch.from_numpy(value).double() * 2.0 ** float(arrays[f"shared/param_exp/{name}"])
    parameters.pop("", None)
    return parameters


def _output(logits: Tensor) -> SegOutput:
    return SegOutput(logits=logits, embedding=logits, features=())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", ["c0", "c1", "c2", "c3"])
def test_the_adversary_equals_the_published_code(case: str, dtype: torch.dtype, arrays: Arrays) -> None:
    hp: dict[str, Any] = next(c for c in json.loads(str(arrays["meta"]))["cases"] if c["id"] == case)["hp"]
    z_s, z_t = (torch.from_numpy(arrays[f"{case}/in/logits_{role}"]).to(dtype) for role in "st")
    z_s.requires_grad_()
    made = create_method(
        "adversary", student=_output(z_s), teacher=_output(z_t), num_classes=5, loss=hp["adv_type"], weight=1,
        discriminator_weight=1, penalty=0, as_published=True,
    )  # fmt: skip
    assert isinstance(made, Adversary)
    parameters = _parameters(arrays)
    made.to(dtype).discriminator.load_state_dict(parameters, strict=False)
    missing = made.discriminator.state_dict().keys() - parameters.keys()
    assert missing == {"norm.num_batches_tracked"}
    made.discriminator.train(hp["bn_training"])
    if hp["adv_type"] == "hinge":
        terms = made(_output(z_s), _output(z_t), torch.full((len(z_s), 80, 80), 255))
        after = {name: value.clone() for name, value in made.discriminator.state_dict().items()}
    else:  # the penalty's pass comes after the three whose state is stored
        states: list[dict[str, Tensor]] = []
        made.discriminator.register_forward_hook(
            lambda d, *_: states.append({name: value.clone() for name, value in d.state_dict().items()})
        )
        terms = made(_output(z_s), _output(z_t), None)
        after = states[2]

    float64 = dtype == torch.float64
    for name, term in (("student", "G"), ("discriminator", "D")):
        want = float(arrays[f"{case}/val/{term}"])
        assert terms[f"adversary/{name}"].item() == pytest.approx(want, rel=1e-9 if float64 else 2e-5)
    names, weights = zip(*made.discriminator.named_parameters(), strict=True)
    (gradient,) = torch.autograd.grad(terms["adversary/student"], z_s, retain_graph=True)
    _close(gradient, arrays[f"{case}/grad/G/logits_s"])
    assert not any(torch.autograd.grad(terms["adversary/discriminator"], [z_s], allow_unused=True, retain_graph=True))
    if not float64:
        return
    for layer, ours in LAYERS.items():
        _close(after[f"{ours}.u"], arrays[f"{case}/state/after3/{layer}.weight_u"])
    _close(after["norm.running_var"], arrays[f"{case}/state/after3/bn_running_var"])
    _check(arrays, f"{case}/{{}}/D_clean_uv", names, torch.autograd.grad(terms["adversary/discriminator"], weights))
    if hp["adv_type"] == "wgan-gp":
        made.discriminator.load_state_dict(after)
        alpha = torch.from_numpy(arrays[f"{case}/in/alpha"]).double()
        penalty = 10 * gradient_penalty(made.discriminator, alpha * z_t + (1 - alpha) * z_s).mean()
        assert penalty.item() == pytest.approx(float(arrays[f"{case}/val/gp_after3"]), rel=1e-9)
        _check(arrays, f"{case}/{{}}/gp_after3", names, torch.autograd.grad(penalty, weights, allow_unused=True))


def _check(arrays: Arrays, key_of: str, names: tuple[str, ...], gradients: tuple[Tensor | None, ...]) -> None:
    """Gradients of the parameters, or their digests: length, sum and the first entries; key_of: {} stands for which."""
    by_name, checked = dict(zip(names, gradients, strict=True)), 0
    for key, stored in arrays.items():
        for kind in ("grad", "graddigest"):
            prefix = f"{key_of.format(kind)}/param."
            if not key.startswith(prefix):
                continue
            gradient = by_name[_own(key.removeprefix(prefix))]
            gradient = torch.zeros(stored.shape, dtype=torch.float64) if gradient is None else gradient
            if kind == "graddigest":
                first = gradient.flatten()[: len(stored) - 2]
                gradient = torch.cat([torch.stack([gradient.norm(), gradient.sum()]), first])
            _close(gradient, stored)
            checked += 1
    assert checked >= 20


def _close(got: Tensor, stored: np.ndarray) -> None:
    want = torch.from_numpy(stored).double()
    gap, largest = (got.double() - want).abs(), want.abs().max().item()
    if got.dtype == torch.float64:
        assert gap.max() <= max(1e-8 * largest, 1e-13)
    else:  # rounding moves single activations across the kink of the leaky ReLU
        assert (gap <= 1e-4 * largest).double().mean() > 0.98
        assert gap.max() <= 0.05 * largest
