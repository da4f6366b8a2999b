"""What training tools wrap a state dict in: the one table of keys and prefixes, and the way to what is inside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from segdistill.core.errors import CheckpointError

# Keys of a file below which its weights are, the likeliest first. Any other key will do if it is the only one.
WRAPPER_KEYS = (
    "state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "weights", "params",
    "checkpoint",
)  # fmt: skip
# What torch.compile, FSDP, activation checkpointing and Lightning's fabric put into names, at any level of modules.
_INNER = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
_AVERAGE = re.compile(r"(?:^|[._])(?:ema|swa|avg|averaged|shadow|momentum|target|encoder_k)(?:$|[._])", re.IGNORECASE)
_NO_WEIGHTS = re.compile(
    "optim|sched|scaler|rng|random|callback|loops|hyper_param|meta|message_hub|config|cfg|args|history|metric|sampler",
    re.IGNORECASE,
)
_DEPTH = 8


@dataclass(frozen=True)
class Unwrapped:
    """The state dict inside a file.

    Attributes:
        state: Tensors by name, without what wrappers of modules put into the names.
        averages: Keys of the file below which averages of the weights are, which are not read.
    """

    state: dict[str, Tensor]
    averages: tuple[str, ...] = ()


def unwrap(content: Any, source: str, role: str = "student") -> Unwrapped:
    """The state dict in what a weight file holds: bare, or under keys, however deep.

    Where there are several, the one under the likeliest of `WRAPPER_KEYS` is taken, and of a distillation run's that of
    `role`. Averages of the weights (EMA, SWA) are read if there is nothing else.

    Args:
        content: Mappings, lists, tensors and plain values.
        source: The file, for the error.
        role: Which network's, if the file has a key for each.

    Returns:
        The state dict, and which averages were passed over.

    Raises:
        CheckpointError: There is none, or there are several and nothing says which is the network's.
    """
    averages: list[str] = []
    inner = _entries(content)
    for _ in range(_DEPTH):
        key = _likeliest(inner, source, role)
        if key is None:
            break
        averages += [name for name, value in inner.items() if name != key and _AVERAGE.search(name) and _holds(value)]
        inner = _entries(inner[key])
    state = {_INNER.sub("", key): value for key, value in inner.items() if isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(
            f"{source} holds no tensors by name; its top keys are {', '.join(list(_entries(content))[:6])}. Expected a "
            f"state dict, bare or under a key such as {', '.join(WRAPPER_KEYS[:3])}."
        )
    return Unwrapped(state, tuple(averages))


def prefixes_of(names: Iterable[str], role: str = "student") -> list[str]:
    """Every beginning that names of a state dict have in common with others, up to a dot; the likeliest first.

    A network may be a part of what was saved: "module." of data parallelism, "model." of Lightning, any attribute of a
    class, one within the other. Those of the teacher of a distillation run are for the role "teacher" alone, averages
    (EMA) come last, and shorter ones first.

    Args:
        names: Of the tensors.
        role: Which network's prefixes.

    Returns:
        The prefixes, each with its dot, and "".
    """
    prefixes = {""}
    for name in names:
        parts = name.split(".")[:-1][:_DEPTH]
        prefixes.update(".".join(parts[: depth + 1]) + "." for depth in range(len(parts)))
    of_role = [prefix for prefix in prefixes if ("teacher" in prefix) == (role == "teacher")]
    if role == "teacher" and not of_role:  # a file of the teacher alone needs no such prefix
        of_role = list(prefixes)
    return sorted(of_role, key=lambda prefix: (is_average(prefix), len(prefix), prefix))


def is_average(prefix: str) -> bool:
    """Whether what lies below a prefix follows a network's weights, as their average (EMA) or momentum encoder.

    Args:
        prefix: With its dot.
    """
    return _AVERAGE.search(prefix) is not None


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it, and without averages beside the weights.

    mmcv's EMAHook keeps a buffer `ema_layer_weight` for each `layer.weight`.

    Args:
        state: Tensors by name.
        prefix: The prefix with its dot, or nothing.

    Returns:
        The tensors by the rest of their names.
    """
    inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    averages = {"ema_" + key.replace(".", "_") for key in inside}
    return {key: value for key, value in inside.items() if key not in averages}


def _entries(content: Any) -> dict[str, Any]:
    """The entries of a mapping or list by name."""
    if isinstance(content, Mapping):
        return {str(key): value for key, value in content.items()}
    return {str(index): value for index, value in enumerate(content)} if isinstance(content, list | tuple) else {}


def _likeliest(entries: Mapping[str, Any], source: str, role: str) -> str | None:
    """The key of the entry that holds the weights; None if these entries are the state dict."""
    holders = [key for key, value in entries.items() if not _NO_WEIGHTS.search(key) and _holds(value)]
    for key in (role, *WRAPPER_KEYS):
        if key in holders:
            return key
    if any(isinstance(value, Tensor) and "." in key for key, value in entries.items()):
        return None
    weights = [key for key in holders if not _AVERAGE.search(key)] or holders[:1]
    if len(weights) > 1:
        raise CheckpointError(
            f"{source} holds several state dicts ({', '.join(weights[:6])}), and nothing says which is the network's. "
            "Save that one alone: torch.save(file[KEY], new_path)."
        )
    return weights[0] if weights else None


def _holds(value: Any, depth: int = 0) -> bool:
    """Whether there are tensors by name somewhere in `value`."""
    if depth > _DEPTH or not isinstance(value, Mapping | list | tuple):
        return False
    if isinstance(value, Mapping) and any(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items()):
        return True
    return any(_holds(item, depth + 1) for item in (value.values() if isinstance(value, Mapping) else value))
