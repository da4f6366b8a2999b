"""What every method promises: one suite over all files of `segdistill.methods`, a new one is tested by existing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from batches import (
    METHODS,
    VOID,
    Options,
    all_maps,
    blocks,
    call,
    changed,
    draw_maps,
    every_variant,
    loss_and_gradients,
    make,
    pair,
    variants,
    void_of,
)
from torch import Tensor

from segdistill.core.discovery import options_of
from segdistill.core.errors import RecipeError
from segdistill.core.outputs import SegOutput
from segdistill.methods import create_method

NEED_LABELS = sorted(name for name, cls in METHODS.items() if "label" in cls.needs)
READ_LOGITS = [name for name in METHODS if "logits" in make(name, *pair()).needs]
NEED_NO_LABELS = sorted(set(METHODS) - set(NEED_LABELS))
OPTIONS = [(name, option) for name, cls in METHODS.items() for option in options_of(cls).model_fields]
MAPS = {"logits", "embedding", "features"}
LEARNERS = {"adversary", "afdcd", "attnfd", "cirkd", "cirkdv2", "maskd", "mgd"}
"""They compare with a part that starts random, so that even an equal student has something to learn."""

every_method = pytest.mark.parametrize("name", METHODS)


def assert_teaches(terms: dict[str, Tensor], gradients: list[Tensor]) -> None:
    total = sum(value.item() for value in terms.values())
    assert total != 0 if "adversary/student" in terms else total > 0  # what a discriminator says may be negative
    assert any(gradient.any() for gradient in gradients)


@every_variant
@pytest.mark.parametrize(("n", "classes"), [(1, 5), (2, 2), (1, 70)])
def test_any_batch_and_any_number_of_classes(name: str, options: Options, n: int, classes: int) -> None:
    student, teacher = pair(n=n, classes=classes)
    assert_teaches(*loss_and_gradients(name, options, student, teacher, blocks(n, classes)))


@every_variant
@pytest.mark.parametrize("finer", ["teacher", "student"])
def test_strides_may_differ(name: str, options: Options, finer: str) -> None:
    sizes = [(6, 8), (24, 32)] if finer == "teacher" else [(24, 32), (6, 8)]
    student, teacher = draw_maps(1, size=sizes[0], width=4), draw_maps(2, size=sizes[1], width=6)
    assert_teaches(*loss_and_gradients(name, options, student, teacher, blocks()))


@every_variant
def test_odd_sizes(name: str, options: Options) -> None:
    student, teacher = draw_maps(1, size=(7, 11), width=4), draw_maps(2, size=(9, 13), width=6)
    assert_teaches(*loss_and_gradients(name, options, student, teacher, blocks()[:, :45, :61]))


@every_variant
def test_a_batch_that_is_all_void_teaches_nothing(name: str, options: Options) -> None:
    student, teacher = pair()
    label = torch.full_like(blocks(), VOID)
    terms, gradients = loss_and_gradients(name, options, student, teacher, label)
    assert all(value == 0 for value in terms.values())
    assert not any(gradient.any() for gradient in gradients)


@every_variant
def test_an_image_that_is_all_void_teaches_nothing_beside_others(name: str, options: Options) -> None:
    student, teacher = pair()
    label = blocks()
    label[1] = VOID
    terms, gradients = loss_and_gradients(name, options, student, teacher, label)
    assert_teaches(terms, gradients)
    assert not any(gradient[1].any() for gradient in gradients)


@every_variant
def test_scores_of_2000_stay_finite(name: str, options: Options) -> None:
    student, teacher = (
        replace(maps, logits=2000 * maps.logits.sign(), embedding=2000 * maps.embedding.sign()) for maps in pair()
    )
    loss_and_gradients(name, options, student, teacher, blocks())


@every_variant
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_maps_are_computed_in_float32(name: str, options: Options, dtype: torch.dtype) -> None:
    student, teacher = (changed(maps, lambda x: x.to(dtype)) for maps in pair())
    terms, gradients = loss_and_gradients(name, options, student, teacher, blocks())
    assert_teaches(terms, gradients)
    assert {value.dtype for value in terms.values()} == {torch.float32}
    assert {gradient.dtype for gradient in gradients} == {dtype}
    student, teacher = changed(student, Tensor.float), changed(teacher, Tensor.float)
    assert loss_and_gradients(name, options, student, teacher, blocks())[0] == terms


@every_variant
def test_autocast_changes_nothing(name: str, options: Options) -> None:
    student, teacher = pair()
    want = call(make(name, student, teacher, **options), student, teacher, blocks())
    with torch.autocast("cpu", torch.bfloat16):
        got = call(make(name, student, teacher, **options), student, teacher, blocks())
    assert got == want


@every_variant
def test_the_teacher_gets_no_gradient(name: str, options: Options) -> None:
    student, teacher = (changed(maps, lambda x: x.requires_grad_()) for maps in pair())
    terms = call(make(name, student, teacher, **options), student, teacher, blocks())
    torch.stack(list(terms.values())).sum().backward()
    assert any(maps.grad is not None for maps in all_maps(student))
    assert all(maps.grad is None for maps in all_maps(teacher))


@pytest.mark.parametrize(("name", "options"), variants(without=LEARNERS))
def test_a_student_that_equals_its_teacher_has_nothing_to_learn(name: str, options: Options) -> None:
    maps = draw_maps(1)
    terms, gradients = loss_and_gradients(name, options, maps, maps, blocks())
    assert all(abs(value.item()) < 1e-5 for value in terms.values())
    assert all(gradient.abs().max() < 1e-5 for gradient in gradients)


@every_variant
@pytest.mark.parametrize("where", ["void", "valid"])
def test_only_positions_that_are_not_void_count(name: str, options: Options, where: str) -> None:
    student, teacher = pair()

    def disturb(maps: Tensor) -> Tensor:
        maps = maps.clone()
        rows, columns = void_of(maps) if where == "void" else (slice(-2, None), slice(None))
        maps[:, :, rows, columns] = 100 * maps[:, :, rows, columns].flip(1)
        return maps

    label = blocks()
    before, _ = loss_and_gradients(name, options, student, teacher, label)
    after, gradients = loss_and_gradients(name, options, changed(student, disturb), teacher, label)
    if where == "valid":
        assert after != before
    else:
        for key, value in before.items():
            assert after[key].item() == pytest.approx(value.item(), rel=1e-6)
        assert not any(gradient[..., *void_of(gradient)].any() for gradient in gradients)


@every_variant
def test_maps_it_says_it_does_not_need_are_not_read(name: str, options: Options) -> None:
    student, teacher = pair()
    method = make(name, student, teacher, **options)
    needs = method.needs
    assert needs <= {"logits", "embedding", "features", "label"}
    want = call(make(name, student, teacher, **options), student, teacher, blocks())

    def without(maps: SegOutput) -> SegOutput:
        nothing = changed(maps, lambda x: torch.full_like(x, torch.nan))
        return replace(maps, **{field: getattr(nothing, field) for field in MAPS - needs})

    method = make(name, *pair(), **options)  # made again, for it may remember what it saw
    assert call(method, without(student), without(teacher), blocks()) == want


@pytest.mark.parametrize("name", NEED_LABELS)
def test_a_method_that_needs_labels_says_so(name: str) -> None:
    student, teacher = pair()
    method = make(name, student, teacher)
    with pytest.raises(RecipeError, match=f"'{name}' needs labels"):
        method(student, teacher, None)


@pytest.mark.parametrize("name", NEED_NO_LABELS)
def test_a_method_that_needs_no_labels_works_without(name: str) -> None:
    student, teacher = pair()
    assert_teaches(*loss_and_gradients(name, {}, student, teacher, None))


@every_method
def test_small_labels_are_as_good_as_large(name: str) -> None:
    student, teacher = pair()
    label = blocks()
    small, large = (
        call(make(name, student, teacher), student, teacher, label.to(dtype)) for dtype in (torch.uint8, torch.int64)
    )
    assert small == large


@pytest.mark.parametrize("name", READ_LOGITS)
@pytest.mark.parametrize("role", ["student", "teacher"])
def test_a_network_of_other_classes_is_refused(name: str, role: str) -> None:
    outputs = {"student": draw_maps(1, classes=5), "teacher": draw_maps(2, classes=5), role: draw_maps(3, classes=8)}
    with pytest.raises(RecipeError, match=rf"{role} scores 8 classes but the data set has 5.*choose a {role}"):
        create_method(name, **outputs, num_classes=5)


@every_variant
@pytest.mark.parametrize("count", [3, 8])
def test_only_methods_that_read_logits_mind_other_classes(name: str, options: Options, count: int) -> None:
    student, teacher = draw_maps(1, classes=5, width=4), draw_maps(2, classes=count, width=6)
    if "logits" in make(name, *pair(), **options).needs:
        with pytest.raises(RecipeError, match=r"teacher\.class_map"):
            make(name, student, teacher, **options)
    else:
        assert_teaches(*loss_and_gradients(name, options, student, teacher, blocks()))


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_an_option_that_is_misspelt_gets_the_nearest(name: str, option: str) -> None:
    student, teacher = pair()
    misspelt = option + "s"
    with pytest.raises(RecipeError, match=rf"'method\.{name}\.{misspelt}'.*Did you mean '{option}'\?"):
        make(name, student, teacher, **{misspelt: 1})


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_an_option_of_a_wrong_type_is_refused(name: str, option: str) -> None:
    student, teacher = pair()
    with pytest.raises(RecipeError, match=rf"'method\.{name}\.{option}'.*found \{{'not': 'a value'\}}"):
        make(name, student, teacher, **{option: {"not": "a value"}})


@every_method
def test_a_method_that_is_misspelt_gets_the_nearest(name: str) -> None:
    student, teacher = pair()
    with pytest.raises(RecipeError, match=rf"'{name}x'.*Did you mean '{name}'\?"):
        make(f"{name}x", student, teacher)


@pytest.mark.parametrize(("name", "option"), [pair for pair in OPTIONS if pair[1].endswith("weight")])
def test_a_weight_scales_its_terms_and_no_others(name: str, option: str) -> None:
    student, teacher = pair()
    zero, one, three = (
        call(make(name, student, teacher, **{option: weight}), student, teacher, blocks()) for weight in (0, 1, 3)
    )
    scaled = [key for key in one if one[key] != zero[key]]
    assert scaled
    for key in one:
        if key in scaled:
            assert zero[key] == 0
            assert three[key].item() == pytest.approx(3 * one[key].item(), rel=1e-6)
        else:
            assert zero[key] == one[key] == three[key] != 0
