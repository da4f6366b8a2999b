"""Rows of the published tables: what each is made of, what it scored, and where that is said."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from segdistill.core.safe_yaml import load_yaml

FOLDER = "published"
"""The folder of `library/` that holds tables, not fragments."""
_MEASURED = "measured"

Word = str | dict[str, str]
"""A recipe word, or {word: where it comes from}."""


@dataclass(frozen=True)
class PublishedRow:
    """A row of a published table: `<table>/<data>/<pair>/<method>`, method "teacher" and "student" for those alone.

    None is a number that was not looked up.

    Attributes:
        name: as above.
        words: the recipe, as fragments and key=value words, in their order.
        origins: where the words come from whose fragment does not say it.
        evaluation: words that only the final measurement has.
        miou: in percent, on validation.
        macc: likewise.
        test_miou: in percent, on the test server.
        gflops: as printed.
        parameters: in million, as printed.
        paper: what the table is from.
        source: which table of it.
        file: the name of the published weights, if there are any.
        where: the page that has them.
        backbones: what the networks start from, by role.
        descriptions: what else is to be known of the row.
    """

    name: str
    words: tuple[str, ...]
    origins: dict[str, str]
    evaluation: tuple[str, ...]
    miou: float | None
    macc: float | None
    test_miou: float | None
    gflops: float | None
    parameters: float | None
    paper: str
    source: str
    file: str | None
    where: str | None
    backbones: dict[str, str]
    descriptions: tuple[str, ...]

    @property
    def method(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]

    @property
    def role(self) -> Literal["teacher", "student", "distilled"]:
        """What the row is about: a teacher or a student alone, or a distilled student."""
        return "teacher" if self.method == "teacher" else "student" if self.method == "student" else "distilled"

    def sibling(self, method: str) -> PublishedRow:
        """Another row of the same pair.

        Args:
            method: its method, or "teacher" or "student".

        Returns:
            The row.

        Raises:
            KeyError: the table has none.
        """
        return published_rows()[f"{self.name.rpartition('/')[0]}/{method}"]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class _Layer(BaseModel):
    """What a data set, a pair, or a pair on a data set adds to its rows; later layers come over earlier ones.

    schedule, test: a fragment each; tests: for single methods. methods: words in the place of the table's.
    only: further words of single methods. evaluation: words of the final measurement.
    """

    model_config = ConfigDict(extra="forbid")

    schedule: str | None = None
    words: list[Word] = []
    test: str | None = None
    tests: dict[str, str] = {}
    methods: dict[str, list[Word]] = {}
    only: dict[str, list[Word]] = {}
    evaluation: list[Word] = []
    backbones: dict[str, str] = {}
    cost: dict[str, tuple[float, float]] = {}
    descriptions: list[str] = []


class _Scores(_Layer):
    """A pair on a data set. file: name of the distilled students' weights; files: of single ones, null for none."""

    file: str | None = None
    files: dict[str, str | None] = {}
    miou: dict[str, float | None] = {}
    macc: dict[str, float | None] = {}
    test_miou: dict[str, float | None] = {}


class _Data(_Layer):
    where: str | None = None
    pairs: dict[str, _Scores]


class Table(BaseModel):
    """A file of `library/published/`: methods and pairs with their words, and their scores on each data set.

    Attributes:
        paper: what the table is from.
        source: which table of it.
        methods: the recipe words of each.
        pairs: what each pair adds to its rows, on every data set.
        data: what each data set adds, and the pairs that were scored on it.
    """

    model_config = ConfigDict(extra="forbid")

    paper: str
    source: str
    methods: dict[str, list[Word]]
    pairs: dict[str, _Layer]
    data: dict[str, _Data]

    def rows(self, table: str) -> Iterator[PublishedRow]:
        """The rows of the table.

        Args:
            table: its name, with which those of its rows begin.

        Yields:
            Each pair with each method, data set by data set.
        """
        for data, on_data in self.data.items():
            for pair, scores in on_data.pairs.items():
                for method in self.methods:
                    yield self._row(f"{table}/{data}/{pair}/{method}", on_data, self.pairs[pair], scores, method)

    def _row(self, name: str, data: _Data, pair: _Layer, scores: _Scores, method: str) -> PublishedRow:
        layers = (data, pair, scores)
        distils = method not in ("teacher", "student")
        schedule = [layer.schedule for layer in layers if layer.schedule][-1:]
        test = [layer.test for layer in layers if layer.test][-1:]
        test = [layer.tests[method] for layer in layers if method in layer.tests][-1:] or test
        entry = [layer.methods[method] for layer in layers if method in layer.methods][-1:] or [self.methods[method]]
        words: list[Word] = [*schedule, *(word for layer in layers for word in layer.words), *test, *entry[0]]
        words += [word for layer in layers for word in layer.only.get(method, [])]
        words = list({_word(word).partition("=")[0]: word for word in words}.values())  # the last one of a key
        pattern = scores.file.format(method=method) if scores.file and distils else None
        gflops, parameters = pair.cost.get("teacher" if method == "teacher" else "student", (None, None))
        file = scores.files.get(method, pattern)
        return PublishedRow(
            name=name,
            words=tuple(_word(word) for word in words),
            origins={key: origin for word in words if isinstance(word, dict) for key, origin in word.items()},
            evaluation=tuple(_word(word) for layer in layers for word in layer.evaluation),
            miou=scores.miou.get(method),
            macc=scores.macc.get(method),
            test_miou=scores.test_miou.get(method),
            gflops=gflops,
            parameters=parameters,
            paper=self.paper,
            source=self.source,
            file=file,
            where=data.where if file else None,
            backbones=pair.backbones,
            descriptions=tuple(description for layer in layers for description in layer.descriptions),
        )


@functools.cache
def published_rows() -> dict[str, PublishedRow]:
    """Every row of every table, by name, in the order of the tables."""
    tables = {name: Table(**content) for name, content in _files().items() if name != _MEASURED}
    return {row.name: row for name, table in tables.items() for row in table.rows(name)}


@functools.cache
def measured() -> dict[str, dict[str, Any]]:
    """What we measured of published rows ourselves, by the row's name: miou, macc, and how it was made."""
    return _files()[_MEASURED]


def _files() -> dict[str, dict[str, Any]]:
    folder = resources.files("segdistill.recipe") / "library" / FOLDER
    return {
        file.name.removesuffix(".yaml"): load_yaml(file.read_text(encoding="utf-8"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    }


def _word(word: Word) -> str:
    return word if isinstance(word, str) else next(iter(word))
