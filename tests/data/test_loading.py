"""Training batches: a pure function of seed and step, whatever the workers, the ranks and the point of resumption."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from itertools import chain, pairwise

import pytest
import torch

from segdistill.core.classes import Classes, distinct_colors
from segdistill.core.errors import DataError
from segdistill.core.seeds import mix
from segdistill.data.augment import Augment
from segdistill.data.base import Sample, SegmentationDataset
from segdistill.data.loading import Batch, Share, training_batches
from segdistill.data.stream import Stream

COUNT = 10


class Noise(SegmentationDataset):
    """Ten images of random pixels and of different sizes."""

    classes = Classes(names=("a", "b", "c"), colors=distinct_colors(3))

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Sample:
        generator = torch.Generator().manual_seed(index)
        height, width = 20 + index, 30 - index
        image = torch.randint(256, (3, height, width), dtype=torch.uint8, generator=generator)
        label = torch.randint(3, (height, width), dtype=torch.uint8, generator=generator)
        return Sample(image, label, str(index))


def _stream(seed: int = 0) -> Stream:
    return Stream(Noise(), Augment(crop=(16, 24)), seed)


def _names(stream: Stream, epoch: int) -> list[str]:
    return [stream[position][2] for position in range(epoch * COUNT, (epoch + 1) * COUNT)]


def _same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.image, y.image) and torch.equal(x.label, y.label) and x.names == y.names
        for x, y in zip(a, b, strict=True)
    )


# --- The stream -----------------------------------------------------------------------------------------------------


def test_every_epoch_sees_each_sample_once() -> None:
    for epoch in range(4):
        assert sorted(_names(_stream(), epoch), key=int) == [str(i) for i in range(COUNT)]


def test_every_epoch_and_every_seed_has_an_order_of_its_own() -> None:
    orders = [tuple(_names(_stream(seed), epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9
    assert tuple(_names(_stream(2), 1)) == orders[7], "the same seed and epoch give the same order"


def test_a_position_does_not_depend_on_what_was_read_before() -> None:
    fresh, used = _stream(), _stream()
    for position in (3, 25, 0):
        _ = used[position]
    image, label, name, *_ = fresh[17]
    again = used[17]
    assert torch.equal(image, again[0])
    assert torch.equal(label, again[1])
    assert name == again[2]


def test_a_sample_is_augmented_anew_in_every_epoch() -> None:
    stream = _stream()
    images = [stream[p][0] for p in range(3 * COUNT) if stream[p][2] == "4"]
    assert len(images) == 3
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[1], images[2])


def test_the_global_generator_has_no_say() -> None:
    torch.manual_seed(1)
    first = _stream()[5][0]
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(first, _stream()[5][0])
    assert torch.equal(state, torch.get_rng_state()), "nor is it moved on"


# --- Who reads what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("world", "grad_accumulation"), [(1, 1), (2, 1), (1, 2), (2, 2), (8, 1), (1, 8)])
def test_ranks_and_micro_batches_divide_the_batch(world: int, grad_accumulation: int) -> None:
    for step in range(5):
        parts = [
            part
            for rank in range(world)
            for part in Share(8, rank=rank, world=world, grad_accumulation=grad_accumulation).positions(step)
        ]
        assert {len(part) for part in parts} == {8 // (world * grad_accumulation)}
        assert sorted(chain.from_iterable(parts)) == Share(8).positions(step)[0] == list(range(8 * step, 8 * step + 8))


@pytest.mark.parametrize(("world", "grad_accumulation"), [(2, 1), (1, 2), (2, 2)])
def test_the_samples_of_a_step_do_not_depend_on_how_it_is_divided(world: int, grad_accumulation: int) -> None:
    (whole,) = training_batches(_stream(), Share(8), start=3, stop=4, workers=0)
    shares = [Share(8, rank=rank, world=world, grad_accumulation=grad_accumulation) for rank in range(world)]
    parts = [batch for share in shares for batch in training_batches(_stream(), share, start=3, stop=4, workers=0)]
    images = {tuple(image.flatten().tolist()) for part in parts for image in part.image}
    assert images == {tuple(image.flatten().tolist()) for image in whole.image}
    assert Counter(name for part in parts for name in part.names) == Counter(whole.names)


# --- Batches --------------------------------------------------------------------------------------------------------


def test_shapes_and_types() -> None:
    batches = list(training_batches(_stream(), Share(4, grad_accumulation=2), start=0, stop=3, workers=0))
    assert len(batches) == 6
    for batch in batches:
        assert batch.image.shape == (2, 3, 16, 24)
        assert batch.label.shape == (2, 16, 24)
        assert batch.image.dtype == batch.label.dtype == torch.uint8
        assert len(batch.names) == 2
        moved = batch.to(torch.device("cpu"))
        assert torch.equal(moved.image, batch.image)
        assert moved.names == batch.names


def test_batches_hold_the_stream_in_order() -> None:
    batches = list(training_batches(_stream(), Share(4), start=0, stop=5, workers=0))
    assert [name for batch in batches for name in batch.names] == _names(_stream(), 0) + _names(_stream(), 1)
    assert torch.equal(batches[2].image[1], _stream()[9][0])


def test_the_number_of_workers_changes_nothing() -> None:
    alone, helped = (
        list(training_batches(_stream(), Share(4, grad_accumulation=2), start=0, stop=6, workers=workers))
        for workers in (0, 2)
    )
    assert len(alone) == 12
    assert _same(alone, helped)


@pytest.mark.parametrize("grad_accumulation", [1, 2])
def test_resuming_gives_the_tail_of_the_whole(grad_accumulation: int) -> None:
    share = Share(4, grad_accumulation=grad_accumulation)
    whole = list(training_batches(_stream(), share, start=0, stop=7, workers=0))
    for start in (0, 1, 4, 6):
        tail = list(training_batches(_stream(), share, start=start, stop=7, workers=0))
        assert _same(tail, whole[start * grad_accumulation :])


class Damaged(Noise):
    """Its sample 4 can't be read."""

    def __getitem__(self, index: int) -> Sample:
        if index == 4:
            raise DataError("Can't read image 4.png")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_that_cannot_be_read_stops_the_run_with_its_own_words(workers: int) -> None:
    """No traceback of a worker in them; and what comes before it is trained on."""
    stream = Stream(Damaged(), Augment(crop=(16, 24)), 0)
    batches = training_batches(stream, Share(2), start=0, stop=5, workers=workers)
    before = _names(_stream(), 0).index("4") // 2
    assert [len(next(batches).names) for _ in range(before)] == [2] * before
    assert _error(batches) == "Can't read image 4.png"


@pytest.mark.parametrize("workers", [0, 2])
def test_another_sample_takes_the_place_of_one_that_cannot_be_read(workers: int) -> None:
    """The same one whoever reads it and wherever a run begins; all other places are as they would have been."""
    count = 40
    stream, whole = Stream(Damaged(), Augment(crop=(16, 24)), 0), _stream()
    batches = list(training_batches(stream, Share(1), start=0, stop=count, workers=workers, skip=True))
    damaged = [place for place in range(count) if whole[place][2] == "4"]
    assert len(damaged) >= 2
    for place, batch in enumerate(batches):
        if place not in damaged:
            assert torch.equal(batch.image[0], whole[place][0])
            assert batch.unreadable == ()
            continue
        (name,) = batch.names
        assert name != "4"
        image, label, *_ = whole.taking(int(name), place)
        assert torch.equal(batch.image[0], image)
        assert torch.equal(batch.label[0], label)
        assert batch.unreadable == ((4, "Can't read image 4.png"),)
    tail = list(training_batches(stream, Share(1), start=damaged[0], stop=count, workers=0, skip=True))
    assert _same(tail, batches[damaged[0] :])


class Gone(Noise):
    """Nothing can be read."""

    def __getitem__(self, index: int) -> Sample:
        raise DataError(f"Can't read image {index}.png")


def test_where_nothing_can_be_read_the_run_stops() -> None:
    stream = Stream(Gone(), Augment(crop=(16, 24)), 0)
    batches = training_batches(stream, Share(1), start=0, stop=1, workers=0, skip=True)
    with pytest.raises(DataError, match=r"is the disk still there\? The first: Can't read image"):
        next(batches)


def _error(batches: Iterator[Batch]) -> str:
    """What the next batch says. Drops the traceback, which holds the loader: see below what workers left over do."""
    try:
        next(batches)
    except DataError as error:
        error.__traceback__ = None
        return str(error)
    return "no error"


@pytest.mark.parametrize("data", [Noise(), Damaged()], ids=["stopped early", "error"])
def test_a_program_ends_although_it_did_not_read_all_batches(data: SegmentationDataset) -> None:
    """As after an exception, an early stop or an unreadable sample; the fork stands for the program."""
    program = multiprocessing.get_context("fork").Process(target=_read_and_end, args=(data,))
    program.start()
    program.join(30)
    ended = program.exitcode
    program.kill()
    assert ended == 0


def _read_and_end(data: SegmentationDataset) -> None:
    batches = training_batches(Stream(data, Augment(crop=(16, 24)), 0), Share(2), start=0, stop=50, workers=1)
    ALIVE.append(batches)
    try:
        for _ in range(8):
            next(batches)
    except DataError as error:
        ALIVE.append(error)


ALIVE: list[object] = []
"""What a program still holds when it ends."""


def test_a_finished_run_has_no_batch_left() -> None:
    assert list(training_batches(_stream(), Share(4), start=7, stop=7, workers=0)) == []


# --- Seeds ----------------------------------------------------------------------------------------------------------


def test_mix_is_the_same_on_every_machine() -> None:
    """Pinned: another value would break the promise that a resumed run equals an uninterrupted one."""
    assert (mix(0), mix(7, 100_000), mix(1, 2, 3)) == (
        3717377837946358015,
        8141736836951522048,
        6530208866956668065,
    )


def test_near_inputs_give_unrelated_seeds() -> None:
    seeds = [mix(seed, position) for seed in range(30) for position in range(1, 31)]
    assert len(set(seeds)) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)
    flipped = [(a ^ b).bit_count() for a, b in pairwise(seeds)]
    assert 30 < sum(flipped) / len(flipped) < 33, "half of the 63 bits change"


def test_mix_minds_the_order_of_its_parts() -> None:
    assert mix(1, 2) != mix(2, 1)


def test_mix_minds_zeros_at_the_end() -> None:
    assert len({mix(1), mix(1, 0), mix(1, 0, 0)}) == 3
