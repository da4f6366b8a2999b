"""Any module as a network: its classifier is found, or the error says what to name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import segdistill
from segdistill.core.errors import RecipeError
from segdistill.evaluation.cost.cost import parameters
from segdistill.models.adapters.taps import token_grid
from segdistill.models.build import build
from segdistill.models.open import create_model
from segdistill.models.zoo import resolve_spec

K = 4


class Convolutions(nn.Module):
    """As anybody writes one: a dictionary of scores at the size of the image, and a second head that runs later."""

    def __init__(self, num_classes: int = K, softmax: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU())
        self.score = nn.Conv2d(8, num_classes, 1)
        self.aux_head = nn.Conv2d(6, num_classes, 1)
        self.softmax = softmax

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        stem = self.stem(x)
        scores = F.interpolate(self.score(self.body(stem)), x.shape[-2:], mode="bilinear", align_corners=True)
        return {"out": scores.softmax(1) if self.softmax else scores, "aux": self.aux_head(stem)}


class Tokens(nn.Module):
    """A patch transformer whose classifier is a linear layer on tokens N,L,C or N,h,w,C; it returns a list."""

    def __init__(self, flat: bool = True) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.classify = nn.Linear(8, K)
        self.flat = flat

    def forward(self, x: Tensor) -> list[Tensor]:
        grid = self.patches(x)
        tokens = grid.flatten(2).mT if self.flat else grid.permute(0, 2, 3, 1)
        scores = self.classify(tokens.relu())
        return [scores.mT.unflatten(2, grid.shape[-2:]) if self.flat else scores.permute(0, 3, 1, 2)]


class Sum(nn.Module):
    """Two classifiers added up: neither gives the scores alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.first, self.second = nn.Conv2d(8, K, 1), nn.Conv2d(8, K, 1)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        return self.first(stem) + self.second(stem.relu())


class Halving(nn.Module):
    """A U-Net in small: it takes multiples of 8 only."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [nn.Conv2d(3, 4, 2, stride=2), nn.Conv2d(4, 4, 2, stride=2), nn.Conv2d(4, 4, 2, stride=2)]
        )
        self.score = nn.Conv2d(8, K, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for down in self.down:
            maps.append(down(maps[-1]))
        return self.score(torch.cat([maps[1], F.interpolate(maps[3], scale_factor=4)], 1))


class Flat(nn.Module):
    """No layer with K outputs: the scores are shuffled out of 4 K channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4 * K, 4, stride=4)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.shuffle(self.stem(x)), x


def _image(*size: int) -> Tensor:
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("softmax", [False, True])
def test_the_classifier_is_found_though_another_head_runs_after_it(softmax: bool) -> None:
    module = Convolutions(softmax=softmax)
    network = segdistill.wrap(module, K).eval()
    output = network(_image(33, 47))
    assert output.logits.shape == (2, K, 9, 12)
    assert torch.equal(module.score(output.embedding), output.logits)
    scores = F.interpolate(output.logits, (33, 47), mode="bilinear", align_corners=True)
    expected = module(network.normalize(_image(33, 47)))["out"]
    torch.testing.assert_close(scores.softmax(1) if softmax else scores, expected)


def test_the_auxiliary_head_speaks_only_while_training_and_is_not_counted() -> None:
    network = segdistill.wrap(Convolutions(), K)
    assert network.training
    trained = network(_image(32, 48))
    assert trained.auxiliary is not None
    assert trained.auxiliary.shape == (2, K, 16, 24)
    assert network.eval()(_image(32, 48)).auxiliary is None
    assert parameters(network) == sum(p.numel() for p in network.parameters()) - 6 * K - K


def test_a_compiled_network_scores_the_same() -> None:
    network = segdistill.wrap(Convolutions(), K).eval()
    wanted, compiled = (call(_image(64, 96)) for call in (network, torch.compile(network, backend="eager")))
    torch.testing.assert_close(compiled.logits, wanted.logits)
    torch.testing.assert_close(compiled.embedding, wanted.embedding)


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("size", [(32, 80), (80, 32), (33, 47)], ids=str)
def test_a_linear_classifier_on_tokens(flat: bool, size: tuple[int, int]) -> None:
    module = Tokens(flat)
    network = segdistill.wrap(module, K).eval()
    output = network(_image(*size))
    torch.testing.assert_close(output.logits, module(network.normalize(_image(*size)))[0])
    assert output.embedding.shape == (2, 8, size[0] // 8, size[1] // 8)
    torch.testing.assert_close(module.classify(output.embedding.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), output.logits)


def test_scores_that_no_layer_gives_alone_are_the_modules_own() -> None:
    module = Sum()
    output = segdistill.wrap(module, K, mean=(0, 0, 0), std=(1, 1, 1)).eval()(_image(32, 48))
    torch.testing.assert_close(output.logits, module(_image(32, 48)))
    torch.testing.assert_close(output.embedding, module.stem(_image(32, 48)).relu())


def test_a_network_of_multiples_takes_any_size() -> None:
    module = Halving()
    network = segdistill.wrap(module, K).eval()
    assert network(_image(33, 47)).logits.shape == (2, K, 17, 24)
    exact = network(_image(32, 48))
    torch.testing.assert_close(exact.logits, module(network.normalize(_image(32, 48))))
    # Padding at the bottom and right leaves the rest of an image where it was.
    torch.testing.assert_close(network(_image(32, 48)[..., :33]).logits[..., :12], exact.logits[..., :12])


def test_a_network_of_one_size_gets_it() -> None:
    network = segdistill.wrap(Tokens(), K, size=(32, 48)).eval()
    assert network(_image(97, 130)).logits.shape == (2, K, 4, 6)


def test_what_can_not_be_seen_must_be_named() -> None:
    with pytest.raises(RecipeError, match=r"no convolution or linear layer with 4 outputs.*stem, shuffle.*classifier="):
        segdistill.wrap(Flat(), K)
    module = Flat()
    named = segdistill.wrap(module, K, classifier="shuffle").eval()(_image(32, 48))
    assert named.embedding.shape == (2, 4 * K, 8, 12)
    whole = segdistill.wrap(module, K, classifier="output").eval()(_image(32, 48))
    assert torch.equal(whole.embedding, whole.logits)
    assert torch.equal(whole.logits, named.logits)


def test_features_are_tapped_finest_first_and_hold_the_gradient() -> None:
    network = segdistill.wrap(Convolutions(), K, features=["score:input", "stem"])
    output = network(_image(32, 48))
    assert [tuple(feature.shape[1:]) for feature in output.features] == [(6, 16, 24), (8, 8, 12)]
    output.features[0].sum().backward()
    assert network.module.stem[0].weight.grad is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classifier": "scor"}, "no module 'scor'. Did you mean 'score'?"),
        ({"features": ["stems"]}, "no module 'stems'. Did you mean 'stem'?"),
        ({"classifier": "body"}, "'body' gives (1, 8, 18, 26), expected scores of 4 classes"),
        ({"backbone": "trunk"}, "no module 'trunk'"),
    ],
    ids=str,
)
def test_a_wrong_path_is_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        segdistill.wrap(Convolutions(), K, **options)


def test_another_number_of_classes_and_an_unusable_module_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"returns scores of shape \(1, 4, 69, 101\), expected N,5,H,W"):
        segdistill.wrap(Convolutions(), 5)
    with pytest.raises(RecipeError, match=r"does not take an image of 69x101.*size="):
        segdistill.wrap(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, K)), K)
    with pytest.raises(RecipeError, match="class or register tokens"):
        token_grid(197, (224, 224))


def test_wrapping_leaves_the_module_as_it_was() -> None:
    module = Convolutions()
    module.stem.eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    segdistill.wrap(module, K)
    assert torch.equal(torch.rand(1), expected)
    assert module.training
    assert not module.stem.training
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_bgr_and_normalisation() -> None:
    module = Convolutions()
    usual = segdistill.wrap(module, K, mean=(0.5, 0.4, 0.3)).eval()
    turned = segdistill.wrap(module, K, mean=(0.3, 0.4, 0.5), std=(0.225, 0.224, 0.229), bgr=True).eval()
    torch.testing.assert_close(usual(_image(32, 48)).logits, turned(_image(32, 48).flip(1)).logits)


FACTORY = """
import torch
from torch import nn

class Network(nn.Sequential):
    def __init__(self, num_classes: int, width: int = 5) -> None:
        super().__init__(nn.Conv2d(3, width, 4, stride=4), nn.ReLU(), nn.Conv2d(width, num_classes, 1))

def trained() -> nn.Module:
    torch.manual_seed(0)
    return Network(num_classes=3)

def unknown(num_classes):
    return Network(num_classes)
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "their_networks.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    return "module:their_networks"


def test_a_factory_of_your_own(factories: str) -> None:
    network = create_model(f"{factories}:Network", 6, options={"arguments": {"width": 7}}, bgr=True)
    output = network(_image(32, 48))
    assert (output.embedding.shape[1], output.logits.shape[1], network.bgr) == (7, 6, True)
    teacher = segdistill.load_model(f"{factories}:trained")
    assert teacher.num_classes == 3
    with pytest.raises(RecipeError, match=r"does not say that it makes a network.*def unknown"):
        create_model(f"{factories}:unknown", 6)
    with pytest.raises(RecipeError, match=r"can't be called with \(num_classes=6, depth=3\)"):
        create_model(f"{factories}:Network", 6, options={"arguments": {"depth": 3}})
    with pytest.raises(RecipeError, match="can't be called with"):
        segdistill.load_model(f"{factories}:Network")


def test_our_networks_are_unchanged_by_names_of_others() -> None:
    assert build(resolve_spec({"name": "mobilenetv2_035_fcn"}), 3).section_of("backbone.conv_stem.weight") == "backbone"
