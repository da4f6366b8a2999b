"""The published pipelines of augmentation, against the numbers and rules of OpenMMLab and CIRKD."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from made_samples import COLUMNS, HEIGHT, WIDTH, noise, sample_of, seeded
from oracles import protocol

from segdistill import create_model, load_recipe
from segdistill.core.classes import IGNORE_INDEX
from segdistill.data.augment import Augment
from segdistill.models.network import as_input


def _pipeline(name: str, **options: Any) -> Augment:
    augment: Augment = load_recipe("streets", name, "augment.crop=[32,40]").augment
    return augment.model_copy(update={"crop": (32, 40), **options})


@pytest.mark.parametrize("seed", range(8))
def test_the_crop_rule_is_openmmlabs(seed: int) -> None:
    """Its stream of draws, accepted and rejected by our rule, gives its crop."""
    arrays = protocol()
    label = arrays["random_crop/gt"]
    random = np.random.RandomState(seed)
    augment = _pipeline("openmmlab_pipeline")

    def box() -> tuple[int, int]:
        return random.randint(0, label.shape[0] - 32 + 1), random.randint(0, label.shape[1] - 40 + 1)

    top, left = box()
    for _ in range(10):
        if augment.varied(label[top : top + 32, left : left + 40]):
            break
        top, left = box()
    assert np.array_equal(label[top : top + 32, left : left + 40], arrays[f"random_crop/seed{seed}_gt"])


def test_networks_normalise_as_openmmlab_does() -> None:
    arrays = protocol()
    network = create_model("mobilenetv2_035_fcn", 4)
    image = torch.from_numpy(arrays["normalize/bgr"][..., ::-1].copy()).permute(2, 0, 1)[None]
    want = torch.from_numpy(arrays["normalize/rgb_norm"]).permute(2, 0, 1)[None]
    torch.testing.assert_close(network.normalize(as_input(image)), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "base", "ratio", "want"),
    [
        ((1024, 2048), None, 0.5, (512, 1024)),
        ((1024, 2048), (2048, 1024), 1.337, (1369, 2738)),
        ((512, 683), (2048, 512), 1.0, (512, 683)),
        ((512, 683), (2048, 512), 0.77, (394, 526)),
        ((300, 1500), (2048, 512), 1.0, (410, 2048)),
        ((375, 500), (520, 520), 1.0, (390, 520)),
    ],
)
def test_openmmlabs_sizes(size: tuple[int, int], base: Any, ratio: float, want: tuple[int, int]) -> None:
    """The image fits into (int(long x ratio), int(short x ratio)) and keeps its shape, sides rounded half up."""
    augment = _pipeline(
        "openmmlab_pipeline", base_size=base, scale=(ratio, ratio), crop=(3000, 3000), photometric=False
    )
    seen = augment(noise(*size), seeded(0))[1] != IGNORE_INDEX
    assert (int(seen.any(1).sum()), int(seen.any(0).sum())) == want


def test_cirkds_pipeline_scales_in_tenths_and_leaves_colors_and_crops_alone() -> None:
    augment = _pipeline("cirkd_pipeline", crop=(2 * HEIGHT, 2 * WIDTH))
    white = sample_of(torch.zeros(HEIGHT, WIDTH), torch.full((3, HEIGHT, WIDTH), 255, dtype=torch.uint8))
    heights = []
    for seed in range(400):
        image, label = augment(white, seeded(seed))
        seen = label != IGNORE_INDEX
        heights.append(int(seen.any(1).sum()))
        assert (image[:, seen] == 255).all()
        assert (image[:, ~seen] == torch.tensor([[123], [117], [104]])).all()
    counts = np.bincount(heights)
    assert set(np.flatnonzero(counts)) == {round(HEIGHT * tenths / 10) for tenths in range(5, 21)}
    assert counts[counts > 0].min() > 8, "sixteen factors, all as likely"
    assert _pipeline("cirkd_pipeline").max_class_share == 1


def test_opencvs_labels_are_those_of_the_published_pipelines() -> None:
    """Entry i of the result is entry floor(i / factor) of the label; the exact form takes the pixel at its centre."""
    sample = sample_of(COLUMNS)
    shared = {"crop": (HEIGHT, 25), "scale": (0.4, 0.4), "flip": False, "photometric": False, "max_class_share": 1.0}
    published, exact = (
        Augment(**shared, resize=resize)(sample, seeded(0))[1][0, :24] for resize in ("opencv", "exact")
    )
    start = np.arange(24)
    assert published.tolist() == np.floor(start / 0.4).astype(int).tolist()
    assert exact.tolist() == np.floor((start + 0.5) / 0.4).astype(int).tolist()


def test_the_recommended_pipeline_is_the_default() -> None:
    assert _pipeline("recommended", crop=(512, 512)) == Augment()
