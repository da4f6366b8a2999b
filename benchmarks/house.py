"""How the house stands: modules, levels, circles, lengths and repetitions of the package, counted from its text.

    python benchmarks/house.py [--src src/segdistill] [--json]

Nothing of the package is imported or run. Imports in functions and under TYPE_CHECKING count like all others.
`tests/test_layers.py` holds what must stay true.
"""

from __future__ import annotations

import argparse
import ast
import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

LEVELS = (
    ("core",),
    ("runtime",),
    ("data", "models", "methods"),
    ("evaluation", "preparation"),
    ("runs", "serving"),
    ("recipe",),
    ("training",),
    ("studies", "diagnosis", "exporting"),
    ("reporting",),
    ("commands",),
    ("cli",),
)
"""Rooms from the ground up. A room imports rooms of lower levels only; those of one level don't know each other."""

LONGEST_FILE, LONGEST_FUNCTION, REPEATED = 300, 50, 6
"""Lines that a file and a function may have, and equal lines that may not stand in two places."""


@dataclass(frozen=True)
class Import:
    """One import of a module of the package by another. line: where it stands in the importing file."""

    source: str
    target: str
    line: int


@dataclass(frozen=True)
class Length:
    """How many lines a file or function has, and where it begins."""

    place: str
    lines: int


class House:
    """The modules of one package, by dotted name without the package's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {self._name(path): path for path in sorted(folder.rglob("*.py"))}
        self.texts = {name: path.read_text(encoding="utf-8") for name, path in self.files.items()}
        self.trees = {name: ast.parse(text) for name, text in self.texts.items()}

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self.folder).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def place(self, module: str, line: int) -> str:
        """As "training/loop.py:12"."""
        return f"{self.files[module].relative_to(self.folder)}:{line}"

    def imports(self) -> list[Import]:
        """Every import of one module of the package by another, wherever in its file it stands."""
        package = self.folder.name
        result = []
        for source, tree in self.trees.items():
            for node in ast.walk(tree):
                names: list[str] = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                for name in names:
                    if name == package or name.startswith(f"{package}."):
                        target = self._module(name.removeprefix(package).removeprefix("."))
                        if target != source:
                            result.append(Import(source, target, node.lineno))  # type: ignore[attr-defined]
        return result

    def _module(self, name: str) -> str:
        """The longest beginning of a dotted name that is a module."""
        while name not in self.files:
            name = name.rpartition(".")[0]
        return name

    def root_modules(self) -> list[str]:
        """Modules that stand in the root beside `__init__` and `__main__`."""
        return [path.stem for path in self.folder.glob("*.py") if path.stem not in ("__init__", "__main__")]

    def back_imports(self) -> list[str]:
        """Imports that run up or sideways: of a room by one that is not above it."""
        level = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
        back = []
        for each in self.imports():
            source, target = each.source.partition(".")[0], each.target.partition(".")[0]
            if source not in level or source == target:  # the root and __main__ stand above all
                continue
            if target not in level or level[target] >= level[source]:
                back.append(f"{self.place(each.source, each.line)} imports {each.target or 'the root'}")
        return back

    def module_circles(self) -> list[list[str]]:
        """Modules that import each other, directly or around corners."""
        return circles({(each.source, each.target) for each in self.imports()})

    def room_circles(self) -> list[list[str]]:
        """Rooms that import each other, directly or around corners."""
        return circles(self._between_rooms())

    def levels(self) -> int:
        """Rooms in the longest chain of imports; rooms of a circle count as one."""
        edges = self._between_rooms()
        together = {room: circle[0] for circle in circles(edges) for room in circle}
        below: dict[str, set[str]] = {}
        for source, target in edges:
            above, beneath = together.get(source, source), together.get(target, target)
            if above != beneath:
                below.setdefault(above, set()).add(beneath)

        def height(room: str) -> int:
            return 1 + max(map(height, below.get(room, ())), default=0)

        return max(map(height, below), default=1)

    def _between_rooms(self) -> set[tuple[str, str]]:
        rooms = ((each.source.partition(".")[0], each.target.partition(".")[0]) for each in self.imports())
        return {(source, target) for source, target in rooms if source != target and source not in ("", "__main__")}

    def file_lengths(self) -> list[Length]:
        """Lines of every file."""
        return [Length(self.place(name, 1), len(text.splitlines())) for name, text in self.texts.items()]

    def function_lengths(self) -> list[Length]:
        """Lines of every function from `def` to its end, nested ones included, its docstring left out."""
        return [
            Length(self.place(name, node.lineno), (node.end_lineno or node.lineno) - node.lineno + 1 - _described(node))
            for name, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]

    def comment_share(self) -> float:
        """Share of lines that begin with a comment, in percent."""
        lines = [line.strip() for text in self.texts.values() for line in text.splitlines()]
        return 100 * sum(line.startswith("#") for line in lines) / len(lines)

    def args_share(self) -> float:
        """Of public functions with arguments, the share whose docstring has `Args:`, in percent."""
        public = [
            node
            for tree in self.trees.values()
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            if node.args.args or node.args.kwonlyargs or node.args.posonlyargs
        ]
        return 100 * sum("Args:" in (ast.get_docstring(node) or "") for node in public) / len(public) if public else 0.0

    def repetitions(self) -> list[str]:
        """Pairs of places with the same lines of code.

        Imports, argument lists, docstrings, comments, blank lines and punctuation don't count: that all methods are
        made from the same arguments is their contract, not a copy.
        """
        seen: dict[tuple[str, ...], tuple[str, int, int]] = {}
        pairs: dict[tuple[str, str, int], str] = {}
        for name in self.files:
            code = self._code(name)
            for index in range(len(code) - REPEATED + 1):
                window = code[index : index + REPEATED]
                key = tuple(text for _, text in window)
                first = seen.setdefault(key, (name, window[0][0], index))
                if first[0] != name or index - first[2] >= REPEATED:
                    run = (first[0], name, index - first[2])  # windows of one long run differ by the same number
                    pairs.setdefault(run, f"{self.place(first[0], first[1])} and {self.place(name, window[0][0])}")
        return list(pairs.values())

    def _code(self, name: str) -> list[tuple[int, str]]:
        """Line numbers and text of what counts as code."""
        dropped = {
            line
            for node in ast.walk(self.trees[name])
            if isinstance(node, ast.Import | ast.ImportFrom)
            or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        } | {
            line
            for node in ast.walk(self.trees[name])
            if isinstance(node, ast.FunctionDef)
            for line in range(node.lineno, node.body[0].lineno)
        }
        lines = enumerate(self.texts[name].splitlines(), 1)
        folded = ((number, " ".join(text.split())) for number, text in lines if number not in dropped)
        return [(number, text) for number, text in folded if any(map(str.isalnum, text)) and not text.startswith("#")]


def _described(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many lines of a function are its docstring."""
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is None:
        return 0
    return (first.end_lineno or first.lineno) - first.lineno + 1


def circles(edges: set[tuple[str, str]]) -> list[list[str]]:
    """Groups of nodes of which each is reached from each other (Tarjan's strongly connected components)."""
    below: dict[str, list[str]] = {}
    for source, target in sorted(edges):
        below.setdefault(source, []).append(target)
        below.setdefault(target, [])
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for target in below[node]:
            if target not in number:
                visit(target)
                lowest[node] = min(lowest[node], lowest[target])
            elif target in stack:
                lowest[node] = min(lowest[node], number[target])
        if lowest[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for node in below:
        if node not in number:
            visit(node)
    return groups


def summary(house: House) -> Iterator[tuple[str, str | int]]:
    """The rows of the table."""
    files, functions = house.file_lengths(), house.function_lengths()
    yield "modules", len(files)
    yield "lines", sum(each.lines for each in files)
    yield "modules in the root beside __init__ and __main__", len(house.root_modules())
    yield "levels of rooms", house.levels()
    yield "circles of rooms", len(house.room_circles())
    yield "circles of modules", len(house.module_circles())
    yield "imports that run back", len(house.back_imports())
    for what, lengths in (("file", files), ("function", functions)):
        lines = sorted(each.lines for each in lengths)
        longest = max(lengths, key=lambda each: each.lines)
        yield f"{what}: median", round(statistics.median(lines))
        yield f"{what}: p90", lines[int(0.9 * len(lines))]
        yield f"{what}: longest", f"{longest.lines} ({longest.place})"
    yield f"files above {LONGEST_FILE} lines", sum(each.lines > LONGEST_FILE for each in files)
    yield f"functions above {LONGEST_FUNCTION} lines", sum(each.lines > LONGEST_FUNCTION for each in functions)
    yield "share of comment lines, %", f"{house.comment_share():.1f}"
    yield "public functions with Args, %", f"{house.args_share():.0f}"
    yield f"places of {REPEATED} equal lines", len(house.repetitions())


def main() -> None:
    """Print the table, and everything that breaks a rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--src", type=Path, default=Path(__file__).parents[1] / "src" / "segdistill")
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    options = parser.parse_args()
    house = House(options.src)
    broken = {
        "modules in the root": house.root_modules(),
        "imports that run back": house.back_imports(),
        "circles of rooms": [" <-> ".join(circle) for circle in house.room_circles()],
        "circles of modules": [" <-> ".join(circle) for circle in house.module_circles()],
        "long files": [asdict(each) for each in house.file_lengths() if each.lines > LONGEST_FILE],
        "long functions": [asdict(each) for each in house.function_lengths() if each.lines > LONGEST_FUNCTION],
        "repetitions": house.repetitions(),
    }
    if options.json:
        print(json.dumps({"summary": dict(summary(house)), **broken}, indent=2))
        return
    for what, value in summary(house):
        print(f"{what:52} {value}")
    for what, places in broken.items():
        if places:
            print(f"\n{what}:", *places, sep="\n  ")


if __name__ == "__main__":
    main()
