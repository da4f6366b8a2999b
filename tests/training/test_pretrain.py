"""`pretrain`: the features of a backbone without classes, into a student's backbone, on images without labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from processes import in_two
from safetensors.torch import load_file, save_file

import segdistill
from segdistill.core.errors import CheckpointError, RecipeError, TrainingError
from segdistill.core.outputs import SegOutput
from segdistill.data.datasets.streets import Streets
from segdistill.data.unlabeled import WithoutMasks
from segdistill.models.feature_teacher import feature_teacher
from segdistill.training.patch_features import PatchFeatures
from segdistill.training.stepper import Stepper

VIT = {"embed_dim": 24, "depth": 2, "num_heads": 2, "img_size": 32}
WORDS = (
    "streets", "data.count=6", "data.size=[64,64]", "student={backbone: mobilenetv2_035, head: fcn}", "workers=0",
    "augment.crop=[48,48]", "batch_size=2", "steps=4", "checkpoint_every=2", "ema=0.9",
    "pretrain.teacher=vit_tiny_patch16_224", "pretrain.teacher_options={embed_dim: 24, depth: 2, num_heads: 2}",
    "optimizer={name: adamw, lr: 0.002}",
)  # fmt: skip
NORMLESS = ("student={backbone: convnext_atto, head: fcn, backbone_options: {dims: [8, 8, 8, 16]}}", "steps=2")
"""A student whose images do not see each other, as batch norm lets them."""


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "vit_tiny_patch16_224.safetensors"
    save_file(timm.create_model("vit_tiny_patch16_224", embed_dim=24, depth=2, num_heads=2).state_dict(), path)
    return path


def run(out: Path, teacher: Path, *words: str, **keys: Any) -> Any:
    return segdistill.pretrain(
        *WORDS, f"pretrain.teacher_weights={teacher.parent}", *words, out=out, quiet=True, **keys
    )


@pytest.mark.parametrize(
    "name",
    ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "samvit_base_patch16", "vit_small_patch16_dinov3"],
)
def test_tokens_of_a_vit_become_a_map_of_its_patches(name: str) -> None:
    options: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2}
    if name.startswith("samvit"):
        options["global_attn_indexes"] = (1,)
    teacher = feature_teacher(name, None, options).eval()
    with torch.no_grad():
        output = teacher(torch.rand(2, 3, 66, 98))
    patch = 14 if "patch14" in name else 16
    (features,) = output.features
    width = 256 if name.startswith("samvit") else 24  # SAM's neck
    assert features.shape == (2, width, -(-66 // patch), -(-98 // patch))


def test_the_map_of_a_vit_is_its_normalized_patch_tokens() -> None:
    teacher = feature_teacher("vit_small_patch14_reg4_dinov2", None, VIT | {"img_size": 28}).eval()
    model, image = teacher.backbone.model, torch.rand(1, 3, 28, 28)
    mean, std = (torch.tensor(model.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        tokens = model.forward_features((image - mean) / std)  # class and register tokens first
        (features,) = teacher(image).features
    assert torch.allclose(features, tokens[:, -4:].transpose(1, 2).reshape(1, 24, 2, 2), atol=1e-5)


def test_a_model_of_transformers_teaches_the_same_way(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, patch_size=14, image_size=56
    )
    model = transformers.AutoModel.from_config(config).eval()
    model.save_pretrained(tmp_path / "dino")
    teacher = feature_teacher(f"hf:{tmp_path / 'dino'}", "pretrained").eval()
    with torch.no_grad():
        image = torch.rand(1, 3, 28, 42)
        state = model(pixel_values=teacher.normalize(image)).last_hidden_state
        (features,) = teacher(image).features
    assert torch.allclose(features, state[:, -6:].transpose(1, 2).reshape(1, 24, 2, 3), atol=1e-5)


def outputs(seed: int = 0) -> tuple[SegOutput, SegOutput]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(2, *shape, generator=generator) for shape in ((5, 4, 6), (3, 2, 3)))
    return tuple(SegOutput(x.new_zeros(2, 2, 1, 1), x, (x,)) for x in (student, 3 * teacher + 1))  # type: ignore[return-value]


def test_the_loss_is_its_formula_on_standardized_features() -> None:
    (student, teacher), label = outputs(), torch.zeros(2, 8, 12)
    label[:, :, 6:] = 255  # padding
    loss = PatchFeatures(student, teacher, 2)
    terms = loss(student, teacher, label)
    s = loss.projection(student.features[-1])[..., :3]
    t = F.interpolate(teacher.features[-1], (4, 6), mode="bilinear", align_corners=False)[..., :3]
    rows = t.transpose(0, 1).flatten(1)
    t = (t - rows.mean(1).view(1, 3, 1, 1)) / (rows.var(1, correction=0).view(1, 3, 1, 1) + 1e-6).sqrt()
    assert torch.allclose(terms["features/cosine"], 0.9 * (1 - F.cosine_similarity(s, t)).mean(), atol=1e-5)
    assert torch.allclose(terms["features/smooth_l1"], 0.1 * F.smooth_l1_loss(s, t), atol=1e-5)
    before = loss.mean.clone()
    loss.eval()(*outputs(1), label)
    assert torch.equal(loss.mean, before)


def test_a_student_starts_from_what_was_pretrained(tmp_path: Path, teacher_file: Path) -> None:
    done = run(tmp_path / "features", teacher_file)
    assert (done.images, done.weights.name) == (6, "backbone.safetensors")
    lines = (done.folder / "metrics.jsonl").read_text()
    assert "features/cosine" in lines
    assert '"validation"' not in lines
    saved = {key: value for key, value in load_file(done.weights).items() if key.startswith("backbone.")}
    student = segdistill.create_model("mobilenetv2_035_deeplabv3plus", 8, backbone_weights=str(done.folder))
    loaded = student.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in saved.items())
    with pytest.raises(CheckpointError, match="are not those of backbone 'resnet18'"):
        segdistill.create_model("pspnet_r18", 8, backbone="resnet18", backbone_weights=str(done.folder))


def test_a_stopped_run_ends_with_the_very_weights(
    tmp_path: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_file(run(tmp_path / "whole", teacher_file).weights)
    step: Callable[..., Any] = Stepper.__call__

    def stop_at_three(self: Stepper, batches: Any, progress: Any) -> Any:
        if progress.step == 3:
            raise KeyError("stopped")
        return step(self, batches, progress)

    with monkeypatch.context() as patched:
        patched.setattr(Stepper, "__call__", stop_at_three)
        with pytest.raises(KeyError):
            run(tmp_path / "stopped", teacher_file)
    kept = teacher_file.read_bytes()
    save_file({key: value + 1 for key, value in load_file(teacher_file).items()}, teacher_file)
    with pytest.raises(TrainingError, match="other weights than those that taught the run"):
        run(tmp_path / "stopped", teacher_file, resume=True)
    teacher_file.write_bytes(kept)
    resumed = load_file(run(tmp_path / "stopped", teacher_file, resume=True).weights)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def _pretrain(rank: int, out: str, teacher: str) -> None:
    run(Path(out), Path(teacher), *NORMLESS)


def test_two_processes_learn_what_one_learns(tmp_path: Path, teacher_file: Path) -> None:
    alone = load_file(run(tmp_path / "one", teacher_file, *NORMLESS).weights)
    in_two(_pretrain, str(tmp_path / "two"), str(teacher_file))
    both = load_file(tmp_path / "two" / "backbone.safetensors")
    assert all(torch.allclose(alone[key], both[key], atol=1e-5) for key in alone)


def test_folders_of_images_need_no_data_set_and_no_masks(tmp_path: Path, teacher_file: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (60, 50), (40 * number, 90, 10)).save(tmp_path / "photos" / f"{number}.jpg")
    done = run(tmp_path / "run", teacher_file, f"pretrain.images={tmp_path / 'photos'}", "steps=1")
    assert done.images == 3


def test_no_mask_is_read() -> None:
    data = WithoutMasks(Streets(split="train", count=2))
    assert not data.is_labeled(0)
    assert data[1].label.unique().tolist() == [255]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("pretrain.teacher=vit_tiny_patch17", r"no network of timm is called 'vit_tiny_patch17'\. Did you mean"),
        ("pretrain.teacher=null", r"names no teacher of features. Set pretrain\.teacher"),
        ("student=torchvision:fcn_resnet50", "made of a backbone and a head"),
    ],
)
def test_what_cannot_be_pretrained_is_refused(tmp_path: Path, teacher_file: Path, word: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        run(tmp_path / "run", teacher_file, word)
    assert not (tmp_path / "run").exists()
