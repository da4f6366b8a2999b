"""Where networks place the pixels of each class: t-SNE of their embeddings, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from segdistill.core.classes import Classes
from segdistill.core.errors import DataError, RecipeError
from segdistill.core.outputs import SegOutput, resize
from segdistill.core.storage import write_aside
from segdistill.data.base import SegmentationDataset
from segdistill.evaluation.finite import require_finite_scores
from segdistill.models.network import SegmentationNetwork, as_input

_PERPLEXITY = 30


def pixels_of(
    networks: Mapping[str, SegmentationNetwork], data: SegmentationDataset, indices: Sequence[int], per_class: int
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
    """Up to `per_class` labelled pixels of each class: their embeddings (P,D) by network, and their classes (P,).

    The same pixels for all networks, spread evenly over those of a class. Embeddings are read at the labels' size / 8.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in networks}
    labels: list[Tensor] = []
    for index in indices:
        sample = data[index]
        grid = (max(1, sample.label.shape[0] // 8), max(1, sample.label.shape[1] // 8))
        small = torch.nn.functional.interpolate(sample.label[None, None].float(), grid, mode="nearest-exact")[0, 0]
        labels.append(small.flatten().long())
        for name, network in networks.items():
            device = next(network.parameters()).device
            with torch.no_grad():
                pixels = as_input(sample.image[None].to(device))
                output: SegOutput = network.eval()(pixels)
            require_finite_scores(network, output.logits, pixels, (sample.name,), f"The {name}")
            found[name].append(resize(output.embedding.float(), grid)[0].flatten(1).T.cpu())
    classes = torch.cat(labels)
    chosen = []
    for index in range(len(data.classes)):
        own = (classes == index).nonzero()[:, 0]
        chosen.append(own[torch.linspace(0, len(own) - 1, min(per_class, len(own))).round().long()])
    picked = torch.cat(chosen)
    if len(picked) <= 3:
        raise DataError(f"The {len(indices)} images have {len(picked)} labelled pixels; name more with images=.")
    return {name: torch.cat(parts)[picked].numpy() for name, parts in found.items()}, classes[picked].numpy()


def project(embeddings: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """(P,D) -> (P,2) by t-SNE, after scaling each dimension to deviation 1."""
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise RecipeError("t-SNE needs scikit-learn: pip install 'segdistill[pictures]'.") from None
    scaled = (embeddings - embeddings.mean(0)) / (embeddings.std(0) + 1e-6)
    perplexity = min(_PERPLEXITY, (len(scaled) - 1) / 3)
    placed: NDArray[np.float32] = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(scaled)
    return placed


def save_embeddings(
    path: Path, placed: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int64], classes: Classes
) -> None:
    """A panel a network; a dot is a pixel in its class's color."""
    figure = Figure(figsize=(4.5 * len(placed), 5), dpi=130, layout="constrained")
    axes = figure.subplots(1, len(placed), squeeze=False)[0]
    shown = [index for index in range(len(classes)) if (labels == index).any()]
    for axis, (name, points) in zip(axes, placed.items(), strict=True):
        for index in shown:
            own = points[labels == index]
            color = np.array(classes.colors[index]) / 255
            axis.scatter(*own.T, s=5, color=color, edgecolors="grey", linewidths=0.15, label=classes.names[index])
        axis.set_title(name, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6, fontsize=8, markerscale=2.5, frameon=False)
    write_aside(path, lambda aside: figure.savefig(aside, format="png"))
