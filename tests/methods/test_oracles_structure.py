"""IFVD, DSD and SKDS against numbers that the published code gave."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from oracles import VOID, arrays, assert_gradient, assert_value, cases
from torch import Tensor

from segdistill.core.outputs import SegOutput
from segdistill.methods import Method, create_method

every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def every_case(file: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases(file), ids=lambda case: case["title"])


class Oracle:
    """The arrays of one case in one precision."""

    def __init__(self, file: str, case: dict[str, Any], dtype: torch.dtype) -> None:
        self.file, self.case, self.dtype = file, case["id"], dtype

    def __call__(self, key: str) -> Tensor:
        return torch.from_numpy(arrays(self.file)[f"{self.case}/{key}"]).to(self.dtype)

    def labels(self) -> Tensor:
        return torch.from_numpy(arrays(self.file)[f"{self.case}/in/labels"]).long()

    def check(self, term: str, got: Tensor, inputs: dict[str, Tensor], rtol: float = 2e-5) -> None:
        """The value of `term` and its gradients at `inputs`, those that are stored."""
        assert_value(got, self.file, f"{self.case}/val/{term}", rtol=rtol)
        gradients = torch.autograd.grad(got, list(inputs.values()), retain_graph=True, allow_unused=True)
        for name, gradient in zip(inputs, gradients, strict=True):
            key = f"{self.case}/grad/{term}/{name}"
            if key in arrays(self.file):
                assert_gradient(gradient, self.file, key, floor=1e-8)


def _output(logits: Tensor, embedding: Tensor | None = None, auxiliary: Tensor | None = None) -> SegOutput:
    embedding = logits if embedding is None else embedding
    return SegOutput(logits=logits, embedding=embedding, features=(), auxiliary=auxiliary)


def _make(name: str, student: SegOutput, teacher: SegOutput, classes: int, **options: Any) -> Method:
    made = create_method(name, student=student, teacher=teacher, num_classes=classes, **options)
    return made.to(student.logits.dtype)


@every_dtype
@every_case("ifvd")
def test_ifvd_equals_the_published_code(case: dict[str, Any], dtype: torch.dtype) -> None:
    oracle = Oracle("ifvd", case, dtype)
    f_s, f_t = oracle("in/feat_s").requires_grad_(), oracle("in/feat_t")
    method = _make("ifvd", _output(f_s), _output(f_t), case["hp"]["num_classes"], weight=1, as_published=True)
    oracle.check("ifvd", method(_output(f_s), _output(f_t), oracle.labels())["ifvd"], {"feat_s": f_s})


def test_ifvd_leaves_void_out_of_the_mean() -> None:
    case = json.loads(str(arrays("ifvd")["meta"]))["cases"][0]
    oracle = Oracle("ifvd", case, torch.float64)
    student, teacher, label = _output(oracle("in/feat_s")), _output(oracle("in/feat_t")), oracle.labels()
    default, published = (
        _make("ifvd", student, teacher, 5, as_published=flag)(student, teacher, label)["ifvd"] for flag in (False, True)
    )
    labelled = oracle("aux/labels_small") != VOID
    assert 0 < labelled.sum() < labelled.numel()
    torch.testing.assert_close(default, published / labelled.double().mean())


def test_ifvd_keeps_no_feature_map_a_class() -> None:
    """150 classes: all that is kept for the backward pass is a few times the embedding."""
    f_s, f_t = torch.randn(1, 256, 64, 64, requires_grad=True), torch.randn(1, 256, 64, 64)
    method = _make("ifvd", _output(f_s), _output(f_t), 150)
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        method(_output(f_s), _output(f_t), torch.randint(0, 150, (1, 512, 512)))
    assert sum(kept.values()) < 4 * f_s.untyped_storage().nbytes()


@every_dtype
@every_case("dsd")
def test_dsd_equals_the_published_code(case: dict[str, Any], dtype: torch.dtype) -> None:
    oracle = Oracle("dsd", case, dtype)
    inputs = {name: oracle(f"in/{name}").requires_grad_() for name in case["inputs"] if name.endswith("_s")}
    student = _output(inputs["logits_s"], inputs["feat_s"], inputs.get("aux_s"))
    auxiliary = oracle("in/aux_t") if "aux_t" in case["inputs"] else None
    teacher = _output(oracle("in/logits_t"), oracle("in/feat_t"), auxiliary)
    classes = student.logits.shape[1]
    method = _make("dsd", student, teacher, classes, psd_weight=1, csd_weight=1, as_published=True)
    label = torch.full((len(student.logits), 40, 40), VOID)  # the published code knows no labels
    got = method(student, teacher, label)
    oracle.check("psd", got["dsd/psd"], inputs)
    oracle.check("csd", got["dsd/csd"], inputs, rtol=1e-4)
    part = "psd_pairs01_12_over3"
    if part in case["terms"]:  # without the pair of equal maps, a constant, and with its gradient
        stored = arrays("dsd")
        constant = float(stored[f"{case['id']}/val/psd"] - stored[f"{case['id']}/val/{part}"])
        oracle.check(part, got["dsd/psd"] - constant, inputs)


@every_dtype
@pytest.mark.parametrize(
    ("term", "options"),
    [
        ("cirkd_pool2", {"places": "dense"}),
        ("cirkd_pool2", {"places": "dense", "as_published": False}),
        ("official_scale0.5", {"places": "regions"}),
        ("official_scale0.25", {"places": "regions", "region": 0.25}),
    ],
)
@every_case("skd")
def test_skds_pairs_equal_the_published_code(
    case: dict[str, Any], term: str, options: dict[str, Any], dtype: torch.dtype
) -> None:
    oracle = Oracle("skd", case, dtype)
    f_s, f_t = oracle("in/feat_s").requires_grad_(), oracle("in/feat_t")
    logits = torch.zeros(len(f_s), 3, *f_s.shape[-2:], dtype=dtype)
    student, teacher = _output(logits, f_s), _output(logits, f_t)
    method = _make("skds", student, teacher, 3, pair_weight=1, **{"as_published": True, **options})
    label = torch.full((len(f_s), 40, 40), VOID) if options.get("as_published", True) else None
    oracle.check(term, method(student, teacher, label)["skds/pair"], {"feat_s": f_s})


@every_dtype
@pytest.mark.parametrize(("places", "term"), [("regions", "skd_pixelwise"), ("dense", "cirkd")])
@every_case("skd_pixels")
def test_skds_pixels_equal_the_published_code(case: dict[str, Any], places: str, term: str, dtype: torch.dtype) -> None:
    oracle = Oracle("skd_pixels", case, dtype)
    z_s, z_t = oracle("in/logits_s").requires_grad_(), oracle("in/logits_t")
    student, teacher = _output(z_s), _output(z_t)
    method = _make("skds", student, teacher, z_s.shape[1], places=places, pixel_weight=1, as_published=True)
    if term == "cirkd":
        method.kd.temperature = case["hp"]["temperature"]  # no option: the published weights are for 1
    oracle.check(term, method(student, teacher, None)["skds/pixel"], {"logits_s": z_s})


@pytest.mark.parametrize("places", ["regions", "dense"])
def test_skds_leaves_void_places_out(places: str) -> None:
    """The pairs of a map whose right half is void are those of its left half."""
    f_s, f_t = (torch.randn(2, c, 8, 12, dtype=torch.float64) for c in (6, 9))
    z_s, z_t = (torch.randn(2, 3, 8, 12, dtype=torch.float64) for _ in range(2))
    label = torch.zeros(2, 32, 48, dtype=torch.long)
    label[:, :, 24:] = VOID
    # The windows must be those of the whole map: half of it in "regions", which is 4 x 6 positions.
    region = 0.5 if places == "dense" else 1.0
    whole = _make("skds", _output(z_s, f_s), _output(z_t, f_t), 3, places=places)
    left = _make("skds", _output(z_s, f_s), _output(z_t, f_t), 3, places=places, region=region)
    got = whole(_output(z_s, f_s), _output(z_t, f_t), label)["skds/pair"]
    if places == "regions":  # 2 x 2 regions, of which the left two stay
        halves = [f[..., :6].reshape(2, -1, 2, 4, 6).transpose(1, 2).flatten(0, 1).amax((2, 3)) for f in (f_s, f_t)]
        units = [torch.nn.functional.normalize(h, dim=1).reshape(2, 2, -1) for h in halves]
        want = 0.5 * (units[0] @ units[0].mT - units[1] @ units[1].mT).square().mean()
    else:
        crops = [_output(z[..., :6], f[..., :6]) for z, f in ((z_s, f_s), (z_t, f_t))]
        want = left(*crops, None)["skds/pair"]
    torch.testing.assert_close(got, want)
