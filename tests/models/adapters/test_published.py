"""Networks of Hugging Face, smp and torchvision: they score what they scored at home, and train, save and load here."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
import yaml
from torch import Tensor, nn

import segdistill
from segdistill.core.errors import CheckpointError
from segdistill.data.tables import label_table
from segdistill.evaluation.cost.cost import parameters
from segdistill.models.build import build, probe
from segdistill.models.class_names import unnamed
from segdistill.models.files import save_model
from segdistill.models.network import SegmentationNetwork
from segdistill.models.open import create_model, open_model
from segdistill.models.zoo import resolve_spec
from segdistill.recipe.training import OptimizerConfig
from segdistill.training.schedule import make_optimizer

CLASSES = label_table("streets").classes
K = len(CLASSES)
SEMANTIC = ("segformer", "upernet", "dpt", "beit", "mobilevit")
MASKS = ("mask2former", "maskformer", "eomt")
SMP = ("unet", "deeplabv3plus")
TORCHVISION = ("lraspp_mobilenet_v3_large", "deeplabv3_resnet50")
EVERY = (*SEMANTIC, *MASKS, *SMP, *TORCHVISION)
ONE_SIZE = {"dpt": 64, "beit": 32, "eomt": 32}

Publish = Callable[[str], Any]
every = pytest.mark.parametrize("name", EVERY)
light = pytest.mark.parametrize("name", EVERY[:-1])


def _image(*size: int, n: int = 1) -> Tensor:
    return torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(5))


def _load(model: Any) -> SegmentationNetwork:
    """The published network as it is; torchvision's would be downloaded, so it is filled with the module's weights."""
    if not model.name.startswith("torchvision"):
        return segdistill.load_model(model.name)
    network = create_model(model.name, K)
    network.module.load_state_dict(model.module.state_dict(), strict=False)  # type: ignore[union-attr]
    return network.eval()


def _at_home(model: Any, pixels: Tensor) -> Tensor:
    """The class scores, as the library itself gives them."""
    with torch.no_grad():
        output = model.module.eval()(pixels)
    if hasattr(output, "masks_queries_logits"):
        shares = output.class_queries_logits.softmax(-1)[..., :-1]
        return torch.einsum("bqc,bqhw->bchw", shares, output.masks_queries_logits.sigmoid())
    if isinstance(output, dict):
        return output["out"] if "out" in output else output["logits"]  # type: ignore[no-any-return]
    return output if isinstance(output, Tensor) else output.logits  # type: ignore[no-any-return]


@every
def test_the_scores_are_those_of_the_library(name: str, published: Publish) -> None:
    model = published(name)
    network = _load(model)
    size = (ONE_SIZE[name],) * 2 if name in ONE_SIZE else (64, 96)
    image = _image(*size, n=2)
    with torch.no_grad():
        output = network(image)
    wanted = _at_home(model, network.normalize(image))
    if name in MASKS:
        torch.testing.assert_close(output.logits.softmax(1), wanted / wanted.sum(1, keepdim=True))
    else:
        resized = [
            F.interpolate(output.logits, wanted.shape[-2:], mode="bilinear", align_corners=ac) for ac in (False, True)
        ]
        assert any(torch.allclose(each, wanted, atol=1e-4) for each in resized)
        assert output.logits.shape[-1] < size[-1] or name == "unet", "at its own stride"
    if name not in MASKS and not name.startswith("lraspp"):
        classifier = network.module.get_submodule(network.location.embedding)  # type: ignore[union-attr, operator]
        torch.testing.assert_close(classifier(output.embedding), output.logits, msg="the embedding is what it reads")
    assert output.auxiliary is None
    assert all(
        fine.shape[-2] >= coarse.shape[-2] for fine, coarse in zip(output.features, output.features[1:], strict=False)
    )
    assert len(output.features) > 1 or name == "eomt"


@light
def test_odd_sizes(name: str, published: Publish) -> None:
    network = _load(published(name))
    for size in ((33, 47), (97, 40)):
        with torch.no_grad():
            output = network(_image(*size, n=2))
        assert output.logits.isfinite().all()
        if name not in ONE_SIZE:
            stride = 64 // probe(network, (64, 96)).logits.shape[-2]
            assert output.logits.shape[-2:] == tuple(-(-side // stride) for side in size)


@every
def test_training_reaches_every_parameter_that_trains(name: str, published: Publish) -> None:
    torch.manual_seed(0)
    network = create_model(published(name).name, 5).train()
    _check_parts(network, auxiliary=name in ("upernet", "dpt", "beit"), backbone=name != "eomt")
    with torch.autocast("cpu", torch.bfloat16):
        output = network(_image(64, 96, n=2))
    assert output.logits.shape[1] == 5
    assert (output.auxiliary is not None) == (name in ("upernet", "dpt", "beit"))
    loss = output.logits.float().square().mean()
    if output.auxiliary is not None:
        loss = loss + output.auxiliary.float().square().mean()
    loss.backward()
    assert not [key for key, each in network.named_parameters() if each.requires_grad and each.grad is None]


def _check_parts(network: SegmentationNetwork, *, auxiliary: bool, backbone: bool) -> None:
    """Backbone and head have their learning rates, and the auxiliary head is not counted."""
    rates = {}
    for group in make_optimizer(OptimizerConfig(lr=1.0, head_lr=10.0), network, None).param_groups:
        rates |= dict.fromkeys(group["params"], group["lr"])
    parts = {key: network.section_of(key) for key, each in network.named_parameters() if each in rates}
    for key, each in network.named_parameters():
        assert key not in parts or rates[each] == (1.0 if parts[key] == "backbone" else 10.0)
    assert ({"backbone", "head"} <= set(parts.values())) == backbone
    unused = sum(each.numel() for key, each in network.named_parameters() if ".auxiliary_head." in key)
    assert parameters(network) == sum(each.numel() for each in network.parameters()) - unused
    assert (unused > 0) == auxiliary


@light
def test_a_run_folder_needs_nothing_else(name: str, published: Publish, tmp_path: Path) -> None:
    """Not the folder that the network came from either."""
    model = published(name)
    torch.manual_seed(3)
    original = tmp_path / "original"
    spec_name = model.name
    if not spec_name.startswith("torchvision"):
        prefix, _, folder = model.name.partition(":")
        shutil.copytree(folder, original)
        spec_name = f"{prefix}:{original}"
    spec = resolve_spec({"name": spec_name})
    network = build(spec, 5)
    classes = segdistill.models.files.Classes(CLASSES.names[:5], CLASSES.colors[:5])
    save_model(tmp_path / "run", "student", network, spec, classes, {})
    shutil.rmtree(original, ignore_errors=True)
    loaded = segdistill.load_model(tmp_path / "run")
    image = _image(33, 47)
    with torch.no_grad():
        expected = network.eval()(image).logits
        torch.testing.assert_close(loaded(image).logits, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))
    assert loaded.classes == classes
    described = yaml.safe_load((tmp_path / "run" / "student.yaml").read_text(encoding="utf-8"))
    assert set(described["network"]) <= {"name", "options", "mean", "std", "bgr"}


def test_a_copy_scores_the_same_and_is_its_own(published: Publish) -> None:
    network = _load(published("segformer"))
    image = _image(64, 96)
    with torch.no_grad():
        wanted = network(image)
        twin = copy.deepcopy(network)
        for each in twin.parameters():
            each.zero_()
        assert not torch.equal(twin(image).logits, wanted.logits)
        assert torch.equal(network(image).logits, wanted.logits)


def test_a_network_exports(published: Publish) -> None:
    network = _load(published("segformer"))
    image = _image(64, 96)

    class Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Tensor) -> Tensor:
            return self.network(image).logits  # type: ignore[no-any-return]

    exported = torch.export.export(Scores().eval(), (image,), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(exported.module()(image), network(image).logits)


def test_class_names_and_normalisation_come_with_a_hugging_face_folder(published: Publish) -> None:
    network = _load(published("segformer"))
    assert network.classes is not None
    assert network.classes.names == CLASSES.names
    torch.testing.assert_close(network.mean.flatten(), torch.tensor([0.5, 0.4, 0.3]))
    torch.testing.assert_close(network.std.flatten(), torch.tensor([0.2, 0.3, 0.4]))
    changed = segdistill.load_model(published("segformer").name, mean=[0.1, 0.1, 0.1])
    assert changed.mean.unique().item() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("processor", "mean", "std", "bgr"),
    [
        (None, 0.485, 0.229, False),
        ({"do_flip_channel_order": True}, 0.0, 1.0, True),  # MobileViT
        ({"do_normalize": False}, 0.0, 1.0, False),
        ({"do_rescale": False, "image_mean": [51.0] * 3, "image_std": [102.0] * 3}, 0.2, 0.4, False),
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}, 0.5, 0.5, False),
        ({"image_mean": 0.5, "image_std": 0.25}, 0.5, 0.25, False),
    ],
    ids=str,
)
def test_the_normalisation_is_that_of_the_image_processor(
    processor: dict[str, Any] | None, mean: float, std: float, bgr: bool, published: Publish, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(published("segformer").name.partition(":")[2], folder)
    (folder / "preprocessor_config.json").unlink()
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    network = segdistill.load_model(f"hf:{folder}")
    assert (network.mean[0, 0, 0, 0].item(), network.std[0, 0, 0, 0].item()) == pytest.approx((mean, std))
    assert network.bgr == bgr


def test_a_processor_without_a_file_is_that_of_its_kind(published: Publish, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(published("mobilevit").name.partition(":")[2], folder)
    (folder / "preprocessor_config.json").unlink(missing_ok=True)
    network = segdistill.load_model(f"hf:{folder}")
    assert (network.bgr, network.mean.max().item(), network.std.min().item()) == (True, 0, 1)  # as MobileViT's has it
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5')
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json"):
        segdistill.load_model(f"hf:{folder}")


def test_a_network_without_class_names_says_so(published: Publish) -> None:
    assert unnamed(open_model(published("unet").name).classes.names)
    assert not unnamed(open_model(published("segformer").name).classes.names)


def test_a_backbone_alone_starts_a_student_but_is_no_teacher(tmp_path: Path) -> None:
    config = hf.SegformerConfig(
        hidden_sizes=[4, 8, 8, 8], depths=[1] * 4, num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=12
    )
    backbone = hf.SegformerForImageClassification(config)
    backbone.save_pretrained(tmp_path)
    student = create_model(f"hf:{tmp_path}", 3)
    ours, theirs = student.module.state_dict(), backbone.state_dict()  # type: ignore[union-attr]
    shared = [key for key in theirs if key.startswith("segformer.")]
    assert shared
    assert all(torch.equal(ours[key], theirs[key]) for key in shared)
    with pytest.raises(CheckpointError, match="not a trained segmentation network"):
        segdistill.load_model(f"hf:{tmp_path}")


def test_oneformer_needs_the_words_of_its_task(published: Publish, tmp_path: Path) -> None:
    name = published("oneformer").name
    with pytest.raises(CheckpointError, match="without its tokenizer"):
        segdistill.load_model(name)
    network = segdistill.load_model(name, options={"task_tokens": [5, 1, 2, 3, 4, 6, 0, 0]})
    spec = resolve_spec({"name": name, "options": {"task_tokens": [5, 1, 2, 3, 4, 6, 0, 0]}})
    assert network.classes is not None
    save_model(tmp_path, "teacher", network, spec, network.classes, {})
    again, image = segdistill.load_model(tmp_path), _image(33, 47)
    with torch.no_grad():  # where in memory weights lie changes the last bits of a product on some processors
        torch.testing.assert_close(again(image).logits, network(image).logits, rtol=1e-5, atol=1e-5)
