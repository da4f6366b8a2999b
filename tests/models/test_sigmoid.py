"""One sigmoid channel: two classes with the logits (0, z), exactly, whoever made the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from torch import Tensor, nn

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.data import Classes
from segdistill.models.checkpoints.published import as_layout
from segdistill.models.class_map import class_map
from segdistill.models.open import create_model, load_model, open_model
from segdistill.recipe.teacher import TeacherConfig
from segdistill.training.pairing import pair
from segdistill.training.task_loss import task_loss

IMAGE = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
CRACK = Classes(("background", "crack"), ((0, 0, 0), (9, 9, 9)))


class Small(nn.Module):
    """One channel, as `form` gives it."""

    def __init__(self, form: str = "plain") -> None:
        super().__init__()
        self.stem, self.score, self.form = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 1, 1), form

    def forward(self, x: Tensor) -> object:
        z = self.score(self.stem(x).relu())
        forms = {"squeezed": z[:, 0], "last": z.permute(0, 2, 3, 1), "sigmoid": z.sigmoid(), "dict": {"mask": z}}
        return forms.get(self.form, z)


@pytest.mark.parametrize("form", ["plain", "squeezed", "last", "sigmoid", "dict"])
@pytest.mark.parametrize("classes", [1, 2])
def test_any_module_of_one_channel_is_two_classes(form: str, classes: int) -> None:
    module = Small(form)
    network = segdistill.wrap(module, classes).eval()
    logits = network(IMAGE).logits
    assert (network.num_classes, network.sigmoid, logits.shape) == (2, True, (2, 2, 64, 96))
    z = module.score(module.stem(network.normalize(IMAGE)).relu())
    assert torch.equal(logits[:, :1], torch.zeros_like(z))
    assert torch.equal(logits[:, 1:], z)


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_smps_network_saved_and_loaded(activation: str | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = smp.Unet("resnet18", encoder_weights=None, classes=1, activation=activation).eval()
    theirs.save_pretrained(str(tmp_path))
    network = load_model(f"smp:{tmp_path}")
    with torch.no_grad():
        scores = theirs(network.normalize(IMAGE))
        ours = network(IMAGE).logits
    expected = scores if activation else scores.sigmoid()
    torch.testing.assert_close(ours.softmax(1)[:, 1:], expected)
    assert torch.equal(ours.argmax(1), (expected > 0.5)[:, 0].long())


def test_hugging_faces_num_labels_1(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4, "num_attention_heads": [1, 1, 2, 2]}
    config = transformers.SegformerConfig(num_labels=1, decoder_hidden_size=16, id2label={0: "crack"}, **sizes)
    theirs = transformers.SegformerForSemanticSegmentation(config).eval()
    theirs.save_pretrained(tmp_path)
    model = open_model(f"hf:{tmp_path}")
    assert model.classes.names == ("background", "crack")
    with torch.no_grad():
        torch.testing.assert_close(
            model.network(IMAGE).logits[:, 1:], theirs(pixel_values=model.network.normalize(IMAGE)).logits
        )
    student = create_model(f"hf:{tmp_path}", 2)  # its own head fits two classes
    assert torch.equal(student.eval()(IMAGE).logits, model.network(IMAGE).logits)


def test_openmmlabs_out_channels_1(tmp_path: Path) -> None:
    network = create_model("segformer_b0", 2, sigmoid=True).eval()
    state = as_layout(network, "openmmlab")  # type: ignore[arg-type]
    assert state["decode_head.conv_seg.weight"].shape == (1, 256, 1, 1)
    torch.save({"state_dict": state, "meta": {"CLASSES": ("road", "crack")}}, tmp_path / "file.pth")
    inspected = segdistill.inspect(tmp_path / "file.pth")
    assert (inspected.network, inspected.num_classes, inspected.faults) == ("segformer_b0", 2, ())
    loaded = load_model(tmp_path / "file.pth")
    assert loaded.classes is not None
    assert loaded.classes.names == ("road", "crack")
    assert torch.equal(loaded(IMAGE).logits, network(IMAGE).logits)
    assert not loaded(IMAGE).logits[:, 0].any()


def test_a_students_loss_is_binary_cross_entropy() -> None:
    torch.manual_seed(0)
    student = create_model("mobilenetv2_035_fcn", 2, sigmoid=True, auxiliary_channels=8)
    output, label = student(IMAGE), torch.randint(0, 2, (2, 64, 96))
    assert output.auxiliary is not None
    assert not output.auxiliary[:, 0].any()
    z = F.interpolate(output.logits[:, 1:], (64, 96), mode="bilinear")[:, 0]
    expected = F.binary_cross_entropy_with_logits(z, label.float())
    torch.testing.assert_close(task_loss(output.logits, label.to(torch.uint8)), expected)
    with pytest.raises(RecipeError, match="there are 3"):
        create_model("mobilenetv2_035_fcn", 3, sigmoid=True)
    with pytest.raises(RecipeError, match="single class"):
        create_model("mobilenetv2_035_fcn", 1)


def test_one_entry_of_a_class_map_is_about_the_channel() -> None:
    names = ("LABEL_0", "LABEL_1")
    for source in ({0: "crack"}, {"0": 1}, {1: "crack"}, {"LABEL_0": "crack"}, {0: "background", 1: "crack"}):
        assert class_map(source, names, CRACK.names, sigmoid=True).targets == (0, 1), source
    assert class_map({0: "crack"}, names, ("crack", "rest"), sigmoid=True).targets == (1, 0)
    named = ("background", "hole")
    assert class_map({"hole": "crack"}, named, CRACK.names, sigmoid=True).targets == (0, 1)
    assert class_map({"background": "crack"}, named, CRACK.names, sigmoid=True).targets == (1, 0)
    assert class_map({0: "crack"}, names, ("a", "b", "crack"), sigmoid=True).targets == (None, 2)
    assert class_map({0: "crack"}, names, CRACK.names).targets == (1, None)  # two channels: it is the first


def test_a_channel_without_a_name_is_the_second_class_and_never_the_background(tmp_path: Path) -> None:
    smp.Unet("resnet18", encoder_weights=None, classes=1).save_pretrained(str(tmp_path))
    model = open_model(f"smp:{tmp_path}")
    paired = pair(model, TeacherConfig(weights="x"), CRACK)
    assert not paired.incompatibility
    assert "its one channel is taken for crack, the rest for background" in paired.note
    turned = Classes(("crack", "background"), CRACK.colors)
    assert "teacher.class_map={0: crack}" in pair(model, TeacherConfig(weights="x"), turned).incompatibility
    three = Classes(("a", "b", "c"), (*CRACK.colors, (1, 1, 1)))
    assert "scores one class" in pair(model, TeacherConfig(weights="x"), three).incompatibility
    mapped = pair(model, TeacherConfig(weights="x", class_map={0: "crack"}), turned).model.network
    with torch.no_grad():
        assert torch.equal(mapped(IMAGE).logits, model.network(IMAGE).logits.flip(1))


def test_a_binary_teacher_distils_a_one_channel_student_and_predicts(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for i in range(5):
        rng = np.random.default_rng(i)
        Image.fromarray(rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(tmp_path / f"images/{i}.png")
        label = rng.integers(0, 2, (64, 64)) * 255
        Image.fromarray(label.astype(np.uint8)).save(tmp_path / f"masks/{i}.png")
    torch.manual_seed(1)
    smp.Unet("resnet18", encoder_weights=None, classes=1).save_pretrained(str(tmp_path / "teacher"))
    teacher = f"smp:{tmp_path / 'teacher'}"
    words = (
        "folder", "kd", f"data.root={tmp_path}", "data.classes=[background,crack]", "data.values={0: 0, 255: 1}",
        "student={name: smp:unet/resnet18, options: {arguments: {classes: 1}}}", f"teacher.weights={teacher}",
        "teacher.class_map={0: crack}", "teacher.check=false", "baseline=none", "steps=1", "batch_size=2",
        "augment.crop=[64,64]", "workers=0",
    )  # fmt: skip
    segdistill.distill(*words, out=tmp_path / "run", quiet=True)
    student = load_model(tmp_path / "run")
    assert (student.sigmoid, student.num_classes) == (True, 2)
    for name in (teacher, tmp_path / "run"):
        list(segdistill.predict(name, tmp_path / "images", out=tmp_path / "out"))
        network = load_model(name)
        pixels = torch.from_numpy(np.array(Image.open(tmp_path / "images/0.png"))).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            z = F.interpolate(network(pixels).logits[:, 1:], (64, 64), mode="bilinear")
        mask = torch.from_numpy(np.array(Image.open(tmp_path / "out/0_mask.png")))
        assert torch.equal(mask.bool(), (z.sigmoid() > 0.5)[0, 0])


def test_numbers_after_a_sigmoid_are_not_taken_for_scores() -> None:
    with pytest.raises(RecipeError, match="between 0 and 1, as after a sigmoid"):
        segdistill.wrap(Small("sigmoid"), 1, classifier="output")
