"""A command is a function: its docstring is its help, and what is noted beside the types of its parameters its line."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import os
import typing
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType

Command = Callable[..., None]
"""Its parameters are `Annotated[type, Argument(…)]`, `Annotated[type, Option(…)]`, or a dataclass of such options."""


@dataclass(frozen=True, slots=True)
class Argument:
    """A word that is told by its place; it may be left out where the parameter has a default."""

    help: str


@dataclass(frozen=True, slots=True)
class Option:
    """A word that is told by its name. `envvar` is an environment variable that counts where it is not given.

    The type says the rest: bool takes no value (and `--no-…` if its default is True), a list may be given again, and
    of a Literal one must be chosen.
    """

    name: str
    help: str
    metavar: str = "TEXT"
    envvar: str = ""


def declare(command: Command, parser: argparse.ArgumentParser) -> None:
    """Have `parser` take what `command` takes. Parsing leaves the command, as `command`, beside its values."""
    groups: list[tuple[str, type]] = []
    hints = typing.get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        if dataclasses.is_dataclass(hints[name]):
            groups.append((name, hints[name]))
            continue
        kind, note = typing.get_args(hints[name])[:2]
        if isinstance(note, Argument):
            _declare_argument(parser, name, kind, note, parameter.default)
        else:
            _declare_option(parser, name, kind, note, parameter.default)
    for _, group in groups:  # after what is the command's own
        _declare_group(parser, group)
    parser.set_defaults(command=command, groups=groups)


def _declare_group(parser: argparse.ArgumentParser, group: type) -> None:
    hints = typing.get_type_hints(group, include_extras=True)
    for name, parameter in inspect.signature(group).parameters.items():
        kind, note = typing.get_args(hints[name])[:2]
        _declare_option(parser, name, kind, note, parameter.default)


def run(parsed: argparse.Namespace) -> None:
    """Call the command that was parsed with what was given."""
    values = vars(parsed)
    command: Command = values.pop("command")
    for name, group in values.pop("groups", ()):
        values[name] = group(**{one: values[one] for one in inspect.signature(group).parameters})
    command(**{name: value for name, value in values.items() if name in inspect.signature(command).parameters})


def first_line(command: object) -> str:
    """What it is for, in a sentence."""
    return (inspect.getdoc(command) or "").partition("\n")[0]


def _declare_argument(
    parser: argparse.ArgumentParser, name: str, kind: typing.Any, argument: Argument, default: object
) -> None:
    given: dict[str, typing.Any] = {}
    if default is not inspect.Parameter.empty:
        given = {"nargs": "?", "default": default}
    help_text = _escaped(argument.help)
    parser.add_argument(name, metavar=name.upper(), type=_converter(kind), help=help_text, **given)


def _declare_option(
    parser: argparse.ArgumentParser, name: str, kind: typing.Any, option: Option, default: object
) -> None:
    help_text = _escaped(option.help)
    if kind is bool:
        action = argparse.BooleanOptionalAction if default else "store_true"
        parser.add_argument(option.name, dest=name, action=action, default=default, help=help_text)
        return
    if default:
        help_text += f" [default: {default}]"
    choices = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else None
    given = os.environ.get(option.envvar, "") if option.envvar else ""
    parser.add_argument(
        option.name,
        dest=name,
        metavar=None if choices else option.metavar,  # else argparse shows what can be chosen
        type=str if choices else _converter(kind),
        choices=choices,
        action="append" if _is_list(kind) else "store",
        default=given or default,  # a text: the parser converts it as if it had been typed
        help=help_text,
    )


def _converter(kind: typing.Any) -> Callable[[str], object]:
    """The type that one word becomes: that within `X | None` and `list[X]`."""
    inner = [one for one in typing.get_args(kind) if one is not NoneType]
    if inner:
        return _converter(inner[0])
    converter: Callable[[str], object] = kind
    return converter


def _is_list(kind: typing.Any) -> bool:
    return any(typing.get_origin(one) is list for one in (kind, *typing.get_args(kind)))


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
