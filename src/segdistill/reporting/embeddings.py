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
from segdistill.models.network import SegmentationNetwork, as_input, device_of

_PERPLEXITY = 30


def pixels_of(
    networks: Mapping[str, SegmentationNetwork], data: SegmentationDataset, indices: Sequence[int], per_class: int
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
    """Embeddings of labelled pixels: the same ones for all networks, spread evenly over those of a class.

    Args:
        networks: By name.
        data: The images.
        indices: Of the images that are used.
        per_class: How many pixels of a class, at most. They are read at the labels' size / 8.

    Returns:
        Embeddings (P,D) by network, and the pixels' classes (P,).

    Raises:
        DataError: The images have hardly a labelled pixel.
    """
    embeddings: dict[str, list[Tensor]] = {name: [] for name in networks}
    labels: list[Tensor] = []
    for index in indices:
        sample = data[index]
        grid = (max(1, sample.label.shape[0] // 8), max(1, sample.label.shape[1] // 8))
        small = torch.nn.functional.interpolate(sample.label[None, None].float(), grid, mode="nearest-exact")[0, 0]
        labels.append(small.flatten().long())
        for name, network in networks.items():
            device = device_of(network)
            with torch.no_grad():
                pixels = as_input(sample.image[None].to(device))
                output: SegOutput = network.eval()(pixels)
            require_finite_scores(network, output.logits, pixels, (sample.name,), f"The {name}")
            embeddings[name].append(resize(output.embedding.float(), grid)[0].flatten(1).T.cpu())
    classes = torch.cat(labels)
    chosen = []
    for index in range(len(data.classes)):
        pixels = (classes == index).nonzero()[:, 0]
        chosen.append(pixels[torch.linspace(0, len(pixels) - 1, min(per_class, len(pixels))).round().long()])
    picked = torch.cat(chosen)
    if len(picked) <= 3:
        raise DataError(f"The {len(indices)} images have {len(picked)} labelled pixels; name more with images=.")
    return {name: torch.cat(parts)[picked].numpy() for name, parts in embeddings.items()}, classes[picked].numpy()


def project(embeddings: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """Place embeddings in the plane by t-SNE, after scaling each dimension to deviation 1.

    Args:
        embeddings: (P,D).
        seed: Of t-SNE.

    Returns:
        Positions (P,2).

    Raises:
        RecipeError: scikit-learn is missing.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise RecipeError("t-SNE needs scikit-learn: pip install 'segdistill[pictures]'.") from None
    scaled = (embeddings - embeddings.mean(0)) / (embeddings.std(0) + 1e-6)
    perplexity = min(_PERPLEXITY, (len(scaled) - 1) / 3)
    projected: NDArray[np.float32] = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(scaled)
    return projected


def save_embeddings(
    path: Path, projected: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int64], classes: Classes
) -> None:
    """Draw a panel for each network; a dot is a pixel in its class's color.

    Args:
        path: The .png file.
        projected: Positions (P,2) by network.
        labels: Classes (P,) of the pixels.
        classes: Names and colors.
    """
    figure = Figure(figsize=(4.5 * len(projected), 5), dpi=130, layout="constrained")
    axes = figure.subplots(1, len(projected), squeeze=False)[0]
    shown = [index for index in range(len(classes)) if (labels == index).any()]
    for axis, (name, points) in zip(axes, projected.items(), strict=True):
        for index in shown:
            dots = points[labels == index]
            color = np.array(classes.colors[index]) / 255
            axis.scatter(*dots.T, s=5, color=color, edgecolors="grey", linewidths=0.15, label=classes.names[index])
        axis.set_title(name, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6, fontsize=8, markerscale=2.5, frameon=False)
    write_aside(path, lambda aside: figure.savefig(aside, format="png"))
