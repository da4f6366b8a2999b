"""MasKD, Af-DCD, AttnFD and AICSD against numbers that the published code gave, and against their formulas."""

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
from segdistill.methods.maskd import alikeness, masked_gap, masks

both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def _cases(method: str) -> Any:
    return pytest.mark.parametrize("case", cases(method), ids=lambda case: case["title"])


def _features(f: Tensor) -> SegOutput:
    return SegOutput(logits=f.detach()[:, :3], embedding=f, features=(f,))


def _logits(z: Tensor) -> SegOutput:
    return SegOutput(logits=z, embedding=z, features=(z,))


def _make(name: str, student: SegOutput, teacher: SegOutput, **options: Any) -> Method:
    made = create_method(name, student=student, teacher=teacher, num_classes=student.logits.shape[1], **options)
    return made.to(student.embedding.dtype)


def _check(method: str, case: str, term: str, got: Tensor, **inputs: Tensor) -> None:
    """A term and its gradients at `inputs`, those that are stored."""
    assert_value(got, method, f"{case}/val/{term}")
    gradients = torch.autograd.grad(got, list(inputs.values()), retain_graph=True, allow_unused=True)
    for name, gradient in zip(inputs, gradients, strict=True):
        key = f"{case}/grad/{term}/{name.replace('__', '.')}"
        if key in arrays(method):
            assert_gradient(gradient, method, key)


@both_dtypes
@_cases("maskd")
def test_the_terms_of_maskd_equal_the_published_code(case: Any, dtype: torch.dtype) -> None:
    c = case["id"]
    z_s, z_t = (tensor("maskd", f"{c}/in/logits_{role}", dtype) for role in "st")
    tokens = tensor("maskd", f"{c}/param/mask_token", dtype).requires_grad_()
    z_s.requires_grad_()
    result = masks(z_t, tokens, torch.ones_like(z_t[:, :1]))
    _check("maskd", c, "maskd", masked_gap(z_s, z_t, result), logits_s=z_s, param__mask_token=tokens)
    _check("maskd", c, "dice_diversity", alikeness(result), param__mask_token=tokens)
    want = tensor("maskd", f"{c}/out/masked_teacher_logits", dtype)
    torch.testing.assert_close(z_t * result.sum(1, keepdim=True), want)


@both_dtypes
@_cases("maskd")
def test_the_method_maskd_equals_the_published_code(case: Any, dtype: torch.dtype) -> None:
    c = case["id"]
    z_s, z_t = (tensor("maskd", f"{c}/in/logits_{role}", dtype) for role in "st")
    z_s.requires_grad_()
    method = _make("maskd", _logits(z_s), _logits(z_t), tokens=case["hp"]["num_tokens"])
    with torch.no_grad():
        method.mask_token.copy_(tensor("maskd", f"{c}/param/mask_token", dtype))  # type: ignore[operator, union-attr]
    label = torch.zeros(len(z_s), 40, 40, dtype=torch.long)
    terms = method(_logits(z_s), _logits(z_t), label)
    _check("maskd", c, "maskd", terms["maskd/student"], logits_s=z_s)
    _check("maskd", c, "dice_diversity", terms["maskd/diversity"], param__mask_token=method.mask_token)  # type: ignore[arg-type]


def _maskd(**options: Any) -> tuple[Method, SegOutput, SegOutput, Tensor]:
    random = torch.Generator().manual_seed(0)
    z_s, z_t = (3 * torch.randn(2, 5, 8, 8, generator=random) for _ in range(2))
    label = torch.randint(0, 5, (2, 16, 16), generator=random)
    torch.manual_seed(0)
    return _make("maskd", _logits(z_s), _logits(z_t), **options), _logits(z_s), _logits(z_t), label


def test_the_tokens_of_maskd_learn_what_the_teacher_sees_and_then_stay() -> None:
    method, student, teacher, _ = _maskd(token_steps=30)
    label = teacher.logits.argmax(1)
    optimizer = method.own_optimizer()
    assert optimizer is not None
    logged = []
    for _ in range(40):
        before = method.learned.clone()  # type: ignore[operator]
        terms = method(student, teacher, label)
        logged.append({key: value.item() for key, value in terms.items()})
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    assert logged[29]["maskd/tokens"] + logged[29]["maskd/diversity"] < 0.8 * (
        logged[0]["maskd/tokens"] + logged[0]["maskd/diversity"]
    )
    assert logged[29]["maskd/student"] != logged[0]["maskd/student"]
    assert len({terms["maskd/student"] for terms in logged[30:]}) == 1
    assert all(terms["maskd/tokens"] == terms["maskd/diversity"] == 0 for terms in logged[30:])
    torch.testing.assert_close(method.learned, before)


def test_a_resumed_maskd_knows_its_masks_and_how_long_they_learned() -> None:
    method, student, teacher, label = _maskd(token_steps=2)
    for _ in range(3):
        with torch.no_grad():
            method.mask_token += 0.5  # type: ignore[operator]
        last = method(student, teacher, label)
    again, *_ = _maskd(token_steps=2)
    again.load_state_dict(method.state_dict())
    assert again(student, teacher, label) == last
    assert last["maskd/tokens"] == 0


def _named_for_afdcd(method: Method, case: Any) -> dict[str, str]:
    stored = [key.split("/param/")[1] for key in arrays("afdcd") if key.startswith(f"{case['id']}/param/")]
    renamed = {"projetor.block_1.0": "generator.first", "projetor.block_2.0": "generator.second"}
    renamed |= {"projetor.adpator_1": "generator.shallow", "projetor.adpator_2": "generator.deep"}
    ours = {}
    for key in stored:
        name, _, leaf = key.rpartition(".")
        ours[key] = f"generate.{renamed.get(name, name.replace('projetor', 'generator'))}.{leaf}"
    return ours


@both_dtypes
@pytest.mark.parametrize("as_published", [False, True])
@_cases("afdcd")
def test_afdcd_equals_the_published_code(
    case: Any, as_published: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    c, hp = case["id"], case["hp"]
    f_s, f_t = (tensor("afdcd", f"{c}/in/feat_{role}", dtype) for role in "st")
    f_s.requires_grad_()
    student, teacher = _features(f_s), _features(f_t)
    options = {
        "generation_weight": 1,
        "contrast_weight": 1,
        "masked": hp["mask_ratio"],
        "mask": "random" if hp["rand_mask"] else "center",
        "enhanced": hp["enhance_projector"],
        "pool": 1 if hp["dataset"] == "camvid" else max(hp["pool_size"], 1),
        "groups": hp["M_ocd"],
        "patch": hp["patch_size"][0],
        "tau": hp["tau_ocd"],
    }
    method = _make("afdcd", student, teacher, as_published=as_published, **options)
    ours = _named_for_afdcd(method, case)
    method.load_state_dict({ours[key]: tensor("afdcd", f"{c}/param/{key}", dtype) for key in ours})
    if hp["rand_mask"]:
        drawn = tensor("afdcd", f"{c}/in/rand", torch.float32)
        monkeypatch.setattr(torch, "rand", lambda *size, **_: drawn.reshape(size))
    label = torch.full((len(f_s), 40, 40), VOID) if as_published else None
    terms = method(student, teacher, label)
    parameters = {f"param.{key}": dict(method.named_parameters())[name] for key, name in ours.items()}
    _check("afdcd", c, "fd", terms["afdcd/generation"], feat_s=f_s, **parameters)
    _check("afdcd", c, "ctr", terms["afdcd/contrast"], feat_s=f_s, **parameters)


def test_afdcd_contrasts_the_known_positions_as_its_formula_says() -> None:
    random = torch.Generator().manual_seed(0)
    f_s, f_t = (torch.randn(2, 6, 8, 8, generator=random, dtype=torch.float64) for _ in range(2))
    label = torch.zeros(2, 8, 8, dtype=torch.long)
    label[0, 1:4, 2:7] = VOID
    method = _make("afdcd", _features(f_s), _features(f_t), groups=3, pool=1, contrast_weight=1, masked=0.0)
    got = method(_features(f_s), _features(f_t), label)["afdcd/contrast"]
    labelled = label != VOID
    generated = method.generate(f_s, labelled[:, None])  # type: ignore[operator]
    total = torch.zeros((), dtype=torch.float64)
    for n in range(2):
        for y in range(8):
            for x in range(8):
                if not labelled[n, y, x]:
                    continue
                for group in range(3):
                    mine = generated[n, 2 * group : 2 * group + 2, y, x]
                    keys = [f_t[n, 2 * group : 2 * group + 2, y, x]]
                    for other in set(range(3)) - {group}:
                        for v in range(y // 4 * 4, y // 4 * 4 + 4):
                            for u in range(x // 4 * 4, x // 4 * 4 + 4):
                                if labelled[n, v, u]:
                                    keys.append(f_t[n, 2 * other : 2 * other + 2, v, u])
                    scores = torch.stack([-(mine - key).abs().sum() / 0.07 for key in keys])
                    total = total - scores.log_softmax(0)[0]
    torch.testing.assert_close(got, total / labelled.sum())


def test_afdcd_says_when_no_number_of_groups_divides_the_channels() -> None:
    maps = _features(torch.randn(1, 17, 8, 8))
    with pytest.raises(RecipeError, match=r"teacher's 17.*method\.afdcd\.groups.*contrast_weight=0"):
        _make("afdcd", maps, maps)
    assert _make("afdcd", maps, maps, contrast_weight=0)(maps, maps, None)["afdcd/contrast"] == 0


@both_dtypes
@_cases("attnfd")
def test_attnfd_equals_the_published_code(case: Any, dtype: torch.dtype) -> None:
    c = case["id"]
    f_s, f_t = (tensor("attnfd", f"{c}/in/feat_{role}", dtype) for role in "st")
    f_s.requires_grad_()
    method = _make("attnfd", _features(f_s), _features(f_t), attention=False, weight=1, as_published=True)
    stored = [key.split("/param/")[1] for key in arrays("attnfd") if key.startswith(f"{c}/param/")]
    loaded = {key: tensor("attnfd", f"{c}/param/{key}", dtype) for key in stored}
    method.load_state_dict(loaded | {"connector.1.num_batches_tracked": torch.tensor(0)})
    method.train(case["hp"]["bn_training"])
    value = method(_features(f_s), _features(f_t), None)["attnfd"]
    parameters = {f"param.{key}": value for key, value in method.named_parameters()}
    _check("attnfd", c, "attnfd", value, feat_s=f_s, **parameters)


def test_attnfd_compares_each_image_for_itself() -> None:
    random = torch.Generator().manual_seed(0)
    f_s, f_t = (torch.randn(3, 8, 6, 6, generator=random) for _ in range(2))
    method = _make("attnfd", _features(f_s), _features(f_t), weight=1).eval()
    whole = method(_features(f_s), _features(f_t), None)["attnfd"]
    each = [method(_features(f_s[n : n + 1]), _features(f_t[n : n + 1]), None)["attnfd"] for n in range(3)]
    torch.testing.assert_close(whole, torch.stack(each).mean())
    attention = method.refine_student
    assert (attention(f_s, torch.ones_like(f_s[:, :1], dtype=torch.bool)).abs() < f_s.abs()).all()  # type: ignore[operator]


@both_dtypes
@_cases("aicsd")
def test_aicsd_equals_the_published_code(case: Any, dtype: torch.dtype) -> None:
    c = case["id"]
    z_s, z_t = (tensor("aicsd", f"{c}/in/logits_{role}", dtype) for role in "st")
    z_s.requires_grad_()
    terms = _make("aicsd", _logits(z_s), _logits(z_t))(_logits(z_s), _logits(z_t), None)
    _check("aicsd", c, "pi_elementmean", terms["aicsd/pixel"], logits_s=z_s)
    _check("aicsd", c, "ic", terms["aicsd/similarity"], logits_s=z_s)


def test_aicsd_sees_nothing_of_void() -> None:
    random = torch.Generator().manual_seed(0)
    z_s, z_t = (torch.randn(1, 4, 6, 6, generator=random) for _ in range(2))
    label = torch.zeros(1, 6, 6, dtype=torch.long)
    label[:, :, 3:] = VOID
    whole = _make("aicsd", _logits(z_s), _logits(z_t))(_logits(z_s), _logits(z_t), label)
    half = [_logits(z[..., :3]) for z in (z_s, z_t)]
    torch.testing.assert_close(whole, _make("aicsd", *half)(*half, None))
    g_s, g_t = (F.normalize(x.logits.flatten(2) @ x.logits.flatten(2).mT, dim=2) for x in half)
    torch.testing.assert_close(whole["aicsd/similarity"], (g_s - g_t).square().sum() / 4)
