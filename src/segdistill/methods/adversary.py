"""Holistic distillation: a discriminator learns to tell the student's score maps from the teacher's."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from segdistill.core.numbers import Count, NonNegative, Positive
from segdistill.core.outputs import SegOutput, finer, resize
from segdistill.methods.base import Method
from segdistill.methods.parts import ranks

_SMALLEST = 64  # positions an axis that the discriminator can read: 4 halvings and a 4x4 window


class Adversary(Method):
    """The student's score maps as wholes become indistinguishable from the teacher's for a discriminator D.

    Good for an addition to a method of pixels, where predictions as wholes look unlike the teacher's; it trains a
    discriminator beside the student.

    D reads raw logits z (N,K,h,w) and gives scores (N,1,h/16-3,w/16-3); images without a label are left out of means.
      student = -weight * mean D(z_s)
      discriminator = discriminator_weight * ( mean relu(1 - D(z_t)) + mean relu(1 + D(z_s)) )            loss "hinge"
                    = discriminator_weight * ( mean D(z_s) - mean D(z_t) + penalty * mean_n (|grad_x D(x)| - 1)^2 )
                                                                                                       loss "wgan-gp"
    with x = a z_t + (1 - a) z_s, one random a in [0,1] an image. The first term reaches only the student and the second
    only D, which has its own optimiser: Adam of rate `lr`, betas 0.9 and 0.99, a rate that never decays. Both update
    from the same outputs, so a step of student and D together is the published step of the one after the other.
    Void positions are 0 in both maps. Grids that differ meet on the finer one; maps below 64 positions are enlarged.

    It comes beside other methods: method=[skds, adversary]. A student that equals its teacher is still pushed until D
    knows no difference. The gradient of D is the correct one; in the published code each pass overwrites the vectors of
    the spectral norm that the backward of the pass before it needs.

    Defaults: hinge, weights 0.001 and 0.1, rate 4e-4 of CIRKD's scripts for skds, ifvd and cwd; the authors' own have
    wgan-gp with a penalty of 10 and decay the rate. Source: Liu et al., CVPR 2019, arXiv 1903.04197 (holistic term);
    D after Zhang et al., arXiv 1805.08318 (self-attention) and Miyato et al., arXiv 1802.05957 (spectral norm).

    Args:
        loss: "hinge" or "wgan-gp", see above.
        weight: of the student's term.
        discriminator_weight: of D's term, a factor of its gradient.
        penalty: of the gradient's length, with "wgan-gp" only.
        lr: rate of D's optimiser.
        width: channels of D's first layer; each of its four halvings has twice those of the one before.
        as_published: void positions count, too.
    """

    share = None  # its weights are small on purpose: as loud as the task, the game would drown it

    def __init__(
        self,
        student: SegOutput,
        teacher: SegOutput,
        num_classes: int,
        *,
        loss: Literal["hinge", "wgan-gp"] = "hinge",
        weight: NonNegative = 0.001,
        discriminator_weight: NonNegative = 0.1,
        penalty: NonNegative = 10.0,
        lr: Positive = 4e-4,
        width: Count = 64,
        as_published: bool = False,
    ) -> None:
        super().__init__(student, teacher, num_classes)
        self.loss = loss
        self.weight = weight
        self.discriminator_weight = discriminator_weight
        self.penalty = penalty
        self.lr = lr
        self.as_published = as_published
        self.discriminator = Discriminator(num_classes, width)

    def own_optimizer(self) -> torch.optim.Optimizer:
        parameters = list(self.discriminator.parameters())
        fused = all(each.device.type in ("cpu", "cuda") for each in parameters)
        return torch.optim.Adam(parameters, self.lr, betas=(0.9, 0.99), fused=fused)

    def terms(self, student: SegOutput, teacher: SegOutput, label: Tensor | None) -> dict[str, Tensor]:
        """The two terms, each a mean over the images that have a label.

        Args:
            student: logits (N,K,h,w).
            teacher: logits (N,K,h',w').
            label: (N,H,W), 255 is void, where D sees 0; None: all counts.

        Returns:
            "adversary/student", whose gradient reaches the student alone, and "adversary/discriminator", D's alone.
        """
        z_s, z_t = finer(student.logits, teacher.logits)
        share = torch.ones_like(z_s[:, 0, 0, 0])
        valid = self.counted(label, z_s)
        if valid is not None:
            z_s, z_t = z_s * valid, z_t * valid
            share = valid.flatten(1).any(1).to(z_s.dtype)
        share = share / ranks.mean_count(share.sum())  # of each image in a mean
        size = max(_SMALLEST, z_s.shape[-2]), max(_SMALLEST, z_s.shape[-1])
        z_s, z_t = resize(z_s, size), resize(z_t, size)
        # Detached parameters, so that what the student learns leaves no gradient in the discriminator.
        fixed = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        fooled = functional_call(self.discriminator, fixed, (z_s,))
        return {
            "adversary/student": -self.weight * (_per_image(fooled) * share).sum(),
            "adversary/discriminator": self.discriminator_weight * self._judge(z_s.detach(), z_t, share),
        }

    def _judge(self, z_s: Tensor, z_t: Tensor, share: Tensor) -> Tensor:
        fake, real = self.discriminator(z_s), self.discriminator(z_t)
        if self.loss == "hinge":
            return ((_per_image(F.relu(1 - real)) + _per_image(F.relu(1 + fake))) * share).sum()
        mix = torch.rand(len(z_s), 1, 1, 1, dtype=z_s.dtype, device=z_s.device)
        slope = self.penalty * gradient_penalty(self.discriminator, mix * z_t + (1 - mix) * z_s)
        return ((_per_image(fake) - _per_image(real) + slope) * share).sum()


def gradient_penalty(discriminator: nn.Module, maps: Tensor) -> Tensor:
    """(|gradient of D's scores, summed, at each of the maps| - 1)^2; can be differentiated by D's parameters.

    Args:
        discriminator: D, which takes the maps.
        maps: (N,K,h,w).

    Returns:
        One penalty an image (N,).
    """
    with torch.enable_grad():
        maps = maps.detach().requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(maps).sum(), maps, create_graph=True)
        length: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1)
        return (length - 1).square()


class Discriminator(nn.Module):
    """Score maps (N,K,h,w), h and w at least 64, to realness (N,1,h/16-3,w/16-3).

    Batch norm, four halvings by spectral convolutions, self-attention after the third and the fourth, and a 4x4
    convolution.

    Args:
        num_classes: K.
        width: channels after the first halving; they double at each further one.
    """

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(num_classes)
        self.layers = nn.Sequential(
            *_halving(num_classes, width),
            *_halving(width, 2 * width),
            *_halving(2 * width, 4 * width),
            SelfAttention(4 * width),
            *_halving(4 * width, 8 * width),
            SelfAttention(8 * width),
            nn.Conv2d(8 * width, 1, 4),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """How real the maps look; no range, the larger the more.

        Args:
            maps: scores (N,K,h,w), h and w at least 64.

        Returns:
            (N,1,h/16-3,w/16-3).
        """
        scores: Tensor = self.layers(self.norm(maps))
        return scores


class SpectralConv(nn.Conv2d):
    """A 4x4 convolution of stride 2 whose weight is divided by its largest singular value, one power iteration nearer
    each call.

    Args:
        channels: of the maps.
        out: channels of the result.
    """

    u: Tensor

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, 4, stride=2, padding=1)
        self.register_buffer("u", F.normalize(torch.randn(out), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """The convolution; each call refines the estimate of the largest singular value, in evaluation mode as well.

        Args:
            x: maps (N,channels,h,w).

        Returns:
            (N,out,h/2,w/2).
        """
        # In the weight's own order in memory; that of the columns changes no singular value.
        matrix = (self.weight if self.weight.is_contiguous() else self.weight.permute(0, 2, 3, 1)).flatten(1)
        with torch.no_grad():
            v = F.normalize(matrix.mT @ self.u, dim=0)
            u = F.normalize(matrix @ v, dim=0)
            self.u.copy_(u)  # the graph keeps `u` itself, which the next call doesn't overwrite
        assert self.bias is not None
        # (weight / s) * x = (weight * x) / s, so the maps may be divided in the place of the weights. With a `width` of
        # 64 the last layer has 512 x 256 x 4 x 4 = 2 million weights, and maps of 512 x 4 x 4 = 8 thousand numbers.
        maps = F.conv2d(x, self.weight, None, self.stride, self.padding)
        return torch.addcmul(self.bias[:, None, None], maps, torch.dot(u, matrix @ v).reciprocal())


class SelfAttention(nn.Module):
    """x + gamma * attention over all positions, gamma learned from 0; keys and queries have an eighth of the channels.

    Args:
        channels: C of the maps (N,C,h,w).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.query, self.key = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """The maps with what each position takes from all others.

        Args:
            x: maps (N,C,h,w); (h w)^2 numbers an image are held.

        Returns:
            (N,C,h,w).
        """
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        attention = (query.mT @ key).softmax(2)
        seen: Tensor = (value @ attention.mT).reshape(x.shape)
        return x + self.gamma * seen


def _halving(channels: int, out: int) -> tuple[nn.Module, nn.Module]:
    return SpectralConv(channels, out), nn.LeakyReLU(0.1)


def _per_image(scores: Tensor) -> Tensor:
    return scores.flatten(1).mean(1)
