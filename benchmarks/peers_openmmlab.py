"""OpenMMLab's side of `peers.py`: PSPNet-R18 trained, distilled from PSPNet-R101 (mmrazor, CWD), evaluated.

    python benchmarks/peers_openmmlab.py train|distill|evaluate|load --data CAMVID-LIKE --count N [--classes 11]

Needs an environment of its own, see `peers.py`. mmcv's compiled operations, and mmrazor's quantization, which needs an
older torch, are replaced by empty modules; nothing timed here uses them. Prints seconds by processor and wall as JSON:
of a step (median of those after the third), of an image, or of a sample (load: --crop and --scale of its pipeline).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

import cv2
import torch

CROP = (256, 256)


class Absent(types.ModuleType):
    """A module any name of which is an empty torch module."""

    __path__: list[str] = []  # noqa: RUF012
    __all__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (torch.nn.Module,), {})


QUANTIZATION = (
    "structures.quantization", "structures.quantization.backend_config", "models.quantizers", "models.fake_quants",
    "models.quantizers.exporters", "models.observers", "models.algorithms.quantization",
    "engine.runner.quantization_loops",
)  # fmt: skip
sys.modules["mmcv.ops"] = Absent("mmcv.ops")
for _name in QUANTIZATION:
    sys.modules[f"mmrazor.{_name}"] = Absent(f"mmrazor.{_name}")

import mmseg  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402
from mmengine.registry import HOOKS  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from mmseg.registry import DATASETS  # noqa: E402
from mmseg.utils import register_all_modules  # noqa: E402

CONFIGS = Path(mmseg.__file__).parent / ".mim" / "configs" / "pspnet"
TEST = ({"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"})


def train_steps(scale: tuple[int, int], crop: tuple[int, int]) -> list[dict[str, Any]]:
    """The published pipeline: sides of `scale` are (long, short), those of `crop` (H,W)."""
    return [
        {"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"},
        {"type": "RandomResize", "scale": scale, "ratio_range": (0.5, 2.0), "keep_ratio": True},
        {"type": "RandomCrop", "crop_size": crop, "cat_max_ratio": 0.75}, {"type": "RandomFlip", "prob": 0.5},
        {"type": "PhotoMetricDistortion"}, {"type": "PackSegInputs"},
    ]  # fmt: skip


@HOOKS.register_module()
class Clock(Hook):
    """Times iterations."""

    times: list[tuple[float, float]] = []  # noqa: RUF012

    def before_train_iter(self, *_: Any, **__: Any) -> None:
        self.began = now()

    def after_train_iter(self, *_: Any, **__: Any) -> None:
        self.times.append(since(self.began))


def now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def since(began: tuple[float, float]) -> tuple[float, float]:
    processor, wall = now()
    return processor - began[0], wall - began[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=["train", "distill", "evaluate", "load"])
    parser.add_argument("--data", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--classes", type=int, default=11)
    parser.add_argument("--crop", type=int, nargs=2)
    parser.add_argument("--scale", type=int, nargs=2)
    parser.add_argument("--suffix", default=".png", help="of images")
    options = parser.parse_args()
    register_all_modules()
    if options.work == "load":
        print(json.dumps(timed_samples(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        config = configured(options, folder)
        runner = Runner.from_cfg(config)
        if options.work == "evaluate":
            began = now()
            runner.test()
            times = [tuple(each / options.count for each in since(began))]
        else:
            runner.train()
            times = Clock.times[3:]
    processor, wall = (statistics.median(each) for each in zip(*times, strict=True))
    print(json.dumps({"processor": processor, "wall": wall}))


def timed_samples(options: argparse.Namespace) -> dict[str, float]:
    """Seconds of a sample: the mean of all after one of each file."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    steps = train_steps(tuple(options.scale), tuple(options.crop))
    samples = DATASETS.build(dataset(options, "train", steps))
    for index in range(len(samples)):
        samples[index]
    began = now()
    for number in range(options.count):
        samples[number % len(samples)]
    processor, wall = since(began)
    return {"processor": processor / options.count, "wall": wall / options.count}


def configured(options: argparse.Namespace, folder: str) -> Config:
    """The published config of PSPNet-R18, on this data, on a processor."""
    config = Config.fromfile(CONFIGS / "pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py")
    config.model = network("r18", options.classes)
    loading = {"num_workers": 1, "persistent_workers": True}
    train = dataset(options, "train", train_steps((480, 360), CROP))
    test = dataset(options, "val", TEST)
    test["indices"] = options.count
    sampler = {"type": "InfiniteSampler", "shuffle": True}
    config.train_dataloader = {"batch_size": 4, "sampler": sampler, "dataset": train, **loading}
    sampler = {"type": "DefaultSampler", "shuffle": False}
    config.test_dataloader = {"batch_size": 1, "sampler": sampler, "dataset": test, **loading}
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config.test_evaluator = {"type": "IoUMetric", "iou_metrics": ["mIoU"], "ignore_index": options.classes}
    config.test_cfg = {"type": "TestLoop"}
    config.train_cfg = {"type": "IterBasedTrainLoop", "max_iters": options.count, "val_interval": 10**9}
    config.default_hooks = {
        "timer": {"type": "IterTimerHook"}, "logger": {"type": "LoggerHook", "interval": 10**6},
        "param_scheduler": {"type": "ParamSchedulerHook"},
    }  # fmt: skip
    config.custom_hooks = [{"type": "Clock", "priority": "VERY_LOW"}]
    config.work_dir, config.log_level, config.launcher = folder, "ERROR", "none"
    config.visualizer = config.load_from = None
    if options.work == "distill":
        distilling(config, options.classes)
    return config


def dataset(options: argparse.Namespace, split: str, steps: Any) -> dict[str, Any]:
    names = [str(index) for index in range(options.classes)]
    return {
        "type": "BaseSegDataset", "data_root": options.data, "img_suffix": options.suffix, "seg_map_suffix": ".png",
        "data_prefix": {"img_path": split, "seg_map_path": f"{split}annot"}, "ignore_index": options.classes,
        "metainfo": {"classes": names, "palette": [[index % 256, 0, 0] for index in range(options.classes)]},
        "pipeline": list(steps), "reduce_zero_label": False,
    }  # fmt: skip


def network(backbone: str, classes: int) -> Any:
    model = Config.fromfile(CONFIGS / f"pspnet_{backbone}-d8_4xb2-80k_cityscapes-512x1024.py").model
    on_processor(model)
    for head in (model.decode_head, model.auxiliary_head):
        head.num_classes, head.ignore_index = classes, classes  # the void of CamVid's masks
    model.data_preprocessor.size, model.data_preprocessor.seg_pad_val = CROP, classes
    return model


def on_processor(config: Any) -> None:
    """No pretrained weights, and batch norms of one process."""
    for key in list(config) if isinstance(config, dict) else ():
        if key in ("pretrained", "init_cfg"):
            config[key] = None
        elif key == "type" and config[key] == "SyncBN":
            config[key] = "BN"
        else:
            on_processor(config[key])


def distilling(config: Config, classes: int) -> None:
    """CWD on the logits, as mmrazor's config of PSPNet has it, on the bare networks."""
    import mmrazor.models  # noqa: F401

    teacher, student = network("r101", classes), config.model.to_dict()
    for each in (teacher, student):
        each["_scope_"] = "mmseg"
        each["data_preprocessor"]["type"] = "mmseg.SegDataPreProcessor"
    config.default_scope = "mmseg"
    config.pop("data_preprocessor", None)
    scores = {"logits": {"type": "ModuleOutputs", "source": "decode_head.conv_seg"}}
    pairs = {name: {"from_student": name == "preds_S", "recorder": "logits"} for name in ("preds_S", "preds_T")}
    config.model = {
        "type": "SingleTeacherDistill", "_scope_": "mmrazor", "architecture": student, "teacher": teacher,
        "teacher_ckpt": None,
        "distiller": {
            "type": "ConfigurableDistiller", "student_recorders": scores, "teacher_recorders": scores,
            "distill_losses": {"loss_cwd": {"type": "ChannelWiseDivergence", "tau": 1, "loss_weight": 5}},
            "loss_forward_mappings": {"loss_cwd": pairs},
        },
    }  # fmt: skip
    config.find_unused_parameters = True


if __name__ == "__main__":
    main()
