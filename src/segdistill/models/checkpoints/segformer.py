"""SegFormer files of NVlabs, CIRKD and Hugging Face: one network, three sets of names."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from segdistill.core.errors import CheckpointError
from segdistill.models.checkpoints.backbones import mit_by_shape
from segdistill.models.checkpoints.layout import Layout, Rule, State, shape
from segdistill.models.published import CIRKD_PIXELS


def _original(backbone: str, head: str) -> list[Rule]:
    """NVlabs's names with these prefixes; CIRKD has none."""

    def numbered(name: str) -> Any:
        return lambda m: f"{backbone}{name}{int(m[1]) + 1}"

    return [
        (r"backbone\.patch_embed", f"{backbone}patch_embed1"),
        (r"backbone\.stages_(\d)\.downsample", numbered("patch_embed")),
        (r"backbone\.stages_(\d)\.norm", numbered("norm")),
        (
            r"backbone\.stages_(\d)\.blocks\.(\d+)\.mlp\.dwconv",
            lambda m: f"{backbone}block{int(m[1]) + 1}.{m[2]}.mlp.dwconv.dwconv",
        ),
        (r"backbone\.stages_(\d)\.blocks", numbered("block")),
        (r"head\.projections\.(\d)", lambda m: f"{head}linear_c{int(m[1]) + 1}.proj"),
        (r"head\.fusion", f"{head}linear_fuse{'@' if head else ''}"),
        (r"classifier", f"{head}linear_pred"),
    ]


def _huggingface() -> list[Rule]:
    top = "segformer.encoder."
    block = r"backbone\.stages_(\d)\.blocks\.(\d+)\."
    into = rf"{top}block.\1.\2."
    return [
        (r"backbone\.patch_embed\.proj", f"{top}patch_embeddings.0.proj"),
        (r"backbone\.patch_embed\.norm", f"{top}patch_embeddings.0.layer_norm"),
        (r"backbone\.stages_(\d)\.downsample\.proj", rf"{top}patch_embeddings.\1.proj"),
        (r"backbone\.stages_(\d)\.downsample\.norm", rf"{top}patch_embeddings.\1.layer_norm"),
        (r"backbone\.stages_(\d)\.norm", rf"{top}layer_norm.\1"),
        (rf"{block}norm([12])", rf"{into}layer_norm_\3"),
        (rf"{block}attn\.q", rf"{into}attention.self.query"),
        (
            rf"{block}attn\.kv\.(\w+)",
            rf"{into}attention.self.key.\3|{into}attention.self.value.\3",
        ),
        (rf"{block}attn\.proj", rf"{into}attention.output.dense"),
        (rf"{block}attn\.sr", rf"{into}attention.self.sr"),
        (rf"{block}attn\.norm", rf"{into}attention.self.layer_norm"),
        (rf"{block}mlp\.fc([12])", rf"{into}mlp.dense\3"),
        (rf"{block}mlp\.dwconv", rf"{into}mlp.dwconv.dwconv"),
        (r"head\.projections\.(\d)", r"decode_head.linear_c.\1.proj"),
        (r"head\.fusion\.0", "decode_head.linear_fuse"),
        (r"head\.fusion\.1", "decode_head.batch_norm"),
        (r"classifier", "decode_head.classifier"),
    ]


class _SegFormer(Layout):
    classifier: str
    fusion: str
    patch: str
    blocks: str
    first = 1
    extra: ClassVar[dict[str, Any]] = {}
    renamed: list[Rule]
    """From our names to the file's."""

    def matches(self, names: Collection[str]) -> bool:
        return self.fusion in names and self.classifier in names

    def num_classes(self, state: State) -> int:
        return shape(state, self.classifier)[0]

    def network(self, state: State) -> dict[str, Any]:
        head: dict[str, Any] = {"name": "segformer", "normed": False}
        if self.fusion.removesuffix("weight") + "bias" in state:
            head["fusion_bias"] = True
        return {
            "backbone": mit_by_shape(state, self.patch, self.blocks, self.first),
            "head": head,
            "channels": shape(state, self.fusion)[0],
            "auxiliary_channels": 0,
            **self.extra,
        }

    def rules(self, backbone: str, head: str) -> Sequence[Rule]:
        if head != "segformer" or not backbone.startswith("mit_"):
            raise CheckpointError(f"{self.title} has no names for head '{head}' on backbone '{backbone}'.")
        return self.renamed


class NVlabs(_SegFormer):
    """`backbone.block1`, `decode_head.linear_c1`; its files carry a classifier `conv_seg` that is never used."""

    title = "NVlabs SegFormer"
    classifier = "decode_head.linear_pred.weight"
    fusion = "decode_head.linear_fuse.conv.weight"
    patch = "backbone.patch_embed{}.proj.weight"
    blocks = "backbone.block{}."
    matrices = re.compile(r"linear_c\d\.proj\.weight$")
    spare = re.compile(r"num_batches_tracked$|^decode_head\.conv_seg\.")
    renamed = _original("backbone.", "decode_head.")


class CIRKDSegFormer(_SegFormer):
    """NVlabs's names without prefixes, the fusing convolution with a bias."""

    title = "CIRKD SegFormer"
    classifier = "linear_pred.weight"
    fusion = "linear_fuse.0.weight"
    patch = "patch_embed{}.proj.weight"
    blocks = "block{}."
    extra: ClassVar[dict[str, Any]] = {**CIRKD_PIXELS, "dropout": 0.0}
    matrices = re.compile(r"linear_c\d\.proj\.weight$")
    renamed = _original("", "")


class HuggingFace(_SegFormer):
    """`segformer.encoder.`; keys and values are two matrices."""

    title = "Hugging Face SegFormer"
    classifier = "decode_head.classifier.weight"
    fusion = "decode_head.linear_fuse.weight"
    patch = "segformer.encoder.patch_embeddings.{}.proj.weight"
    blocks = "segformer.encoder.block.{}."
    first = 0
    extra: ClassVar[dict[str, Any]] = {"backbone_options": {"norm_eps": [1e-5, 1e-5]}}
    matrices = re.compile(r"linear_c\.\d\.proj\.weight$")
    renamed = _huggingface()
