"""What is short-cut on "meta" has the shapes that torch works out."""

from __future__ import annotations

import contextlib

import pytest
import torch

from segdistill.models.build import outline
from segdistill.models.shapes import Shapes
from segdistill.models.zoo import resolve_spec


@pytest.mark.parametrize("name", ["hrnet_w18s", "segformer_b0", "deeplabv3_mv2", "ddrnet_23_slim", "upernet_swin_t"])
def test_every_map_of_a_network_has_the_shape_torch_gives_it(name: str) -> None:
    network = outline(resolve_spec({"name": name}), 5).eval()
    image = torch.empty(1, 3, 65, 97, device="meta")
    seen: list[list[tuple[str, tuple[int, ...], torch.dtype]]] = []
    for short in (contextlib.nullcontext(), Shapes()):
        maps: list[tuple[str, tuple[int, ...], torch.dtype]] = []
        hooks = [
            module.register_forward_hook(
                lambda module, given, out, maps=maps: maps.extend(
                    (type(module).__name__, tuple(each.shape), each.dtype)
                    for each in (out if isinstance(out, list | tuple) else [out])
                    if isinstance(each, torch.Tensor)
                )
            )
            for module in network.modules()
        ]
        with torch.no_grad(), short:
            network(image)
        for hook in hooks:
            hook.remove()
        seen.append(maps)
    assert len(seen[0]) > 50
    assert seen[0] == seen[1]
