"""What every method promises: one suite over all files of `segdistill.methods`, a new one is tested by existing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from torch import Tensor

from segdistill.discovery import options_of
from segdistill.errors import RecipeError
from segdistill.methods import Method, create_method, method_names
from segdistill.outputs import SegOutput

VOID = 255
Options = dict[str, Any]
METHODS = method_names()
NEED_LABELS = sorted(name for name, cls in METHODS.items() if "label" in cls.needs)
NEED_NO_LABELS = sorted(set(METHODS) - set(NEED_LABELS))
OPTIONS = [(name, option) for name, cls in METHODS.items() for option in options_of(cls).model_fields]


def _variants() -> list[Any]:
    """Each method with its defaults, then with each other choice of each option that is a `Literal`."""
    found: list[Any] = []
    for name, cls in METHODS.items():
        found.append(pytest.param(name, {}, id=name))
        for option, field in options_of(cls).model_fields.items():
            choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
            for choice in choices:
                if choice != field.default:
                    found.append(pytest.param(name, {option: choice}, id=f"{name}-{option}-{choice}"))
    return found


MAPS = {"logits", "embedding", "features"}
LEARNERS = {"adversary", "afdcd", "attnfd", "cirkd", "cirkdv2", "maskd", "mgd"}
every_variant = pytest.mark.parametrize(("name", "options"), _variants())
every_method = pytest.mark.parametrize("name", METHODS)


def _maps(seed: int, *, n: int = 2, classes: int = 5, size: tuple[int, int] = (12, 16), width: int = 6) -> SegOutput:
    """An output with logits and embedding on `size`, features on twice, once and half of it."""
    random = torch.Generator().manual_seed(seed)
    h, w = size

    def draw(channels: int, height: int, width: int) -> Tensor:
        return 3 * torch.randn(n, channels, height, width, generator=random)

    return SegOutput(
        logits=draw(classes, h, w),
        embedding=draw(2 * width, h, w),
        features=(draw(width, 2 * h, 2 * w), draw(2 * width, h, w), draw(3 * width, h // 2, w // 2)),
    )


def _pair(**shape: Any) -> tuple[SegOutput, SegOutput]:
    return _maps(1, **shape, width=4), _maps(2, **shape, width=6)


def _label(n: int = 2, classes: int = 5, size: tuple[int, int] = (48, 64)) -> Tensor:
    """Blocks of 8x8 pixels of random classes and a void rectangle."""
    random = torch.Generator().manual_seed(9)
    label = torch.randint(0, classes, (n, size[0] // 8, size[1] // 8), generator=random)
    label = label.repeat_interleave(8, 1).repeat_interleave(8, 2)
    label[:, :16, 16:48] = VOID
    return label


def _void_of(maps: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the void rectangle of `_label`; it is aligned with the grid of each map of `_maps`."""
    stride = 64 // maps.shape[-1]
    return slice(0, 16 // stride), slice(16 // stride, 48 // stride)


def _map(output: SegOutput, change: Any) -> SegOutput:
    return replace(
        output,
        logits=change(output.logits),
        embedding=change(output.embedding),
        features=tuple(change(feature) for feature in output.features),
    )


def _all(output: SegOutput) -> list[Tensor]:
    return [output.logits, output.embedding, *output.features]


def _make(name: str, student: SegOutput, teacher: SegOutput, **options: Any) -> Method:
    torch.manual_seed(0)
    return create_method(name, student=student, teacher=teacher, num_classes=student.logits.shape[1], **options)


def _call(method: Method, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return method(student, teacher, label)


def _gradients(terms: dict[str, Tensor], student: SegOutput) -> list[Tensor]:
    """The gradient of the sum of the terms at each map of the student, zero where there is none."""
    total = torch.stack(list(terms.values())).sum()
    if not total.requires_grad:
        return [torch.zeros_like(maps) for maps in _all(student)]
    found = torch.autograd.grad(total, _all(student), allow_unused=True)
    return [
        torch.zeros_like(maps) if gradient is None else gradient
        for maps, gradient in zip(_all(student), found, strict=True)
    ]


def _loss_and_gradients(
    name: str, options: Options, student: SegOutput, teacher: SegOutput, label: Tensor | None
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """What a fresh method says; everything has to be finite, and terms scalars that bear the method's name."""
    student = _map(student, lambda maps: maps.detach().requires_grad_())
    terms = _call(_make(name, student, teacher, **options), student, teacher, label)
    gradients = _gradients(terms, student)
    assert terms
    for key, value in terms.items():
        assert key.split("/")[0] == name
        assert value.shape == ()
        assert value.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)
    return terms, gradients


def _assert_teaches(terms: dict[str, Tensor], gradients: list[Tensor]) -> None:
    total = sum(value.item() for value in terms.values())
    assert total != 0 if "adversary/student" in terms else total > 0  # what a discriminator says may be negative
    assert any(gradient.any() for gradient in gradients)


@every_variant
@pytest.mark.parametrize(("n", "classes"), [(1, 5), (2, 2), (1, 70)])
def test_any_batch_and_any_number_of_classes(name: str, options: Options, n: int, classes: int) -> None:
    student, teacher = _pair(n=n, classes=classes)
    _assert_teaches(*_loss_and_gradients(name, options, student, teacher, _label(n, classes)))


@every_variant
@pytest.mark.parametrize("finer", ["teacher", "student"])
def test_strides_may_differ(name: str, options: Options, finer: str) -> None:
    sizes = [(6, 8), (24, 32)] if finer == "teacher" else [(24, 32), (6, 8)]
    student, teacher = _maps(1, size=sizes[0], width=4), _maps(2, size=sizes[1], width=6)
    _assert_teaches(*_loss_and_gradients(name, options, student, teacher, _label()))


@every_variant
def test_odd_sizes(name: str, options: Options) -> None:
    student, teacher = _maps(1, size=(7, 11), width=4), _maps(2, size=(9, 13), width=6)
    _assert_teaches(*_loss_and_gradients(name, options, student, teacher, _label()[:, :45, :61]))


@every_variant
def test_a_batch_that_is_all_void_teaches_nothing(name: str, options: Options) -> None:
    student, teacher = _pair()
    label = torch.full_like(_label(), VOID)
    terms, gradients = _loss_and_gradients(name, options, student, teacher, label)
    assert all(value == 0 for value in terms.values())
    assert not any(gradient.any() for gradient in gradients)


@every_variant
def test_an_image_that_is_all_void_teaches_nothing_beside_others(name: str, options: Options) -> None:
    student, teacher = _pair()
    label = _label()
    label[1] = VOID
    terms, gradients = _loss_and_gradients(name, options, student, teacher, label)
    _assert_teaches(terms, gradients)
    assert not any(gradient[1].any() for gradient in gradients)


@every_variant
def test_scores_of_2000_stay_finite(name: str, options: Options) -> None:
    student, teacher = (
        replace(maps, logits=2000 * maps.logits.sign(), embedding=2000 * maps.embedding.sign()) for maps in _pair()
    )
    _loss_and_gradients(name, options, student, teacher, _label())


@every_variant
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_maps_are_computed_in_float32(name: str, options: Options, dtype: torch.dtype) -> None:
    student, teacher = (_map(maps, lambda x: x.to(dtype)) for maps in _pair())
    terms, gradients = _loss_and_gradients(name, options, student, teacher, _label())
    _assert_teaches(terms, gradients)
    assert {value.dtype for value in terms.values()} == {torch.float32}
    assert {gradient.dtype for gradient in gradients} == {dtype}
    student, teacher = _map(student, Tensor.float), _map(teacher, Tensor.float)
    assert _loss_and_gradients(name, options, student, teacher, _label())[0] == terms


@every_variant
def test_autocast_changes_nothing(name: str, options: Options) -> None:
    student, teacher = _pair()
    want = _call(_make(name, student, teacher, **options), student, teacher, _label())
    with torch.autocast("cpu", torch.bfloat16):
        got = _call(_make(name, student, teacher, **options), student, teacher, _label())
    assert got == want


@every_variant
def test_the_teacher_gets_no_gradient(name: str, options: Options) -> None:
    student, teacher = (_map(maps, lambda x: x.requires_grad_()) for maps in _pair())
    terms = _call(_make(name, student, teacher, **options), student, teacher, _label())
    torch.stack(list(terms.values())).sum().backward()
    assert any(maps.grad is not None for maps in _all(student))
    assert all(maps.grad is None for maps in _all(teacher))


@every_variant
def test_a_student_that_equals_its_teacher_has_nothing_to_learn(name: str, options: Options) -> None:
    maps = _maps(1)
    if name in LEARNERS:
        pytest.skip("compares with a part that starts random, so that even an equal student has something to learn")
    terms, gradients = _loss_and_gradients(name, options, maps, maps, _label())
    assert all(abs(value.item()) < 1e-5 for value in terms.values())
    assert all(gradient.abs().max() < 1e-5 for gradient in gradients)


@every_variant
@pytest.mark.parametrize("where", ["void", "valid"])
def test_only_positions_that_are_not_void_count(name: str, options: Options, where: str) -> None:
    student, teacher = _pair()

    def disturb(maps: Tensor) -> Tensor:
        maps = maps.clone()
        rows, columns = _void_of(maps) if where == "void" else (slice(-2, None), slice(None))
        maps[:, :, rows, columns] = 100 * maps[:, :, rows, columns].flip(1)
        return maps

    label = _label()
    before, _ = _loss_and_gradients(name, options, student, teacher, label)
    after, gradients = _loss_and_gradients(name, options, _map(student, disturb), teacher, label)
    if where == "valid":
        assert after != before
    else:
        for key, value in before.items():
            assert after[key].item() == pytest.approx(value.item(), rel=1e-6)
        assert not any(gradient[..., *_void_of(gradient)].any() for gradient in gradients)


@every_variant
def test_maps_it_says_it_does_not_need_are_not_read(name: str, options: Options) -> None:
    student, teacher = _pair()
    method = _make(name, student, teacher, **options)
    needs = method.needs
    assert needs <= {"logits", "embedding", "features", "label"}
    want = _call(_make(name, student, teacher, **options), student, teacher, _label())

    def without(maps: SegOutput) -> SegOutput:
        nothing = _map(maps, lambda x: torch.full_like(x, torch.nan))
        return replace(maps, **{field: getattr(nothing, field) for field in MAPS - needs})

    method = _make(name, *_pair(), **options)  # made again, for it may remember what it saw
    assert _call(method, without(student), without(teacher), _label()) == want


@pytest.mark.parametrize("name", NEED_LABELS)
def test_a_method_that_needs_labels_says_so(name: str) -> None:
    student, teacher = _pair()
    method = _make(name, student, teacher)
    with pytest.raises(RecipeError, match=f"'{name}' needs labels"):
        method(student, teacher, None)


@pytest.mark.parametrize("name", NEED_NO_LABELS)
def test_a_method_that_needs_no_labels_works_without(name: str) -> None:
    student, teacher = _pair()
    _assert_teaches(*_loss_and_gradients(name, {}, student, teacher, None))


@every_method
def test_small_labels_are_as_good_as_large(name: str) -> None:
    student, teacher = _pair()
    label = _label()
    small, large = (
        _call(_make(name, student, teacher), student, teacher, label.to(dtype)) for dtype in (torch.uint8, torch.int64)
    )
    assert small == large


@every_method
@pytest.mark.parametrize("role", ["student", "teacher"])
def test_a_network_of_other_classes_is_refused(name: str, role: str) -> None:
    if "logits" not in _make(name, *_pair()).needs:
        pytest.skip("reads no logits, so classes may differ")
    outputs = {"student": _maps(1, classes=5), "teacher": _maps(2, classes=5), role: _maps(3, classes=8)}
    with pytest.raises(RecipeError, match=rf"{role} scores 8 classes but the data set has 5.*choose a {role}"):
        create_method(name, **outputs, num_classes=5)


@every_variant
@pytest.mark.parametrize("count", [3, 8])
def test_only_methods_that_read_logits_mind_other_classes(name: str, options: Options, count: int) -> None:
    student, teacher = _maps(1, classes=5, width=4), _maps(2, classes=count, width=6)
    if "logits" in _make(name, *_pair(), **options).needs:
        with pytest.raises(RecipeError, match=r"teacher\.class_map"):
            _make(name, student, teacher, **options)
    else:
        _assert_teaches(*_loss_and_gradients(name, options, student, teacher, _label()))


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_an_option_that_is_misspelt_gets_the_nearest(name: str, option: str) -> None:
    student, teacher = _pair()
    misspelt = option + "s"
    with pytest.raises(RecipeError, match=rf"'method\.{name}\.{misspelt}'.*Did you mean '{option}'\?"):
        _make(name, student, teacher, **{misspelt: 1})


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_an_option_of_a_wrong_type_is_refused(name: str, option: str) -> None:
    student, teacher = _pair()
    with pytest.raises(RecipeError, match=rf"'method\.{name}\.{option}'.*found \{{'not': 'a value'\}}"):
        _make(name, student, teacher, **{option: {"not": "a value"}})


@every_method
def test_a_method_that_is_misspelt_gets_the_nearest(name: str) -> None:
    student, teacher = _pair()
    with pytest.raises(RecipeError, match=rf"'{name}x'.*Did you mean '{name}'\?"):
        _make(f"{name}x", student, teacher)


@pytest.mark.parametrize(("name", "option"), [pair for pair in OPTIONS if pair[1].endswith("weight")])
def test_a_weight_scales_its_terms_and_no_others(name: str, option: str) -> None:
    student, teacher = _pair()
    zero, one, three = (
        _call(_make(name, student, teacher, **{option: weight}), student, teacher, _label()) for weight in (0, 1, 3)
    )
    scaled = [key for key in one if one[key] != zero[key]]
    assert scaled
    for key in one:
        if key in scaled:
            assert zero[key] == 0
            assert three[key].item() == pytest.approx(3 * one[key].item(), rel=1e-6)
        else:
            assert zero[key] == one[key] == three[key] != 0
