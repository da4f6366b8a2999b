"""The losses against numbers that the published code gave, and against their definitions where void is left out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles import VOID, arrays, assert_gradient, assert_value, cases, tensor
from torch import Tensor

from segdistill.core.outputs import SegOutput, resize
from segdistill.methods import Method, create_method
from segdistill.methods.bpkd import soft_edges

DTYPES = [torch.float32, torch.float64]


def _output(logits: Tensor, embedding: Tensor | None = None) -> SegOutput:
    return SegOutput(logits=logits, embedding=logits if embedding is None else embedding, features=())


def _make(name: str, student: SegOutput, teacher: SegOutput, dtype: torch.dtype, **options: Any) -> Method:
    classes = student.logits.shape[1]
    return create_method(name, student=student, teacher=teacher, num_classes=classes, **options).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("as_published", [False, True])
@pytest.mark.parametrize("case", cases("kd"), ids=lambda case: case["title"])
def test_kd_equals_the_published_code(case: dict[str, Any], as_published: bool, dtype: torch.dtype) -> None:
    c = case["id"]
    student = _output(tensor("kd", f"{c}/in/logits_s", dtype).requires_grad_())
    teacher = _output(tensor("kd", f"{c}/in/logits_t", dtype))
    method = _make(
        "kd", student, teacher, dtype, temperature=case["hp"]["temperature"], weight=1, as_published=as_published
    )
    # The published code knows no labels: `as_published` must not look at the void ones.
    label = torch.full((len(student.logits), 40, 40), VOID) if as_published else None
    value = sum(method(student, teacher, label).values())
    value.backward()
    assert_value(value, "kd", f"{c}/val/cirkd")
    assert_gradient(student.logits.grad, "kd", f"{c}/grad/cirkd/logits_s")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("as_published", [False, True])
@pytest.mark.parametrize(
    "case", [c for c in cases("cwd") if c["hp"]["kind"] == "logits"], ids=lambda case: case["title"]
)
def test_cwd_of_logits_equals_the_published_code(case: dict[str, Any], as_published: bool, dtype: torch.dtype) -> None:
    c = case["id"]
    student = _output(tensor("cwd", f"{c}/in/logits_s", dtype).requires_grad_())
    teacher = _output(tensor("cwd", f"{c}/in/logits_t", dtype))
    method = _make(
        "cwd", student, teacher, dtype, temperature=case["hp"]["temperature"], weight=1, as_published=as_published
    )
    label = torch.full((len(student.logits), 40, 40), VOID) if as_published else None
    value = sum(method(student, teacher, label).values())
    value.backward()
    assert_value(value, "cwd", f"{c}/val/cirkd")
    assert_gradient(student.logits.grad, "cwd", f"{c}/grad/cirkd/logits_s")


@pytest.mark.parametrize("case", cases("kd"), ids=lambda case: case["title"])
def test_other_published_forms_of_kd_are_multiples_of_it(case: dict[str, Any]) -> None:
    c = case["id"]
    z_s, z_t = (tensor("kd", f"{c}/in/logits_{role}", torch.float64) for role in "st")
    temperature, (k, h, w) = case["hp"]["temperature"], z_s.shape[1:]

    def kd(s: Tensor, t: Tensor, **options: Any) -> Tensor:
        return _make("kd", _output(s), _output(t), torch.float64, **options)(_output(s), _output(t), None)["kd"]

    value = kd(z_s, z_t, temperature=temperature)
    assert_value(h * w * value, "kd", f"{c}/val/mmrazor_kl_batchmean")
    entropy = -(z_t.softmax(1) * z_t.log_softmax(1)).sum() / (h * w)  # SKD leaves the teacher's in
    assert_value(len(z_t) * kd(z_s, z_t, temperature=1) + entropy, "kd", f"{c}/val/skd_pixelwise")
    assert_value(value / temperature**2 / k, "kd", f"{c}/val/ifvd_cwd_elementmean")
    if f"{c}/val/ifvd_cwd_elementmean_up8" in arrays("kd"):
        large = (resize(z, (8 * h, 8 * w), align_corners=True) for z in (z_s, z_t))
        value = kd(*large, temperature=temperature)
        assert_value(value / temperature**2 / k, "kd", f"{c}/val/ifvd_cwd_elementmean_up8")


@pytest.mark.parametrize(
    "case", [c for c in cases("cwd") if c["hp"]["kind"] == "logits"], ids=lambda case: case["title"]
)
def test_other_published_forms_of_cwd(case: dict[str, Any]) -> None:
    c = case["id"]
    z_s, z_t = (tensor("cwd", f"{c}/in/logits_{role}", torch.float64) for role in "st")
    temperature = case["hp"]["temperature"]

    def made(name: str) -> Tensor:
        method = _make(name, _output(z_s), _output(z_t), torch.float64, temperature=temperature, weight=1)
        return method(_output(z_s), _output(z_t), None)[name]

    assert_value(made("kd"), "cwd", f"{c}/val/torchdistiller_spatial")
    for term in ("torchdistiller_channel", "mmrazor"):
        assert_value(made("cwd"), "cwd", f"{c}/val/{term}")
    log_t = F.log_softmax(z_t.flatten(2) / temperature, 2)
    entropy = -(log_t.exp() * log_t).sum() / (z_t.shape[0] * z_t.shape[1])
    assert_value(made("cwd") + temperature**2 * entropy, "cwd", f"{c}/val/mmseg_distiller_ce_form")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("term", "as_published"), [("cirkd", True), ("paper_divisor", False)])
@pytest.mark.parametrize(
    "case", [c for c in cases("cwd") if c["hp"]["kind"] == "feature"], ids=lambda case: case["title"]
)
def test_cwd_of_the_embedding_equals_the_published_code(
    case: dict[str, Any], term: str, as_published: bool, dtype: torch.dtype
) -> None:
    c = case["id"]
    x_s = tensor("cwd", f"{c}/in/feat_s", dtype).requires_grad_()
    x_t = tensor("cwd", f"{c}/in/feat_t", dtype)
    logits = torch.zeros(len(x_s), 3, *x_s.shape[-2:], dtype=dtype)
    student, teacher = _output(logits, x_s), _output(logits, x_t)
    options = {"source": "embedding", "temperature": case["hp"]["temperature"], "weight": 1}
    method = _make("cwd", student, teacher, dtype, **options, as_published=as_published)
    if x_s.shape[1] != x_t.shape[1]:
        method.connector.load_state_dict({"weight": tensor("cwd", f"{c}/param/conv.weight", dtype)})
    value = sum(method(student, teacher, None).values())
    value.backward()
    assert_value(value, "cwd", f"{c}/val/{term}")
    assert_gradient(x_s.grad, "cwd", f"{c}/grad/{term}/feat_s")
    parameters = dict(method.connector.named_parameters())
    assert set(parameters) == ({"weight"} if x_s.shape[1] != x_t.shape[1] else set())
    for name, parameter in parameters.items():
        assert_gradient(parameter.grad, "cwd", f"{c}/grad/{term}/param.conv.{name}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("temperature", [1, 4])
@pytest.mark.parametrize("radius", [1, 3])
@pytest.mark.parametrize("part", ["body", "edge"])
@pytest.mark.parametrize("case", cases("bpkd"), ids=lambda case: case["title"])
def test_bpkd_equals_the_independent_computation(
    case: dict[str, Any], part: str, radius: int, temperature: int, dtype: torch.dtype
) -> None:
    c, key = case["id"], f"{part}_r{radius}_T{temperature}"
    student = _output(tensor("bpkd", f"{c}/in/logits_s", dtype).requires_grad_())
    teacher = _output(tensor("bpkd", f"{c}/in/logits_t", dtype))
    options = {"body_weight": 1, "edge_weight": 1, "alpha": 1, "edge_radius": radius, "temperature": temperature}
    method = _make("bpkd", student, teacher, dtype, **options, as_published=True)
    value = method(student, teacher, tensor("bpkd", f"{c}/in/labels", torch.int64))[f"bpkd/{part}"]
    value.backward()
    assert_value(value, "bpkd", f"{c}/val/{key}")
    assert_gradient(student.logits.grad, "bpkd", f"{c}/grad/{key}/logits_s")


@pytest.mark.parametrize("radius", [1, 3])
@pytest.mark.parametrize("case", cases("bpkd"), ids=lambda case: case["title"])
def test_soft_edges_equal_the_independent_computation(case: dict[str, Any], radius: int) -> None:
    want = tensor("bpkd", f"{case['id']}/aux/M_r{radius}", torch.float64)
    label = tensor("bpkd", f"{case['id']}/in/labels", torch.uint8)
    edges = soft_edges(label, want.shape[1], radius, (want.shape[2], want.shape[3]), dtype=torch.float64)
    torch.testing.assert_close(edges, want, rtol=0, atol=1e-12)


def test_bpkd_without_void_is_the_same_as_published() -> None:
    case = next(c for c in cases("bpkd") if VOID not in arrays("bpkd")[f"{c['id']}/in/labels"])
    student, teacher = (
        _output(tensor("bpkd", f"{case['id']}/in/{name}", torch.float64)) for name in ("logits_s", "logits_t")
    )
    label = tensor("bpkd", f"{case['id']}/in/labels", torch.int64)
    default, published = (
        _make("bpkd", student, teacher, torch.float64, as_published=flag)(student, teacher, label)
        for flag in (False, True)
    )
    assert default == published


# Void left out: what the published code does not do, so the reference is the formula on the pixels that stay.


@pytest.fixture
def pair() -> tuple[Tensor, Tensor, Tensor]:
    """Logits (3,5,6,8) of a student and a teacher in float64, labels (3,24,32) with void; image 1 is all void."""
    random = torch.Generator().manual_seed(3)
    z_s, z_t = (3 * torch.randn(3, 5, 6, 8, generator=random, dtype=torch.float64) for _ in range(2))
    label = torch.randint(0, 5, (3, 6, 8), generator=random)
    label[0, :2, 3:] = VOID
    label[1] = VOID
    label[2, 4, 4] = VOID
    return z_s, z_t, label.repeat_interleave(4, 1).repeat_interleave(4, 2)


def _kl(x_t: Tensor, x_s: Tensor, dim: int) -> Tensor:
    p, q = x_t.softmax(dim), x_s.softmax(dim)
    return (p * (p / q).log()).sum(dim)


def test_kd_is_the_mean_over_the_pixels_that_are_not_void(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    z_s, z_t, label = pair
    student, teacher = _output(z_s), _output(z_t)
    got = _make("kd", student, teacher, torch.float64, temperature=2.0, weight=0.5)(student, teacher, label)
    keep = label[:, ::4, ::4] != VOID
    t, s = z_t.movedim(1, -1)[keep], z_s.movedim(1, -1)[keep]
    torch.testing.assert_close(got["kd"], 0.5 * 4 * _kl(t / 2, s / 2, dim=1).mean())


def test_cwd_is_a_softmax_over_the_positions_that_are_not_void(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    z_s, z_t, label = pair
    student, teacher = _output(z_s), _output(z_t)
    got = _make("cwd", student, teacher, torch.float64, temperature=2.0, weight=0.5)(student, teacher, label)
    keep = label[:, ::4, ::4] != VOID
    want = sum(_kl(z_t[n][:, keep[n]] / 2, z_s[n][:, keep[n]] / 2, dim=1).sum() for n in (0, 2))
    torch.testing.assert_close(got["cwd"], 0.5 * 4 * want / (3 * 5))


@pytest.mark.parametrize("norm", ["sum", "count"])
def test_bpkd_leaves_void_out_of_both_terms(pair: tuple[Tensor, Tensor, Tensor], norm: str) -> None:
    z_s, z_t, label = pair
    student, teacher = _output(z_s), _output(z_t)
    method = _make("bpkd", student, teacher, torch.float64, edge_radius=1, temperature=2.0, edge_norm=norm)
    got = method(student, teacher, label)
    mask = soft_edges(label, 5, 1, (6, 8)).double()
    keep = label[:, ::4, ::4] != VOID
    body = edge = torch.zeros((), dtype=torch.float64)
    for n in (0, 2):
        m, t, s = (maps[n][:, keep[n]] for maps in (mask, z_t / 2, z_s / 2))
        body = body + _kl(t * (1 - m), s * (1 - m), dim=1).sum()
        pixels = _kl(t * m, s * m, dim=0)
        for c in range(5):
            count = m[c].sum() if norm == "sum" else (m[c] > 0).sum()
            edge = edge + (m[c] * pixels).sum() / max(1, count)
    torch.testing.assert_close(got["bpkd/body"], 20 * 4 * body / (3 * 5))
    torch.testing.assert_close(got["bpkd/edge"], 50 * 2 * edge / 3)


@pytest.mark.parametrize("name", ["kd", "cwd", "bpkd"])
@pytest.mark.parametrize("coarse", ["student", "teacher"])
def test_grids_that_differ_meet_on_the_finer_one(name: str, coarse: str) -> None:
    random = torch.Generator().manual_seed(4)
    small = torch.randn(2, 5, 6, 8, generator=random)
    large = torch.randn(2, 5, 24, 32, generator=random)
    label = torch.randint(0, 5, (2, 48, 64), generator=random)
    raised = F.interpolate(small, size=(24, 32), mode="bilinear", align_corners=False)
    pairs = [(_output(maps), _output(large)) for maps in (small, raised)]
    if coarse == "teacher":
        pairs = [(b, a) for a, b in pairs]
    got, want = (_make(name, s, t, torch.float32)(s, t, label) for s, t in pairs)
    assert got == want
