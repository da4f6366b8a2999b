"""Every command and program of README.md and docs/ does what a reader sees, on small data and for a step."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import time
import tomllib
import traceback
from collections.abc import Sequence
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pytest
import yaml
from quick import cases
from snippet_world import VALUES, provide
from snippets import (
    PAGES,
    ROOT,
    SHELL,
    SHOWN,
    SMALL_OPTIONS,
    SMALL_PROFILE,
    VERBS,
    Block,
    blocks,
    commands,
    inline,
    recipe_parts,
    small,
    small_program,
    unfenced,
    variables,
)
from typer.testing import CliRunner

import segdistill
from segdistill.cli.main import app
from segdistill.core.discovery import options_of
from segdistill.data import dataset_names
from segdistill.models.catalog import ZOO

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"])

NOT_RUN = {
    "make demo": "takes minutes; its command is distill on streets",
    "make test": "is what runs this test",
    "make docs": "installs Sphinx and builds the site",
    "make lock": "asks PyPI",
    "make release-check": "builds and installs for minutes; tests/test_release.py looks at the wheel",
    "docker": "needs a Docker engine",
    "segdistill demo": "serves a page until Ctrl-C, tests/serving/test_page.py does",
    "segdistill export": "traces a network for ten seconds, tests/exporting/test_export.py does",
    "segdistill benchmark": "traces a network for ten seconds, tests/exporting/conftest.py does",
    "segdistill evaluate runs/mine/export": "needs an exported file, tests/exporting/test_files_everywhere.py does it",
    "segdistill predict runs/mine/export": "needs an exported file, tests/exporting/test_files_everywhere.py does it",
    "segdistill profile runs/mine/export": "needs an exported file, tests/exporting/test_files_everywhere.py does it",
    "make install": "made the environment that runs this test",
    "source .venv/bin/activate": "changes the shell",
    "pip install": "changes the environment",
    "torchrun": "starts processes, tests/training/test_distributed.py does",
    "python -m pytest": "runs tests in a test",
    "python benchmarks/": "a study of hours, or writes into benchmarks/results",
    "segdistill compare streets tiny_pair budget=steps:300 out=runs/mine": "is of the page's own file, too",
    "segdistill distill streets tiny_pair method={name: my_losses": "needs its file; test_add_a_method.py runs it",
}
"""Beginning of a command -> why it is not run. Those that call segdistill are still read as it would read them."""

PROGRAMS_NOT_RUN = {
    "docs/add-a-method.md": "a file of the package; test_add_a_method.py runs it",
    **{
        f"docs/{page}.md": "needs its runtime; benchmarks/runtimes.py does the same"
        for page in ("ncnn", "litert", "executorch", "core-ml")
    },
}

ONCE = ("list", "profile")
"""Verbs that read nothing of the folder: the same command is run once, however many pages have it."""

_done: set[str] = set()

HELP = """
{place}: `{what}` {problem}
Every command and program of README.md, benchmarks/README.md and docs/ is run by this test, in a folder with what tests/snippet_world.py makes.
Is the page wrong? Mend it. Does it name a file or run that it does not make? Add that to WORLD of snippet_world.py. Is it
slow? See SMALL of tests/snippets.py. Can it not run here at all? Add it to NOT_RUN of this file, with the reason.
"""  # noqa: E501


def _page(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.mark.parametrize("page", cases(PAGES[:1], PAGES[1:]), ids=_page)
def test_commands_and_programs_run(page: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provide(store, tmp_path, page.read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {**VALUES, "__name__": "page"}
    for block in [*blocks(page), *inline(page)]:
        if block.language in SHELL:
            for name, value in variables(block.text).items():
                monkeypatch.setenv(name, value)
            for words in commands(block.text):
                _run(words, block)
        elif block.language == "text":
            _check_forms(block)
        elif block.language == "python" and _page(page) not in PROGRAMS_NOT_RUN:
            _execute(block, names)
        elif block.language == "yaml" and _page(page) not in PROGRAMS_NOT_RUN:
            _check_yaml(block)


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_the_command_line_takes_every_command(page: Path) -> None:
    for block in [*blocks(page), *inline(page)]:
        if block.language in SHELL:
            for verb, *words in (words[1:] for words in commands(block.text) if words[0] == "segdistill"):
                _arguments(verb, words, block)


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_nothing_hides_from_this_test(page: Path) -> None:
    hidden = [f"`{command}`" for command in unfenced(page)]
    assert not hidden, f"{_page(page)}: put {', '.join(hidden)} into a fence: ```sh to have it run, ```text for a form"
    for block in blocks(page):
        languages = (*SHELL, *SHOWN, "python", "yaml")
        assert block.language in languages, (
            f"{block.place}: a fence of {block.language!r}; expected one of {', '.join(languages)}"
        )


def test_no_exception_outlives_its_command() -> None:
    lines = [
        " ".join(words)
        for page in PAGES
        for block in [*blocks(page), *inline(page)]
        if block.language in SHELL
        for words in commands(block.text)
    ]
    for beginning in NOT_RUN:
        assert any(line.startswith(beginning) for line in lines), f"No page says '{beginning}' any more: take it out"


def _run(words: list[str], block: Block) -> None:
    line = " ".join(words)
    if any(line.startswith(beginning) for beginning in NOT_RUN):
        _check_not_run(words, block)
        return
    if words[0] != "segdistill":
        pytest.fail(HELP.format(place=block.place, what=line, problem="is no command that this test knows."))
    verb, *rest = words[1:]
    given = _arguments(verb, rest, block)
    parts = recipe_parts(verb, given)
    _check_recipe(parts, block)
    _forget_runs(line)
    if verb in ONCE and line in _done:
        return
    _done.add(line)
    options = [f"{key}={value}" for key, value in SMALL_OPTIONS.get(verb, {}).items()]
    words = small(verb, parts)
    if verb == "prepare":  # not every data set may be partial
        taken = options_of(dataset_names()[given["dataset"]]).model_fields
        words = [word for word in words if word.partition("=")[0] in taken]
    if verb == "profile" and given["source"] in ZOO:
        words += SMALL_PROFILE
    _invoke([verb, *rest, *words, *options], block)


def _invoke(words: list[str], block: Block) -> None:
    started = time.process_time()
    done = CliRunner().invoke(app, words)
    line = f"segdistill {' '.join(words)}"
    print(f"{time.process_time() - started:6.2f} s  {line}")
    if done.exit_code != 0:
        problem = f"ended with status {done.exit_code}.\n{done.output}\n{done.exception or ''}"
        pytest.fail(HELP.format(place=block.place, what=line, problem=problem))


def _check_recipe(parts: Sequence[str], block: Block) -> None:
    """That the page's own words, if there are any, are a recipe before others stand behind them."""
    try:
        if parts:
            segdistill.load_recipe(*parts)
    except segdistill.SegdistillError as error:
        pytest.fail(HELP.format(place=block.place, what=" ".join(parts), problem=f"is not a recipe: {error}"))


def _execute(block: Block, names: dict[str, Any]) -> None:
    _forget_runs(block.text)
    started = time.process_time()
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            exec(compile(small_program(block.text), block.place, "exec"), names)
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == block.place]
        what = block.text.splitlines()[(lines[-1] or 1) - 1] if lines else block.text
        pytest.fail(HELP.format(place=block.place, what=what, problem=f"raises {type(error).__name__}: {error}"))
    for promised in re.findall(r"# -> (.*)$", block.text, re.MULTILINE):
        assert promised in output.getvalue(), f"{block.place} promises {promised!r} and prints {output.getvalue()!r}"
    print(f"{time.process_time() - started:6.2f} s  {block.place}")


def _check_yaml(block: Block) -> None:
    """That it is YAML, and if it looks like a part of a recipe that it is one."""
    tree = yaml.safe_load(block.text)
    if set(tree) <= set(segdistill.Recipe.model_fields):
        Path("part_of_a_recipe.yaml").write_text(block.text, encoding="utf-8")
        _check_recipe(["streets", "tiny_pair", "part_of_a_recipe.yaml"], block)


def _forget_runs(text: str) -> None:
    """Remove the runs that are about to be made: those named, and those with the name a run has if none is said.

    `predict` goes on in the folder that it finds, so that stays.
    """
    if "--resume" not in text and not re.search(r"segdistill[ .]predict", text):
        named = re.findall(r"""(?<![.\w])out=["']?([\w/.-]+)""", text)
        for run in [*map(Path, named), *Path("runs").rglob("*-seed*")]:
            shutil.rmtree(run, ignore_errors=True)


def _check_not_run(words: list[str], block: Block) -> None:
    """What can be said of a command without running it: that its target, file, extra or verb and options exist."""
    fault = ""
    if words[0] == "source":
        return
    if words[0] == "make":
        fault = "" if re.search(rf"^{words[1]}:", MAKEFILE, re.MULTILINE) else f"the Makefile has no target {words[1]}"
    elif words[0] == "python":
        file = next(word for word in words if "/" in word)
        fault = "" if (ROOT / file).exists() else f"there is no {file}"
    elif words[0] == "pip":
        asked = {name for extras in re.findall(r"\[(.*?)\]", " ".join(words)) for name in extras.split(",")}
        fault = "" if asked <= EXTRAS else f"pyproject.toml has no extra {', '.join(asked - EXTRAS)}"
    elif words[:2] != ["docker", "build"]:
        _, verb, *rest = dropwhile(lambda word: word.partition(":")[0] != "segdistill", words)
        given = _arguments(verb, rest, block)
        if _page(block.page) not in PROGRAMS_NOT_RUN:
            _check_recipe(recipe_parts(verb, given), block)
    assert not fault, f"{block.place}: `{' '.join(words)}`: {fault}"


def _check_forms(block: Block) -> None:
    """That the verbs, options and functions of a form exist."""
    for name in re.findall(r"^segdistill\.(\w+)\(", block.text, re.MULTILINE):
        assert hasattr(segdistill, name), f"{block.place}: there is no segdistill.{name}"
    for line in re.findall(r"^segdistill ([a-z].*)$", block.text, re.MULTILINE):
        verb, *rest = line.split()
        options = re.findall(r"--[\w-]+", " ".join(rest))
        allowed = {option for parameter in _verb(verb, block).params for option in parameter.opts}
        assert set(options) <= allowed, f"{block.place}: {verb} has no option {', '.join(set(options) - allowed)}"


def _arguments(verb: str, words: list[str], block: Block) -> dict[str, Any]:
    """What the command line makes of the words; a failed test if it does not take them."""
    try:
        given: dict[str, Any] = _verb(verb, block).make_context(verb, list(words)).params
    except Exception as error:
        pytest.fail(
            HELP.format(place=block.place, what=f"segdistill {verb} {' '.join(words)}", problem=f"is refused: {error}")
        )
    return given


def _verb(name: str, block: Block) -> Any:
    assert name in VERBS, f"{block.place}: segdistill has no verb {name}"
    return VERBS[name]
