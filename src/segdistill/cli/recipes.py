"""The verbs about what can stand in a recipe: list, recipe, explain, schema."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from segdistill.cli.completion import complete_name, complete_word
from segdistill.cli.grammar import register
from segdistill.cli.terminal import AsJson, print_json, print_result, results

WholeRecipe = Annotated[
    list[str],
    typer.Argument(
        metavar="WORDS",
        help="Fragments, data sets, methods, published rows, .yaml files and key=value, left to right. Where a name is "
        "several things: data:NAME, method:NAME, network:NAME, preset:NAME.",
        autocompletion=complete_word,
    ),
]


def add_verbs(app: typer.Typer) -> None:
    """Add these verbs to the command line.

    Args:
        app: Gets them in the order that its help has.
    """
    shown = ("segdistill recipe camvid mobile_pair kd steps=2000", "segdistill recipe streets tiny_pair --all")
    register(app, "recipe", examples=shown)(recipe_command)
    explained = (
        "segdistill explain optimizer.lr",
        "segdistill explain method.kd.temperature",
        "segdistill explain bpkd",
    )
    register(app, "explain", examples=explained)(explain_command)
    register(app, "list", examples=("segdistill list", "segdistill list methods"))(list_command)
    register(app, "schema", examples=("segdistill schema > recipe.schema.json",))(schema_command)


def recipe_command(
    parts: WholeRecipe,
    show_all: Annotated[bool, typer.Option("--all", help="Keys that have their default, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what each word of a recipe is, what they make together, and what set each key."""
    from segdistill.cli.tables.recipe import recipe_lines
    from segdistill.commands.recipe import recipe

    done = recipe(*parts)
    print_result(done.as_dict(), as_json, *recipe_lines(done, show_all=show_all))
    if done.problems:
        raise typer.Exit(1)


def explain_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A key, as optimizer.lr or lr, or a method, data set, network, fragment or row.",
            autocompletion=complete_name,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a key is, its type, bounds and default; or what a method, data set, network or fragment is."""
    from segdistill.cli.tables.recipe import explanation_table
    from segdistill.commands.explain import explain

    explanations = explain(name)
    print_result([each.as_dict() for each in explanations], as_json, *map(explanation_table, explanations))


def list_command(
    what: Annotated[
        str | None, typer.Argument(metavar="WHAT", help="networks, heads, methods, datasets, recipes or published.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a recipe can name."""
    from segdistill.cli.tables.published import long_table, published_tables
    from segdistill.commands.listing import available
    from segdistill.recipe.published_rows import published_rows

    chosen = available(what)
    if as_json:
        print_json(chosen)
        return
    for kind, entries in chosen.items():
        if kind == "published":
            rows = published_rows().values()
            for table in [long_table(rows)] if what == kind else published_tables(rows):
                results.print(table)
            continue
        results.print(_named_lines(kind, entries))


def schema_command() -> None:
    """Print the JSON schema of recipe files, for editors that complete and check them."""
    from segdistill.commands.schema import schema

    print_json(schema())


def _named_lines(title: str, entries: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    for name, text in entries.items():
        table.add_row(f"[bold]{name}[/bold]", text)
    return table
