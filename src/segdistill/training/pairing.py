"""Whether a teacher and a data set go together, and how; refused before training where they do not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from segdistill.core.classes import Classes
from segdistill.core.errors import RecipeError
from segdistill.data import SegmentationDataset
from segdistill.evaluation.inference.exported import gives_classes
from segdistill.evaluation.teacher_check import require_better_than_chance
from segdistill.methods import Method
from segdistill.models.channels import choose_channels
from segdistill.models.class_map import ClassMap, class_map
from segdistill.models.class_names import abbreviate, same_names, same_set, unnamed
from segdistill.models.ensemble import Ensemble
from segdistill.models.loaded import LoadedModel
from segdistill.models.open import open_model
from segdistill.models.spec import NetworkSpec
from segdistill.models.teacher import Teacher
from segdistill.recipe.recipe import Recipe
from segdistill.recipe.teacher import TeacherConfig, TeacherMember
from segdistill.runtime.processes import own_device

_REST = r"_?(back-?ground|bg|rest|other|none|nothing|negative|void|unlabell?ed)_?"
"""Names of classes that no sigmoid is trained to find."""

TeacherSource = str | Path | NetworkSpec | tuple[TeacherMember, ...]
"""Where a trained teacher is, or where several are."""

Configured = TypeVar("Configured", TeacherConfig, TeacherMember)


@dataclass(frozen=True)
class Pairing:
    """A trained network as the teacher of a data set.

    Attributes:
        model: Its network takes the image at the teacher's scale; its classes are the data set's if it is mapped to
            them, else its own.
        class_map: None if the classes are the same, or if nothing says how they correspond.
        note: For people, what is done or assumed, or nothing.
        incompatibility: Why methods can't read its logits, or nothing.
        members: The teachers whose mean it is, if there are several.
    """

    model: LoadedModel
    class_map: ClassMap | None
    note: str
    incompatibility: str
    members: tuple[Pairing, ...] = ()


def pair(model: LoadedModel, config: TeacherConfig, data: Classes) -> Pairing:
    """A trained network as the teacher that a recipe describes.

    Args:
        model: The network and its classes.
        config: The recipe's section `teacher`.
        data: The classes that students learn.

    Returns:
        The teacher with its classes mapped to the data set's, and what stands in the way of that.

    Raises:
        RecipeError: The network is a file that gives classes and no scores, or `config.class_map` does not fit the two
            class sets.
    """
    if gives_classes(model.network):
        raise RecipeError(
            f"{model.path} gives classes and no scores, so there is nothing in it to distil. Export the teacher with "
            "outputs=logits, or name its run."
        )
    names, targets = model.classes.names, data.names
    mapping: ClassMap | None = None
    notes, incompatibility = [], ""
    if config.class_map is not None:
        mapping = class_map(config.class_map, names, targets, sigmoid=model.network.sigmoid)
        notes.append(mapping.describe())
        if mapping.uncovered:
            unused = f" (not used: {abbreviate(mapping.dropped)})" if mapping.dropped else ""
            incompatibility = (
                f"'teacher.class_map' maps no class of the teacher to {abbreviate(mapping.uncovered)}, so its scores "
                f"say nothing about them. Map a teacher class to each{unused}, or choose a data set without them"
            )
    elif same_names(names, targets):
        pass
    elif model.network.sigmoid and unnamed(names):
        incompatibility = _one_channel(model, targets)
        if not incompatibility:
            notes.append(f"its one channel is taken for {targets[1]}, the rest for {targets[0]}")
    elif len(names) == len(targets) and unnamed(names):
        notes.append(f"its classes have no names and are taken for the data set's {len(targets)}, in the same order")
    else:
        incompatibility = _differ(model, data)
        notes.append(f"it knows other classes ({_few(model.classes)}), so its scores are neither used nor measured")
    if config.channels is not None:
        choose_channels(model.network, config.channels, str(model.path))
        notes.append(f"it sees the channels {list(config.channels)} of the images")
    if config.input_scale != 1:
        notes.append(f"it sees images at {config.input_scale:g} times their size")
    if config.precision not in (None, "fp32"):
        notes.append(f"it computes in {config.precision}")
    network = Teacher(model.network, class_map=mapping, input_scale=config.input_scale, precision=config.precision)
    comparable = mapping is not None or not incompatibility
    mapped_model = replace(model, network=network.eval(), classes=data if comparable else model.classes)
    return Pairing(mapped_model, mapping, "; ".join(notes), incompatibility)


def open_pairing(source: TeacherSource, config: TeacherConfig, data: Classes) -> Pairing:
    """A trained network, or the mean of several, as the teacher that a recipe describes.

    Args:
        source: Where it is, or where they are.
        config: The recipe's section `teacher`.
        data: The classes that students learn.

    Returns:
        The teacher, see `pair`.

    Raises:
        CheckpointError: One can't be opened.
        RecipeError: A class map does not fit, or one of several scores other classes.
    """
    if not isinstance(source, tuple):
        return pair(open_model(source), config, data)
    members = []
    for each in source:
        keys = {key: getattr(each, key) for key in ("weights", "class_map", "channels", "input_scale")}
        member = pair(open_model(each.weights), config.model_copy(update=keys), data)
        if member.incompatibility:
            raise RecipeError(f"'teacher.weights': {member.incompatibility}. A mean needs the same classes of all.")
        members.append(member)
    network = Ensemble([member.model.network for member in members]).eval()
    notes = [f"the mean of {len(members)} networks"]
    notes += [f"{member.model.path}: {member.note}" for member in members if member.note]
    model = LoadedModel(network, data, Path(" + ".join(str(member.model.path) for member in members)))
    return Pairing(model, None, "; ".join(notes), "", tuple(members))


def check_teacher(recipe: Recipe, teacher: Pairing, validation: SegmentationDataset) -> None:
    """Refuse a trained teacher that does no better than guessing, unless the recipe says not to look.

    Args:
        recipe: Whose `teacher.check` says whether to look.
        teacher: The teacher; it is left on this process's device.
        validation: The images that it is tried on.

    Raises:
        NonFiniteScoresError: A score is not finite.
        TrainingError: It only guesses.
    """
    for each in teacher.members or (teacher,):
        network = each.model.network
        if recipe.teacher.check and not each.incompatibility and isinstance(network, Teacher):
            require_better_than_chance(str(each.model.path), network.to(own_device()), validation)


def run_teacher(recipe: Recipe, run: Path, data: Classes) -> Pairing | None:
    """The teacher of a finished run.

    Args:
        recipe: Whose `teacher.weights` names it; null for the one that the run itself has trained.
        run: The run folder.
        data: The classes that students learn.

    Returns:
        The teacher; None if there is none.

    Raises:
        CheckpointError: It can't be loaded.
        RecipeError: `teacher.class_map` does not fit.
    """
    trained = run / "teacher"
    source = recipe.teacher.weights or (str(trained) if trained.is_dir() else None)
    return None if source is None else open_pairing(source, recipe.teacher, data)


def comparable_teacher(recipe: Recipe, run: Path, data: Classes, needed_by: str) -> LoadedModel:
    """The teacher of a finished run, for what needs its scores.

    Args:
        recipe: As of `run_teacher`.
        run: The run folder.
        data: The classes that students learn.
        needed_by: The key that needs it, for errors.

    Returns:
        The teacher, which speaks of the data set's classes.

    Raises:
        CheckpointError: It can't be loaded.
        RecipeError: There is no teacher, or its classes can't be compared with the data set's.
    """
    pairing = run_teacher(recipe, run, data)
    if pairing is None:
        raise RecipeError(
            f"{needed_by} compares with a teacher, but the recipe names none and there is no run in {run / 'teacher'}. "
            f"Set teacher.weights=FOLDER, or {needed_by}=false."
        )
    if pairing.incompatibility:
        raise RecipeError(f"{needed_by}: {pairing.incompatibility}.")
    return pairing.model


def require_readable(methods: Sequence[Method], names: Sequence[str], incompatibility: str) -> None:
    """Refuse methods that read logits where an incompatibility makes the teacher's unreadable.

    Args:
        methods: Of the run.
        names: What they are called.
        incompatibility: Why the teacher's logits can't be read; "" if they can.

    Raises:
        RecipeError: There is an incompatibility and one of them reads logits.
    """
    readers = [name for method, name in zip(methods, names, strict=True) if "logits" in method.needs]
    if incompatibility and readers:
        raise RecipeError(
            f"{incompatibility}; or use only methods that read no logits, such as cwd with source=embedding "
            f"({', '.join(dict.fromkeys(readers))} here reads them)."
        )


def recorded(recipe: Recipe, pairing: Pairing | None) -> Recipe:
    """The recipe with the class map itself in the place of its file, so that a run folder says all it depends on.

    Args:
        recipe: Of the run.
        pairing: Its teacher, if it has one.

    Returns:
        The recipe to write.
    """
    teacher = recipe.teacher
    if pairing is not None and isinstance(teacher.weights, tuple):
        members = zip(teacher.weights, pairing.members, strict=True)
        teacher = teacher.model_copy(update={"weights": tuple(_mapped(each, member) for each, member in members)})
    elif pairing is not None:
        teacher = _mapped(teacher, pairing)
    return recipe.model_copy(update={"teacher": teacher})


def _mapped(config: Configured, pairing: Pairing) -> Configured:
    """The keys of a teacher with its class map in the place of the map's file."""
    mapping = pairing.class_map
    return config if mapping is None else config.model_copy(update={"class_map": mapping.mapping()})


def require_same_classes(model: LoadedModel, data: Classes) -> None:
    """Refuse a network that predicts other classes than the data set's; without names their number has to do.

    Args:
        model: The network and its classes.
        data: The data set's classes.

    Raises:
        RecipeError: The classes differ.
    """
    unknown = unnamed(model.classes.names) and len(model.classes) == len(data)
    if not unknown and not same_names(model.classes.names, data.names):
        raise RecipeError(
            f"{model.path} knows other classes ({_few(model.classes)}) than the data set ({_few(data)}). "
            "Choose a network trained on this class set."
        )


def _one_channel(model: LoadedModel, targets: Sequence[str]) -> str:
    """Why the channel of a sigmoid, which has no name, can't be the data set's second class; nothing if it can."""
    source = f"{model.path} scores one class without a name (a single sigmoid channel)"
    if len(targets) != 2:
        return f"{source}, the data set has {len(targets)}. Choose a teacher that tells them apart"
    if re.fullmatch(_REST, targets[1].strip(), re.IGNORECASE):
        return (
            f"{source}, which would be taken for the data set's second class, {targets[1]}. Say which it is: "
            f"teacher.class_map={{0: {targets[0]}}}"
        )
    return ""


def _differ(model: LoadedModel, data: Classes) -> str:
    """What differs, and what to try; the end of the sentence is open."""
    if same_set(model.classes.names, data.names):
        differ = "knows the data set's classes in another order"
        hint = "Set teacher.class_map=names to pair them by name"
    elif unnamed(model.classes.names):
        differ = f"knows {len(model.classes)} classes without names, the data set has {_few(data)}"
        hint = "Set teacher.class_map=FILE with lines `index: class of the data set`"
    else:
        differ = f"knows other classes ({_few(model.classes)}) than the data set ({_few(data)})"
        hint = "Set teacher.class_map=names to pair them by name, or =FILE with `teacher class: class of the data set`"
    return f"{model.path} {differ}. {hint}; or choose a teacher trained on this class set"


def _few(classes: Classes) -> str:
    return f"{len(classes)}: {', '.join(classes.names[:4])}{', ...' if len(classes) > 4 else ''}"
