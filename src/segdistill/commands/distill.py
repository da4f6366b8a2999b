"""Distilling a student, and measuring what that was worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdistill.commands.common import with_folder, with_warning
from segdistill.data import create_dataset
from segdistill.models.files import open_model
from segdistill.proof import Contender, prove, save_proof
from segdistill.recipe.recipe import load_recipe
from segdistill.reporting.table import Proof
from segdistill.runtime.processes import is_main
from segdistill.training import run as runs


@dataclass(frozen=True)
class Distilled:
    """A finished `distill`: its folder and the table that says what it was worth."""

    folder: Path
    proof: Proof


def distill(*parts: str | Path, resume: bool = False, quiet: bool = False, **overrides: Any) -> Distilled:
    """Distil the recipe's student and measure what it was worth.

    The folder `run` gets the distilled student and the proof (result.json, table.md, grid.png); its subfolders
    `teacher` and `alone` get the runs of the teacher (unless `teacher.run` names one) and of the student alone
    (unless `baseline` is "none" or names one).
    """
    recipe = with_warning(load_recipe(*parts, **overrides), quiet)
    recipe = with_folder(recipe, "-".join(method.name for method in recipe.with_method().method))
    done = runs.distill(recipe, resume=resume, quiet=quiet)
    contenders = [Contender("teacher", done.teacher.model, note=done.teacher.note)]
    if done.alone is not None:
        contenders.append(Contender("student alone", done.alone))
    contenders.append(Contender("distilled", open_model(done.student.folder.path)))
    validation = create_dataset(recipe.data, "val")
    proof = prove(contenders, validation, recipe.data.name, recipe.inference, recipe.metrics)
    if is_main():
        save_proof(done.student.folder.path, proof, contenders, validation, recipe.inference)
    return Distilled(done.student.folder.path, proof)
