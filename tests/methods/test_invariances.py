"""What must not change a term, by its formula: the order of the images, the names of the classes, shifts and scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import pytest
import torch
from batches import VOID, Options, blocks, changed, double, draw_maps, every_setting, loss_and_gradients, pair, variants
from torch import Tensor

from segdistill.core.outputs import SegOutput

# With as many keys as rows all rows are drawn, in whatever order they were filed.
QUEUES = {"pixel_queue": 100, "region_queue": 10, "pixel_keys": 500, "region_keys": 50}
ALL_ROWS: dict[str, Options] = {
    "cirkd": QUEUES,
    "cirkdv2": {**QUEUES, "channel_queue": 100, "channel_keys": 100},
    "adversary": {"width": 8},
}
KNOWS_CLASSES_APART = {
    "adversary": "the discriminator's first layer has weights of each class",
    "maskd": "the tokens have a weight of each class",
    "cirkd": "what isn't overwritten yet in a class's queue is random",
    "cirkdv2": "what isn't overwritten yet in a class's queue is random",
}


def _learn(name: str, options: Options, *batch: Any) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Terms and gradients, with every random number of a batch the same for each of its images."""
    rand = torch.rand

    def draw(*shape: int, **options: Any) -> Tensor:
        return rand(1, *shape[1:], **options).expand(shape)

    with mock.patch.object(torch, "rand", draw):
        return loss_and_gradients(name, {**ALL_ROWS.get(name, {}), **options}, *batch)


def _assert_equal(result: Any, wanted: Any) -> None:
    torch.testing.assert_close(result[0], wanted[0], rtol=1e-9, atol=1e-12)
    for a, b in zip(result[1], wanted[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9 * b.abs().max().item())


@every_setting
def test_the_order_of_the_images_says_nothing(name: str, options: Options) -> None:
    student, teacher = (double(maps) for maps in pair(n=3))
    label = blocks(n=3)
    label[2, 24:] = VOID
    terms, gradients = _learn(name, options, student, teacher, label)
    order = torch.tensor([2, 0, 1])
    student, teacher = (changed(maps, lambda x: x[order]) for maps in (student, teacher))
    result = _learn(name, options, student, teacher, label[order])
    _assert_equal(result, (terms, [gradient[order] for gradient in gradients]))


@pytest.mark.parametrize(("name", "options"), variants(switches=True, without=KNOWS_CLASSES_APART))
def test_the_names_of_the_classes_say_nothing(name: str, options: Options) -> None:
    student, teacher = (double(maps) for maps in pair())
    terms, gradients = _learn(name, options, student, teacher, blocks())
    order = torch.tensor([3, 1, 4, 0, 2])
    student, teacher = (replace(maps, logits=maps.logits[:, order]) for maps in (student, teacher))
    renamed = torch.full((256,), VOID).index_copy(0, order, torch.arange(5))[blocks()]
    result = _learn(name, options, student, teacher, renamed)
    _assert_equal(result, (terms, [gradients[0][:, order], *gradients[1:]]))


def _normal(maps: Tensor, *axes: int) -> Tensor:
    """Normal numbers that differ along these axes."""
    shape = [size if axis in axes else 1 for axis, size in enumerate(maps.shape)]
    return torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=maps.dtype)


def _shift(*axes: int) -> Callable[[Tensor], Tensor]:
    """By the same amounts in two maps of the same order of magnitude."""
    return lambda maps: maps + 10 ** maps.std().log10().ceil() * _normal(maps, *axes)


def _scale(*axes: int) -> Callable[[Tensor], Tensor]:
    return lambda maps: maps * (0.5 * _normal(maps, *axes)).exp()


def _sign(*axes: int) -> Callable[[Tensor], Tensor]:
    return lambda maps: maps * _normal(maps, *axes).sign()


N, C, H, W = range(4)
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "pixel shift": _shift(N, H, W),
    "pixel scale": _scale(N, H, W),
    "pixel sign": _sign(N, H, W),
    "channel shift": _shift(N, C),
    "channel scale": _scale(N, C),
    "channel sign": _sign(N, C),
    "channel order": lambda maps: maps.roll(1, C),
    "image scale": _scale(N),
    "channel shift in all images": _shift(C),
    "channel scale in all images": _scale(C),
    "scale": lambda maps: 1.7 * maps,
}
"""Changes of maps (N,C,h,w) by random numbers that differ from pixel to pixel, from channel to channel of each image,
and so on. All scales are positive."""


@dataclass(frozen=True)
class Rule:
    """What `leaves` the `terms` of a method (all if none is named) as they are, and what `alters` each of them.

    whose: the maps that are changed: those of "student" or "teacher" alone, of "either" alone, or of "both" alike.
    """

    name: str
    whose: str
    maps: str
    leaves: tuple[str, ...]
    alters: tuple[str, ...]
    terms: tuple[str, ...] = ()
    options: Options = field(default_factory=dict)


PLACE_BLIND = ("image scale", "channel order", "channel sign")  # what a map of energies or of cosines doesn't see
RULES = [
    # A softmax over classes doesn't see what is added to a pixel's scores; one over positions, to a channel.
    Rule("kd", "either", "logits", ("pixel shift",), ("channel shift", "scale")),
    Rule("kd", "either", "logits", ("pixel shift",), ("channel shift",), options={"class_balance": 0.5}),
    Rule("kd", "either", "logits", ("pixel shift", "pixel scale"), ("channel shift",), options={"standardize": True}),
    Rule("dkd", "either", "logits", ("pixel shift",), ("channel shift", "scale")),
    # Correlations see neither scale nor shift of probabilities; of the scores only what the softmax doesn't see.
    Rule("dist", "either", "logits", ("pixel shift",), ("channel shift", "scale")),
    Rule("cwd", "either", "logits", ("channel shift",), ("pixel shift", "scale")),
    Rule("cwd", "either", "embedding", ("channel shift",), ("pixel shift",), options={"source": "embedding"}),
    # Masks that multiply the scores make a shift visible.
    Rule("bpkd", "either", "logits", (), ("pixel shift", "channel shift")),
    Rule("bpkd", "either", "logits", ("pixel shift",), ("channel shift",), ("edge",), {"pre_mask": False}),
    Rule("bpkd", "either", "logits", ("channel shift",), ("pixel shift",), ("body",), {"body_mask": False}),
    Rule("canonical", "either", "logits", ("pixel shift",), ("channel shift",), ("logit",)),
    Rule("canonical", "either", "embedding", ("channel shift", "channel scale"), ("pixel shift",), ("feature",)),
    *(
        Rule(
            "pkd",
            "either",
            source,
            ("channel shift in all images", "channel scale in all images"),
            ("channel shift", "channel scale"),
            options={"source": source},
        )
        for source in ("embedding", "features")
    ),
    # The connector of equal widths starts as the identity.
    Rule(
        "fitnet",
        "both",
        "embedding",
        ("pixel shift", "channel shift", "channel order", "channel sign"),
        ("image scale",),
    ),
    Rule("fitnet", "either", "embedding", (), ("pixel shift", "channel order")),
    *(
        Rule("at", "either", source, PLACE_BLIND, ("pixel scale", "pixel shift"), options={"source": source})
        for source in ("embedding", "features")
    ),
    Rule("ifvd", "either", "embedding", PLACE_BLIND, ("pixel scale", "channel shift")),
    Rule("dsd", "either", "embedding", PLACE_BLIND, ("pixel scale",), ("psd",)),
    Rule("dsd", "either", "logits", PLACE_BLIND, ("pixel scale",), ("psd",)),
    Rule("dsd", "either", "logits", ("channel shift",), ("pixel shift", "channel order"), ("csd",)),
    Rule("skds", "either", "logits", ("pixel shift",), ("channel shift",), ("pixel",)),
    *(
        Rule("skds", "either", "embedding", ("image scale", "channel order"), ("pixel scale",), ("pair",), options)
        for options in ({"places": "regions"}, {"places": "dense"})
    ),
    Rule(
        "skds", "either", "embedding", ("pixel scale",), ("channel shift",), ("pair",), {"places": "dense", "pool": 1}
    ),
    Rule("aicsd", "either", "logits", ("pixel shift",), ("channel shift",), ("pixel",)),
    Rule("aicsd", "either", "logits", ("image scale", "pixel sign"), ("channel sign",), ("similarity",)),
    # Vectors of pixels have unit length; the student's go through a batch norm where they meet a queue.
    Rule("cirkd", "teacher", "embedding", ("pixel scale",), ("channel shift",)),
    Rule("cirkd", "student", "embedding", ("pixel scale", "channel order"), ("channel shift",), ("minibatch",)),
    Rule("cirkd", "student", "embedding", ("scale",), ("pixel scale",), ("pixel", "region")),
    Rule("cirkdv2", "teacher", "embedding", ("pixel scale",), ("channel shift",), ("minibatch", "pixel", "region")),
    Rule(
        "cirkdv2",
        "teacher",
        "embedding",
        ("channel scale",),
        ("pixel scale",),
        ("channel_minibatch", "channel_memory", "channel"),
    ),
    Rule("attnfd", "teacher", "features", ("image scale",), ("pixel scale",), options={"attention": False}),
    Rule(
        "attnfd",
        "student",
        "features",
        ("scale", "channel shift in all images"),
        ("image scale", "channel shift"),
        options={"attention": False},
    ),
    # The discriminator starts with a batch norm of each map.
    Rule("adversary", "either", "logits", ("channel scale in all images",), ("image scale",), ("discriminator",)),
    Rule("adversary", "student", "logits", ("channel scale in all images",), ("image scale",), ("student",)),
]
"""`afdcd`, `maskd` and `mgd` compare the values themselves after layers that are learned: nothing leaves them."""


def _cases(kind: str) -> list[Any]:
    params: list[Any] = []
    for rule in RULES:
        for change in getattr(rule, kind):
            for whose in ("student", "teacher") if rule.whose == "either" else (rule.whose,):
                words = [rule.name, *rule.options.values(), *rule.terms, whose, rule.maps, change]
                params.append(pytest.param(rule, whose, change, id="-".join(map(str, words))))
    return params


def _before_and_after(rule: Rule, whose: str, change: str) -> dict[str, tuple[float, float]]:
    """The rule's terms for a batch and for the changed one. Features are large, so that no epsilon counts."""

    def alter(maps: SegOutput) -> SegOutput:
        if rule.maps == "features":
            return replace(maps, features=tuple(CHANGES[change](x) for x in maps.features))
        return replace(maps, **{rule.maps: CHANGES[change](getattr(maps, rule.maps))})

    def large(maps: SegOutput) -> SegOutput:
        return replace(maps, embedding=100 * maps.embedding, features=tuple(100 * x for x in maps.features))

    outputs = {"student": large(double(draw_maps(1))), "teacher": large(double(draw_maps(2)))}
    altered = {role: alter(maps) if whose in (role, "both") else maps for role, maps in outputs.items()}
    before, after = (
        _learn(rule.name, rule.options, pair["student"], pair["teacher"], blocks())[0] for pair in (outputs, altered)
    )
    terms = [f"{rule.name}/{term}" for term in rule.terms] or list(before)
    return {term: (before[term].item(), after[term].item()) for term in terms}


@pytest.mark.parametrize(("rule", "whose", "change"), _cases("leaves"))
def test_what_a_formula_does_not_see_changes_nothing(rule: Rule, whose: str, change: str) -> None:
    for before, after in _before_and_after(rule, whose, change).values():
        assert after == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize(("rule", "whose", "change"), _cases("alters"))
def test_what_a_formula_sees_changes_it(rule: Rule, whose: str, change: str) -> None:
    for before, after in _before_and_after(rule, whose, change).values():
        assert after != pytest.approx(before, rel=1e-4)
