"""The one grammar of all verbs: names stand alone, values are `key=value`, switches are `--flag`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import typer
from pydantic import BaseModel
from typer.core import TyperCommand, TyperGroup

from segdistill.cli.completion import key_names
from segdistill.core.discovery import validated
from segdistill.core.errors import RecipeError
from segdistill.recipe.composition import key_values
from segdistill.runtime.interruption import Interrupted

K = TypeVar("K", bound=BaseModel)
F = TypeVar("F", bound=Callable[..., None])

_ALWAYS_FLAGS = {"help", "install-completion", "show-completion"}


class Verbs(TyperGroup):
    """The verbs, in the order of their registration, each with its whole first sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of verbs, wrapped and not cut.

        Args:
            ctx: Of the command line, which knows the verbs.
            formatter: Click's, which is written to.
        """
        verbs = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Verbs"):
            formatter.write_dl([(name, _first_sentence(verb.help or "")) for name, verb in verbs if verb is not None])


class Verb(TyperCommand):
    """A verb, whose help shows its keys and examples, and which answers the ways values were written before."""

    keys: str | None = None
    """`module:Class` of the settings that are its own keys, imported when they are needed; None if it has none."""

    examples: Sequence[str] = ()
    """Command lines that work."""

    def own_keys(self) -> dict[str, tuple[str, str]]:
        """Its own keys: name -> what it is, and its default."""
        if self.keys is None:
            return {}
        fields = settings_of(self.keys).model_fields.items()
        return {field.alias or name: (_one_line(field.description), default_of(field)) for name, field in fields}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words; `--key value` is answered with `key=value`, and `flag=true` with `--flag`.

        Args:
            ctx: Of this call, which gets the values.
            args: The words behind the verb.

        Returns:
            The words that nothing has taken.

        Raises:
            RecipeError: A value is written as a switch, or a switch or a name as a value.
        """
        options = [each for each in self.params if each.param_type_name == "option"]
        flags = {name.removeprefix("--") for each in options for name in each.opts} | _ALWAYS_FLAGS
        for place, word in enumerate(args):
            name, equals, value = word.removeprefix("--").partition("=")
            if equals or word.startswith("--"):
                self._refuse_name(name, word)
            if word.startswith("--") and name not in flags:
                self._answer(name, value if equals else "".join(args[place + 1 : place + 2]))
            if not word.startswith("-") and equals and name in flags:
                raise RecipeError(f"'{word}': {name} is a switch, written --{name}.")
        return super().parse_args(ctx, args)

    def _refuse_name(self, name: str, word: str) -> None:
        """Say that a name stands alone where `word` writes it as key=value or as an option."""
        for each in self._arguments():
            if each.name == name and each.nargs == 1 and name not in self.own_keys():
                usage = " ".join(map(_shown, self._arguments()))
                shown = (each.metavar or name).upper()
                raise RecipeError(f"'{word}': {shown} stands alone: segdistill {self.name} {usage}")

    def _arguments(self) -> list[Any]:
        """What stands alone behind the verb, in its order."""
        return [each for each in self.params if each.param_type_name == "argument"]

    def _answer(self, name: str, value: str) -> None:
        """Say how a value is written that came as an option."""
        if name == "set":
            raise RecipeError(f"Values are written as they are, without --set: {value or 'inference.flip=true'}")
        key = name.replace("-", "_")
        if key in self.own_keys() or key in key_names():
            shown = f"'{value}'" if re.search(r"[\s{}\[\]*]", value) else value or "VALUE"
            raise RecipeError(f"Values are written key=value: {key}={shown} in the place of --{name} {value}".rstrip())

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; Ctrl-C, which typer would leave by without a word, is answered.

        Args:
            ctx: Of this call.

        Returns:
            What the verb returns.

        Raises:
            Interrupted: By Ctrl-C, where the verb itself does not answer it.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("Stopped. Files that were not finished were not written.", 130) from None

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What stands behind the verb's name, as FOLDER [WORDS...] [--json].

        Args:
            ctx: Not asked.

        Returns:
            The names in their order, then the switches.
        """
        names = [_shown(each) for each in self._arguments()]
        flags = [f"[{each.opts[0]}]" for each in self.params if each.param_type_name == "option"]
        return [*names, *flags]

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write the usage; click writes none of a verb that stands alone.

        Args:
            ctx: Of this call.
            formatter: Click's, which is written to.
        """
        if self.collect_usage_pieces(ctx):
            super().format_usage(ctx, formatter)
        else:
            formatter.write(f"Usage: {ctx.command_path}\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the names and the switches, the verb's own keys and its examples.

        Args:
            ctx: Of this call, for the words of help.
            formatter: Click's, which is written to.
        """
        records = [(each, each.get_help_record(ctx)) for each in self.get_params(ctx)]
        for title, kind in (("Names", "argument"), ("Switches", "option")):
            rows = [
                (_shown(each) if kind == "argument" else record[0], record[1].removesuffix("[required]").strip())
                for each, record in records
                if record is not None and each.param_type_name == kind
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        self._write_values(formatter)

    def _write_values(self, formatter: Any) -> None:
        """Write the keys and the examples."""
        described = self.own_keys()
        if described:
            with formatter.section("Values"):
                rows = [(f"{name}=", _with_default(text, default)) for name, (text, default) in described.items()]
                formatter.write_dl(rows)
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {example}\n")


def register(app: typer.Typer, name: str, *, keys: str | None = None, examples: Sequence[str]) -> Callable[[F], F]:
    """Make a function a verb.

    Args:
        app: The command line.
        name: Of the verb.
        keys: `module:Class` of its own settings, whose descriptions are its help.
        examples: Command lines that work, each within 76 columns.

    Returns:
        A decorator.
    """
    cls = type("Verb", (Verb,), {"keys": keys, "examples": tuple(examples)})
    context = {"help_option_names": ["-h", "--help"]}
    return lambda function: app.command(name, cls=cls, context_settings=context)(function)


def split_words(settings: type[K], words: Iterable[str]) -> tuple[K, list[str]]:
    """The values of a verb's own keys, and the other words in their order.

    Args:
        settings: Describes the keys. A key of type text takes its value to the letter, others read it as YAML.
        words: As they were typed.

    Returns:
        The checked values; what is left are names and keys of the recipe.

    Raises:
        RecipeError: A value is wrong.
    """
    fields = {field.alias or name: field for name, field in settings.model_fields.items()}
    given: dict[str, Any] = {}
    rest = []
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in fields:
            rest.append(word)
        elif fields[key].annotation in (str, str | None):
            given[key] = text
        else:
            given.update(key_values([word]))
    return validated(settings, given), rest


def split_names(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names, as of files, and `key=value` words.

    Args:
        words: Without the verb's own keys.

    Returns:
        Both, in their order. The path of a file that exists is a name, whatever stands in it.
    """
    names: list[str] = []
    values: list[str] = []
    for word in words:
        (values if re.match(r"[A-Za-z_][\w.]*=", word) and not Path(word).exists() else names).append(word)
    return names, values


def settings_of(place: str) -> type[BaseModel]:
    """The class of settings that `module:Class` names.

    Args:
        place: As of `register`.
    """
    module, _, name = place.partition(":")
    settings: type[BaseModel] = getattr(import_module(module), name)
    return settings


def default_of(field: Any) -> str:
    """The default of a key as a command line has it.

    Args:
        field: pydantic's description of the key.

    Returns:
        The text; "" if the default is null, or text that is empty, or must be given. A list has commas and no brackets.
    """
    value = None if field.is_required() else field.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _shown(argument: Any) -> str:
    """An argument as usage has it: NAME, [NAME], NAME... or [NAME...]."""
    name = argument.metavar or argument.name.upper()
    name = f"{name}..." if argument.nargs == -1 else name
    return name if argument.required else f"[{name}]"


def _with_default(text: str, default: str) -> str:
    return f"{text} Default: {default}." if default else text


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _first_sentence(text: str) -> str:
    return _one_line(text.partition("\n\n")[0])
