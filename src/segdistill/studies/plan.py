"""What a study is made of: one recipe, the methods that are compared, the seeds, and the budget that each run gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from segdistill.core.discovery import explain
from segdistill.core.errors import RecipeError, TrainingError
from segdistill.core.numbers import Positive
from segdistill.core.safe_yaml import read_yaml
from segdistill.core.storage import write_yaml
from segdistill.core.typed_settings import TypedSettings
from segdistill.models.spec import NetworkSpec
from segdistill.recipe.keys import changeable_keys
from segdistill.recipe.recipe import MethodSpec, Recipe
from segdistill.recipe.teacher import TeacherMember
from segdistill.runs.changed_keys import changed_keys
from segdistill.runs.folder import RunFolder
from segdistill.studies.result import ALONE, TEACHER

_OWN_KEYS = ("out", "seed", "steps", "method", "baseline")
"""Recipe keys that the study sets for every run."""

_OF_WEIGHTS = ("grad_accumulation", "refit_images")
"""Recipe keys that one run may change on the way although its weights depend on them."""

_OF_CHOICE = ("validate_every", "validate_images")
"""The same where keep=best chooses among weights by validations."""


class Budget(TypedSettings):
    """What every run may use: either steps or minutes."""

    steps: int | None = Field(None, ge=1)
    """Optimizer steps of each run; null where `minutes` is set."""

    minutes: Positive | None = None
    """Minutes of training of each run, in which slower methods make fewer steps; null where `steps` is set."""

    @model_validator(mode="after")
    def _one(self) -> Budget:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("a budget is either steps or minutes")
        return self

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.steps is not None else f"{self.minutes:g} minutes"


def read_budget(value: Any, default: int) -> Budget:
    """Read a budget.

    Args:
        value: "steps:2000", "minutes:30", a mapping, or None.
        default: Steps where it is None.

    Returns:
        The budget.

    Raises:
        RecipeError: It is neither.
    """
    if value is None:
        return Budget(steps=default)
    words = value
    if isinstance(value, str):
        kind, _, amount = value.partition(":")
        words = {kind: amount}
    try:
        return Budget.model_validate(words)
    except ValidationError as error:
        raise RecipeError(f"budget is {value!r}; expected steps:NUMBER or minutes:NUMBER.") from error


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Attributes:
        label: Of its method, "student alone" or "teacher".
        seed: Its seed.
    """

    label: str
    seed: int

    @property
    def name(self) -> str:
        """That of its folder in the study's."""
        return TEACHER if self.label == TEACHER else f"{self.label.replace(' ', '-')}-{self.seed}"

    def __str__(self) -> str:
        return TEACHER if self.label == TEACHER else f"{self.label}, seed {self.seed}"


class Plan(TypedSettings):
    """A study before it has run. study.yaml holds it, so that a study goes on from its folder alone."""

    recipe: Recipe
    """What all runs share."""

    methods: dict[str, list[MethodSpec]]
    """Recipe entries of the methods that are compared, by label; the student alone is not among them."""

    seeds: tuple[int, ...]
    """The seeds of every method."""

    budget: Budget
    """What every run may use."""

    teacher_checksum: str = ""
    """Of the weights of the one teacher of all runs, once one has begun; nothing before."""

    steps: dict[str, int] = Field({})
    """Steps by label, where the budget is minutes; a label without makes the recipe's."""

    def jobs(self) -> list[Job]:
        """All runs but the teacher's, seed by seed, so that a study that is stopped early has whole seeds."""
        return [Job(label, seed) for seed in self.seeds for label in (ALONE, *self.methods)]

    def teacher(self, folder: Path) -> str | NetworkSpec | tuple[TeacherMember, ...]:
        """Where the one teacher of all runs is.

        Args:
            folder: The study's.

        Returns:
            `teacher.weights` of the recipe, or the folder of the run that trains the teacher.
        """
        given = self.recipe.teacher.weights
        return str((folder / TEACHER).absolute()) if given is None else given

    def trains_teacher(self) -> bool:
        """Whether the study makes its teacher."""
        return self.recipe.teacher.weights is None

    def recipe_of(self, job: Job, folder: Path) -> Recipe:
        """The recipe of one run.

        Args:
            job: The run.
            folder: The study's, in which it writes.

        Returns:
            The study's recipe with the run's method, seed and steps, and with the one teacher.
        """
        run = folder / job.name
        if job.label == TEACHER:
            return self.recipe.model_copy(update={"out": run, "role": "teacher", "baseline": "none"})
        teacher = self.recipe.teacher
        if self.trains_teacher():
            teacher = teacher.model_copy(update={"weights": self.teacher(folder), "check": False})
        return self.recipe.model_copy(
            update={
                "out": run,
                "seed": job.seed,
                "steps": self.steps.get(job.label, self.recipe.steps),
                "method": self.methods.get(job.label, []),
                "baseline": "none",
                "teacher": teacher,
            }
        )

    def joined(self, later: Plan, where: Path) -> Plan:
        """This plan with the methods and seeds of a later one of the same study; nothing is dropped.

        Recipe keys that a resumed run may change are the later one's, but those that results depend on only until a
        run is finished.

        Args:
            later: The other plan.
            where: The study's folder.

        Returns:
            The joined plan.

        Raises:
            TrainingError: It is the plan of another study; the error says what differs.
        """
        now, before = (plan.recipe.model_dump(mode="json") for plan in (later, self))
        changed = changed_keys(before, now, {*changeable_keys() - self._settled(where), *_OWN_KEYS})
        if later.budget != self.budget:
            changed.append(f"budget: {self.budget} then, {later.budget} now")
        for label in self.methods.keys() & later.methods.keys():
            if _written(self.methods[label]) != _written(later.methods[label]):
                changed.append(f"method {label}: {self.methods[label]} then, {later.methods[label]} now")
        if changed:
            raise TrainingError(
                f"{where} holds another study; it can't go on with this one:\n  "
                + "\n  ".join(changed)
                + f"\n`segdistill compare {where}` goes on with the one it holds; or choose another out=FOLDER."
            )
        seeds = dict.fromkeys((*self.seeds, *later.seeds))
        # The later one also holds what was handed in as an object.
        recipe = later.recipe.model_copy(update={key: getattr(self.recipe, key) for key in _OWN_KEYS})
        methods = {**self.methods, **later.methods}
        return self.model_copy(update={"recipe": recipe, "methods": methods, "seeds": tuple(seeds)})

    def _settled(self, folder: Path) -> set[str]:
        """Keys that may not change any more, as later runs would differ from finished ones, or from measured steps."""
        if not self.steps and not any(RunFolder(folder / job.name).finished("student") for job in self.jobs()):
            return set()
        return {*_OF_WEIGHTS, *(_OF_CHOICE if self.recipe.keep == "best" else ())}

    def save(self, folder: Path) -> None:
        """Write study.yaml.

        Args:
            folder: The study's.

        Raises:
            SegdistillError: The file can't be written.
        """
        write_yaml(plan_file(folder), self.model_dump(mode="json"))


def _written(methods: list[MethodSpec]) -> list[dict[str, Any]]:
    return [method.model_dump(mode="json") for method in methods]


def plan_file(folder: Path) -> Path:
    """Where a study says what it is made of.

    Args:
        folder: The study's.

    Returns:
        The path of its study.yaml.
    """
    return folder / "study.yaml"


def load_plan(folder: Path) -> Plan:
    """The plan of a study that was begun.

    Args:
        folder: The study's.

    Returns:
        The plan.

    Raises:
        RecipeError: study.yaml is missing, can't be read, or holds no plan.
    """
    file = plan_file(folder)
    try:
        return Plan.model_validate(read_yaml(file))
    except ValidationError as error:
        raise RecipeError(f"{file} is not a study: " + "\n".join(explain(error, Plan))) from error
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"{file} can't be read: {error}") from error
