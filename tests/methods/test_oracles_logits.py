"""DIST, AT, FitNet, DKD, standardised KD and others against published numbers, and against their formulas with void."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from oracles import VOID, arrays, assert_gradient, assert_value, cases, tensor
from torch import Tensor

from segdistill.core.errors import RecipeError
from segdistill.core.outputs import SegOutput
from segdistill.methods import Method, create_method

both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
both_modes = pytest.mark.parametrize("as_published", [False, True])


def _cases(method: str) -> Any:
    return pytest.mark.parametrize("case", cases(method), ids=lambda case: case["id"])


def _logits(z: Tensor) -> SegOutput:
    return SegOutput(logits=z, embedding=z, features=(z,))


def _features(f: Tensor) -> SegOutput:
    return SegOutput(logits=f.detach()[:, :3], embedding=f, features=(f,))


def _make(name: str, student: SegOutput, teacher: SegOutput, dtype: torch.dtype, **options: Any) -> Method:
    classes = student.logits.shape[1]
    return create_method(name, student=student, teacher=teacher, num_classes=classes, **options).to(dtype)


def _all_void(maps: Tensor) -> Tensor:
    return torch.full((len(maps), 40, 40), VOID)


@both_dtypes
@both_modes
@pytest.mark.parametrize("term", ["inter", "intra", "dist", "mmrazor_flat_rows"])
@_cases("dist")
def test_dist_equals_the_published_code(case: Any, term: str, as_published: bool, dtype: torch.dtype) -> None:
    c = case["id"]
    z_s = tensor("dist", f"{c}/in/logits_s", dtype).requires_grad_()
    student, teacher = _logits(z_s), _logits(tensor("dist", f"{c}/in/logits_t", dtype))
    temperature = case["hp"]["mmrazor_tau"] if term == "mmrazor_flat_rows" else 1
    method = _make("dist", student, teacher, dtype, temperature=temperature, as_published=as_published)
    terms = method(student, teacher, _all_void(z_s) if as_published else None)
    value = terms[f"dist/{term}"] if term in ("inter", "intra") else terms["dist/inter"] + terms["dist/intra"]
    value.backward()
    assert_value(value, "dist", f"{c}/val/{term}")
    assert_gradient(z_s.grad, "dist", f"{c}/grad/{term}/logits_s")


@both_dtypes
@both_modes
@pytest.mark.parametrize("source", ["embedding", "features"])
@_cases("at")
def test_at_equals_the_published_code(case: Any, source: str, as_published: bool, dtype: torch.dtype) -> None:
    c = case["id"]
    f_s = tensor("at", f"{c}/in/feat_s", dtype).requires_grad_()
    student, teacher = _features(f_s), _features(tensor("at", f"{c}/in/feat_t", dtype))
    method = _make("at", student, teacher, dtype, source=source, weight=1, as_published=as_published)
    value = method(student, teacher, _all_void(f_s) if as_published else None)["at"]
    value.backward()
    assert_value(value, "at", f"{c}/val/at")
    assert_gradient(f_s.grad, "at", f"{c}/grad/at/feat_s")


@both_dtypes
@both_modes
@_cases("fitnet")
def test_fitnet_equals_the_published_code(case: Any, as_published: bool, dtype: torch.dtype) -> None:
    c = case["id"]
    f_s = tensor("fitnet", f"{c}/in/feat_s", dtype).requires_grad_()
    student, teacher = _features(f_s), _features(tensor("fitnet", f"{c}/in/feat_t", dtype))
    method = _make("fitnet", student, teacher, dtype, weight=1, as_published=as_published)
    method.load_state_dict({"connector.weight": tensor("fitnet", f"{c}/param/conv.weight", dtype)})
    value = method(student, teacher, _all_void(f_s) if as_published else None)["fitnet"]
    value.backward()
    assert_value(value, "fitnet", f"{c}/val/fitnet")
    assert_gradient(f_s.grad, "fitnet", f"{c}/grad/fitnet/feat_s")
    assert_gradient(method.connector.weight.grad, "fitnet", f"{c}/grad/fitnet/param.conv.weight")


# Void left out: what the published code does not do, so the reference is the formula on the positions that stay.

Pair = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def pair() -> Pair:
    """Maps (3,5,6,8) of a student and a teacher in float64, labels (3,24,32) with void; image 1 is all void."""
    random = torch.Generator().manual_seed(3)
    x_s, x_t = (3 * torch.randn(3, 5, 6, 8, generator=random, dtype=torch.float64) for _ in range(2))
    label = torch.randint(0, 5, (3, 6, 8), generator=random)
    label[0, :2, 3:] = VOID
    label[1] = VOID
    label[2, 4, 4] = VOID
    return x_s, x_t, label.repeat_interleave(4, 1).repeat_interleave(4, 2)


def _rows(maps: Tensor, label: Tensor) -> Tensor:
    """The positions that are not void, as rows (n,C)."""
    return maps.movedim(1, -1)[label[:, ::4, ::4] != VOID]


def _run(name: str, pair: Pair, **options: Any) -> dict[str, Tensor]:
    student, teacher = _logits(pair[0]), _logits(pair[1])
    return _make(name, student, teacher, torch.float64, **options)(student, teacher, pair[2])


def test_dist_correlates_over_the_pixels_that_are_not_void(pair: Pair) -> None:
    s, t = (_rows(x / 2, pair[2]).softmax(1) for x in pair[:2])
    within = torch.stack([torch.corrcoef(torch.stack([a, b]))[0, 1] for a, b in zip(s, t, strict=True)])
    over = torch.stack([torch.corrcoef(torch.stack([a, b]))[0, 1] for a, b in zip(s.T, t.T, strict=True)])
    got = _run("dist", pair, temperature=2, inter_weight=3, intra_weight=0.5)
    torch.testing.assert_close(got["dist/inter"], 4 * 3 * (1 - within).mean(), rtol=1e-6, atol=0)
    torch.testing.assert_close(got["dist/intra"], 4 * 0.5 * (1 - over).mean(), rtol=1e-6, atol=0)


def test_at_normalises_over_the_positions_that_are_not_void(pair: Pair) -> None:
    gaps = []
    for n in (0, 2):
        s, t = (_rows(x[n : n + 1], pair[2][n : n + 1]).square().mean(1) for x in pair[:2])
        gaps.append((s / s.norm() - t / t.norm()).square())
    torch.testing.assert_close(_run("at", pair)["at"], 10_000 * torch.cat(gaps).mean())


def test_fitnet_averages_over_the_positions_that_are_not_void(pair: Pair) -> None:
    gap = _rows(pair[0], pair[2]) - _rows(pair[1], pair[2])
    torch.testing.assert_close(_run("fitnet", pair)["fitnet"], 10 * gap.square().mean())


def test_at_meets_on_the_finer_grid(pair: Pair) -> None:
    x_s, x_t, label = pair
    coarse = F.avg_pool2d(x_t, 2)
    student, teacher = _features(x_s), _features(coarse)
    got = _make("at", student, teacher, torch.float64, weight=1)(student, teacher, None)["at"]
    e_t = F.interpolate(coarse.square().mean(1, keepdim=True), size=(6, 8), mode="bilinear", align_corners=False)
    want = F.normalize(x_s.square().mean(1).flatten(1), dim=1) - F.normalize(e_t.flatten(1), dim=1)
    torch.testing.assert_close(got, want.square().mean())
    assert label.any()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dkd_follows_the_two_divergences_of_each_pixel(pair: Pair, temperature: float) -> None:
    target = others = 0.0
    y = pair[2][:, ::4, ::4]
    rows = [(s, t, c) for s, t, c in zip(_rows(pair[0], pair[2]), _rows(pair[1], pair[2]), y[y != VOID], strict=True)]
    for s, t, c in rows:
        p, q = (t / temperature).softmax(0), (s / temperature).softmax(0)
        target += p[c] * (p[c] / q[c]).log() + (1 - p[c]) * ((1 - p[c]) / (1 - q[c])).log()
        rest = torch.arange(5) != c
        p, q = p[rest] / p[rest].sum(), q[rest] / q[rest].sum()
        others += (p * (p / q).log()).sum()
    got = _run("dkd", pair, temperature=temperature, target_weight=2, others_weight=8)
    torch.testing.assert_close(got["dkd/target"], 2 * temperature**2 * target / len(rows))
    torch.testing.assert_close(got["dkd/others"], 8 * temperature**2 * others / len(rows))


def test_dkd_of_two_classes_has_no_others() -> None:
    student, teacher = (_logits(torch.randn(2, 2, 4, 4)) for _ in range(2))
    label = torch.randint(0, 2, (2, 16, 16))
    terms = _make("dkd", student, teacher, torch.float32)(student, teacher, label)
    kd = _make("kd", student, teacher, torch.float32)(student, teacher, label)["kd"]
    assert terms["dkd/others"] == 0
    torch.testing.assert_close(terms["dkd/target"], kd)


def test_dkd_needs_labels(pair: Pair) -> None:
    with pytest.raises(RecipeError, match="'dkd' needs labels"):
        _run("dkd", (pair[0], pair[1], None))  # type: ignore[arg-type]


def test_kd_of_standardised_logits_follows_its_definition(pair: Pair) -> None:
    s, t = ((x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True) for x in (_rows(x, pair[2]) for x in pair[:2]))
    p, q = (t / 2).softmax(1), (s / 2).softmax(1)
    got = _run("kd", pair, standardize=True, temperature=2, weight=9)["kd"]
    torch.testing.assert_close(got, 9 * 4 * (p * (p / q).log()).sum(1).mean(), rtol=1e-6, atol=0)
    moved = (3 * pair[0] - 7, 0.1 * pair[1] + 20, pair[2])
    torch.testing.assert_close(
        _run("kd", moved, standardize=True, temperature=2, weight=9)["kd"], got, rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("z", [torch.zeros(1, 5, 4, 4), 2000 * torch.randn(1, 5, 4, 4).sign(), torch.randn(1, 2, 4, 4)])
def test_kd_of_standardised_logits_stays_finite(z: Tensor) -> None:
    z = z.clone().requires_grad_()
    student, teacher = _logits(z), _logits(torch.randn(z.shape))
    value = _make("kd", student, teacher, torch.float32, standardize=True)(student, teacher, None)["kd"]
    value.backward()
    assert value.isfinite()
    assert z.grad is not None
    assert z.grad.isfinite().all()


@both_dtypes
@both_modes
@pytest.mark.parametrize("source", ["embedding", "features"])
@_cases("mgd")
def test_mgd_equals_the_published_code(
    case: Any, source: str, as_published: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = case["id"]
    f_s = tensor("mgd", f"{c}/in/feat_s", dtype).requires_grad_()
    student, teacher = _features(f_s), _features(tensor("mgd", f"{c}/in/feat_t", dtype))
    options = {"source": source, "masked": case["hp"]["lambda_mgd"], "as_published": as_published}
    method = _make("mgd", student, teacher, dtype, **options)
    stored = [key.removeprefix(f"{c}/param/") for key in arrays("mgd") if key.startswith(f"{c}/param/")]
    ours = {key: "generate." + key.replace("generation", "generator") for key in stored}
    method.load_state_dict({ours[key]: tensor("mgd", f"{c}/param/{key}", dtype) for key in stored})
    drawn = tensor("mgd", f"{c}/in/rand", torch.float32)
    monkeypatch.setattr(torch, "rand", lambda *size, **_: drawn.reshape(size))
    value = method(student, teacher, _all_void(f_s) if as_published else None)["mgd"]
    assert_value(value, "mgd", f"{c}/val/mgd")
    assert_value(value / 2e-5, "mgd", f"{c}/val/unweighted")
    (value / 2e-5).backward()
    assert_gradient(f_s.grad, "mgd", f"{c}/grad/unweighted/feat_s")
    parameters = dict(method.named_parameters())
    for key in stored:
        assert_gradient(parameters[ours[key]].grad, "mgd", f"{c}/grad/unweighted/param.{key}")


def test_mgd_hides_void_and_counts_the_rest(pair: Pair) -> None:
    x_s, x_t, label = pair
    student, teacher = _features(x_s), _features(x_t)
    method = _make("mgd", student, teacher, torch.float64, masked=0.0, weight=1)
    keep = (label[:, None, ::4, ::4] != VOID).double()
    want = ((method.generate.generator(x_s * keep) - x_t).square() * keep).sum() / 3  # type: ignore[operator, union-attr]
    torch.testing.assert_close(method(student, teacher, label)["mgd"], want)


@both_dtypes
@both_modes
@_cases("pkd")
def test_pkd_equals_the_published_code(case: Any, as_published: bool, dtype: torch.dtype) -> None:
    c = case["id"]
    f_s = tensor("pkd", f"{c}/in/feat_s", dtype).requires_grad_()
    student, teacher = _features(f_s), _features(tensor("pkd", f"{c}/in/feat_t", dtype))
    method = _make("pkd", student, teacher, dtype, as_published=as_published)
    value = method(student, teacher, _all_void(f_s) if as_published else None)["pkd"]
    value.backward()
    assert_value(value, "pkd", f"{c}/val/pkd")
    assert_gradient(f_s.grad, "pkd", f"{c}/grad/pkd/feat_s")


def _unit(rows: Tensor, eps: float) -> Tensor:
    return (rows - rows.mean(0)) / (rows.std(0) + eps)


def test_pkd_standardises_over_the_positions_that_are_not_void(pair: Pair) -> None:
    gap = _unit(_rows(pair[0], pair[2]), 1e-6) - _unit(_rows(pair[1], pair[2]), 1e-6)
    torch.testing.assert_close(_run("pkd", pair)["pkd"], gap.square().mean() / 2)


def test_canonical_is_standardised_features_and_kd(pair: Pair) -> None:
    got = _run("canonical", pair, feature_weight=3, logit_weight=2, temperature=2)
    gaps = []
    for n in (0, 2):
        s, t = (_unit(_rows(x[n : n + 1], pair[2][n : n + 1]), 1e-3) for x in pair[:2])
        gaps.append((s - t).square())
    torch.testing.assert_close(got["canonical/feature"], 3 * torch.cat(gaps).mean())
    balanced = _run("kd", pair, temperature=2, weight=2, class_balance=0.5)["kd"]
    torch.testing.assert_close(got["canonical/logit"], balanced)
    plain = _run("canonical", pair, class_balance=0)["canonical/logit"]
    torch.testing.assert_close(plain, _run("kd", pair)["kd"])
    assert balanced != plain


def test_the_magnitude_of_the_teachers_features_does_not_matter_to_canonical(pair: Pair) -> None:
    student, teacher = _logits(pair[0]), _logits(pair[1])
    louder = SegOutput(logits=pair[1], embedding=40 * pair[1] + 3, features=())
    method = _make("canonical", student, teacher, torch.float64)
    a, b = (method(student, maps, pair[2])["canonical/feature"] for maps in (teacher, louder))
    torch.testing.assert_close(a, b, rtol=1e-3, atol=0)
