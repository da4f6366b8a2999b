"""`module:package.module:factory`: networks made by your code."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, get_type_hints

from torch import nn

from segdistill.core.errors import RecipeError, nearest
from segdistill.models.adapters.base import Adapter
from segdistill.models.adapters.module import ModuleNetwork
from segdistill.models.network import SegmentationNetwork


class Factory(Adapter):
    """`module:package.module:factory`, a class of `nn.Module` or a function annotated to return one.

    It is called as factory(num_classes=K, **arguments). Nothing else is ever called: a weight file names its factory,
    and must not be able to name `os.system`. As `teacher.weights` it is called without num_classes, and must then load
    its own weights. The normalization is ImageNet's unless the recipe's mean, std and bgr say otherwise.

    Args:
        source: `package.module:factory`.
        arguments: Further keyword arguments of the factory.
        classifier: See `ModuleNetwork`, as for the following.
        features: Paths of the modules that give the stages.
        auxiliary: Path of the auxiliary head.
        backbone: Path of the backbone.
        divisor: What the sides of an image must be multiples of.
        size: H,W that images are resized to.
    """

    prefix: ClassVar[str] = "module"

    def __init__(
        self,
        source: str,
        *,
        arguments: dict[str, Any] = {},  # noqa: B006 (a schema's default, never written to)
        classifier: str | None = None,
        features: tuple[str, ...] = (),
        auxiliary: str | None = None,
        backbone: str | None = None,
        divisor: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(source)
        self.arguments = arguments
        self.options: dict[str, Any] = {
            "classifier": classifier,
            "features": features,
            "auxiliary": auxiliary,
            "backbone": backbone,
            "divisor": divisor,
            "size": size,
        }

    def build(self, num_classes: int | None, weights: str | None = None) -> SegmentationNetwork:
        """The network that the factory makes.

        Args:
            num_classes: K, which the factory is called with; None: it is called without.
            weights: Must be None: the factory loads its own.

        Returns:
            The network, as the factory left it.

        Raises:
            RecipeError: There is no such factory, it can't be called so, or `weights` is set.
        """
        if weights is not None:
            raise RecipeError(f"'{self.name}' loads its weights; give them as options.arguments of the factory.")
        arguments = self.arguments if num_classes is None else {"num_classes": num_classes, **self.arguments}
        factory = self._factory()
        try:
            inspect.signature(factory).bind(**arguments)
        except TypeError as error:
            shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            raise RecipeError(f"'{self.name}' can't be called with ({shown}): {error}.") from error
        module = factory(**arguments)
        return ModuleNetwork(module, num_classes=num_classes, **self.options)

    def portable(self, network: SegmentationNetwork) -> dict[str, Any]:
        """What the factory and `ModuleNetwork` were given.

        Args:
            network: Not asked.

        Returns:
            arguments, and the options that are not None.
        """
        options = {key: value for key, value in self.options.items() if value is not None}
        return {"arguments": self.arguments, **options}

    def _factory(self) -> Callable[..., nn.Module]:
        path, _, attribute = self.source.partition(":")
        if not path or not attribute:
            raise RecipeError(f"'{self.name}' names no factory; expected module:package.module:factory.")
        try:
            module = importlib.import_module(path)
        except ImportError as error:
            raise RecipeError(
                f"Can't import '{path}' of '{self.name}': {error}. Is it installed, or its folder in PYTHONPATH?"
            ) from error
        factory = getattr(module, attribute, None)
        if factory is None:
            raise RecipeError(f"Module '{path}' has no '{attribute}'.{nearest(attribute, vars(module))}")
        if not _makes_module(factory):
            raise RecipeError(
                f"'{attribute}' of '{path}' does not say that it makes a network. It must be a class of "
                "torch.nn.Module or a function annotated as such: "
                f"def {attribute}(num_classes: int) -> torch.nn.Module."
            )
        return factory  # type: ignore[no-any-return]


def _makes_module(factory: Any) -> bool:
    if isinstance(factory, type):
        return issubclass(factory, nn.Module)
    if not inspect.isfunction(factory):
        return False
    returned = get_type_hints(factory).get("return")
    return isinstance(returned, type) and issubclass(returned, nn.Module)
