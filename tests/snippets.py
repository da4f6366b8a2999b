"""The commands and programs of the documentation, as a reader would paste them, and how the tests make them small."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any, TypeGuard

import typer
import yaml

from segdistill.cli.main import app
from segdistill.recipe.composition import compose

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").glob("*.md")))

SHELL = ("sh", "bash", "console")
SHOWN = ("text", "{toctree}", "{eval-rst}", "{include}")
"""Fences that hold nothing to run; `text` is for output and for the form of a command."""

SMALL = (
    "steps=1",
    "teacher.train.steps=1",
    "teacher.check=false",
    "batch_size=2",
    "grad_accumulation=1",
    "workers=0",
    "augment.crop=[32,48]",
)
"""Recipe words put behind those of the page, so that a run takes a second."""

SMALL_NETWORKS = {
    "student": "student={backbone: test_efficientnet, head: fcn, channels: 8, auxiliary_channels: 8}",
    "teacher": "teacher.network={backbone: test_efficientnet, head: fcn, channels: 16}",
}
"""And behind those that have such a network by a fragment's name."""

SMALL_DATA = {
    "streets": ("data.size=[32,48]", "data.count=4"),
    **dict.fromkeys(("camvid", "cityscapes", "ade20k", "pascal_context", "voc", "coco_stuff"), ("data.partial=true",)),
}
"""And by data set: those of the tests are parts."""

SMALL_VERB = {"profile": ("size=64x64", "runs=1"), "prepare": ("partial=true",), "compare": ("budget=steps:1",)}
SMALL_PROFILE = ("backbone=test_resnet", "channels=8", "auxiliary_channels=8")
"""Of a network of the zoo."""
SMALL_OPTIONS = {"compare": {"seeds": "0"}}
"""Options put behind those of the page's command, keywords in the place of those of its program."""

VERBS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
TRAINING = [
    name for name, verb in VERBS.items() if any(one.name in ("parts", "row") and one.required for one in verb.params)
]
"""Verbs that take a whole recipe: train, distill, doctor, .."""

_FENCED = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line of its first fence, what the fence says it is, and its text."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: match.start()].count("\n") + 1, match[2], _dedented(match[3], len(match[1])))
        for match in _FENCED.finditer(text)
    ]


def unfenced(page: Path) -> list[str]:
    """Commands that stand in an indented block, where no test sees them."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return re.findall(r"^ {4,}((?:\$ )?(?:segdistill|torchrun|python|pip|make) .*)$", text, re.MULTILINE)


def inline(page: Path) -> list[Block]:
    """The commands within sentences, as `segdistill list heads`; those with PLACEHOLDERS, or cut short, are forms."""
    text = _FENCED.sub(lambda matches: "\n" * matches[0].count("\n"), page.read_text(encoding="utf-8"))
    matches = re.finditer(r"`((?:segdistill[ .]|torchrun |python |pip |make |docker )[^`]+)`", text)
    return [_inline(page, text[: one.start()].count("\n") + 1, " ".join(one[1].split())) for one in matches]


def _inline(page: Path, line: int, command: str) -> Block:
    form = re.search(r"\b[A-Z]{2,}\b|\.\.|\(", command) or re.fullmatch(r"segdistill \w+", command)
    return Block(page, line, "text" if form and command != "segdistill list" else "sh", command)


def commands(text: str) -> list[list[str]]:
    """The words of each command, without comments and `> FILE`; a console's output and prompts are left out."""
    lines = text.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    every = (shlex.split(line, comments=True) for line in lines)
    before = (takewhile(lambda word: word != ">", line) for line in every)
    return [words for line in before if (words := [*dropwhile(_is_variable, line)])]


def variables(text: str) -> dict[str, str]:
    """The environment variables that stand before commands."""
    return dict(re.findall(r"^(?:\$ )?([A-Z_]+)=(\S+) (?=segdistill )", text, re.MULTILINE))


def _is_variable(word: str) -> bool:
    """Whether it sets an environment variable for the command behind it."""
    return bool(re.fullmatch(r"[A-Z_]+=.*", word))


def recipe_parts(verb: str, given: Mapping[str, Any]) -> list[str]:
    """The recipe parts among a command's arguments; none if it goes on with a study or has no recipe."""
    if given.get("step"):  # profile --step
        return [given["source"], *(given["words"] or ())]
    if verb not in TRAINING:
        return []
    parts = [*([given["row"]] if "row" in given else []), *(given["parts"] or ())]
    verb_keys = VERBS[verb].own_keys()
    return [] if Path(parts[0]).is_dir() else [part for part in parts if part.partition("=")[0] not in verb_keys]


def small(verb: str, parts: Sequence[str], **overrides: Any) -> list[str]:
    """The words to put behind those of a command (verb, recipe parts, keywords of a call) that make it small."""
    words = [] if verb == "profile" and parts else list(SMALL_VERB.get(verb, ()))
    if not parts:
        return [] if verb in TRAINING else words
    recipe, _ = compose(*parts, **overrides)
    words += SMALL
    words += [
        word
        for key, word in SMALL_NETWORKS.items()
        if key in recipe and word.partition("=")[0] not in {part.partition("=")[0] for part in parts}
    ]
    return [*words, *SMALL_DATA.get(recipe.get("data", {}).get("name"), ())]


def small_program(text: str) -> ast.Module:
    """The program with the words of `small` in its calls of `segdistill.train`, `distill`, .."""
    program: ast.Module = _Small().visit(ast.parse(text))
    return ast.fix_missing_locations(program)


class _Small(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        function = ast.unparse(node.func)
        if function == "range":
            node.args = [ast.Constant(min(8, end.value)) if _is_number(end) else end for end in node.args]
            return node
        verb = function.removeprefix("segdistill.")
        if not function.startswith("segdistill.") or verb not in (*TRAINING, *SMALL_VERB):
            return node
        if verb not in TRAINING:
            given = {word.partition("=")[0]: word.partition("=")[2] for word in small(verb, [])}
            node.keywords = [word for word in node.keywords if word.arg not in given]
            node.keywords += [ast.keyword(key, ast.Constant(yaml.safe_load(value))) for key, value in given.items()]
            return node
        parts = [part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        overrides = {word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg}
        words = small(verb, parts, **overrides)
        keys = {word.partition("=")[0] for word in words}
        options = SMALL_OPTIONS.get(verb, {})
        node.keywords = [word for word in node.keywords if word.arg not in (*keys, *options)]
        node.keywords += [ast.keyword(key, ast.Constant(value)) for key, value in options.items()]
        node.args += [ast.Constant(word) for word in words]
        return node


def _is_number(node: ast.expr) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


def _dedented(text: str, indent: int) -> str:
    return "".join(line[indent:] if line[:indent].isspace() else line for line in text.splitlines(keepends=True))
