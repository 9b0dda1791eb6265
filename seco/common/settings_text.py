"""Settings as text, for command lines: ``name=value`` in, a list of all of them out."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Settings = TypeVar("Settings", bound=Any)


@dataclass(frozen=True)
class _Field:
    """A field of settings, or of settings that these hold as their field ``part``."""

    owner: type
    part: str | None
    name: str
    kind: Any

    def read(self, settings: object) -> Any:
        return getattr(_part(settings, self), self.name)

    @property
    def expected(self) -> str:
        kind, optional = _without_none(self.kind)
        return _expected(kind) + (" or none" if optional else "")

    def parse(self, text: str) -> Any:
        kind, optional = _without_none(self.kind)
        if optional and text.lower() == "none":
            return None
        try:
            if get_origin(kind) is Literal:
                return {str(choice): choice for choice in get_args(kind)}[text]
            if get_origin(kind) is tuple:
                return tuple(float(part) for part in text.split(","))
            if kind is bool:
                return {"true": True, "false": False}[text.lower()]
            return kind(text)
        except (KeyError, ValueError):
            raise ValueError(f"{self.name}: expected {self.expected}, got {text!r}") from None


def change_settings(settings: Settings, assignments: Sequence[str]) -> Settings:
    """Return settings with some fields changed.

    Args:
        settings: a dataclass to start from.
        assignments: ``name=value`` each, with the name of a field of the settings' class, or of
            a dataclass that is one of its fields.

    Raises:
        ValueError: no ``name=value``, an unknown name, one given twice, or a value that the
            field does not take.

    Example:
        >>> @dataclass(frozen=True)
        ... class Own:
        ...     side: int = 8
        ...     share: float | None = None
        >>> change_settings(Own(), ["side=16", "share=0.5"])
        Own(side=16, share=0.5)
        >>> change_settings(Own(), ["side=big"])
        Traceback (most recent call last):
            ...
        ValueError: side: expected an integer, got 'big'
    """
    known = {field.name: field for field in _fields(type(settings))}
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name, text = name.strip(), text.strip()
        if not equals:
            raise ValueError(f"settings: expected name=value, got {assignment!r}")
        if name not in known:
            raise ValueError(f"settings: expected one of {', '.join(known)}, got {name!r}")
        if name in values:
            raise ValueError(f"settings: expected every name once, got {name!r} twice")
        values[name] = known[name].parse(text)
    own: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        part = known[name].part
        (own if part is None else parts.setdefault(part, {}))[name] = value
    for part, changed in parts.items():
        field = next(known[name] for name in changed)
        own[part] = replace(_part(settings, field), **changed)
    return replace(settings, **own)


def list_settings(
    default: Settings, paper: Settings | None = None, without: Collection[str] = ()
) -> str:
    """Return a page on every field: its default, the paper's value where it differs, its meaning.

    Args:
        default: settings that nothing is changed in.
        paper: what ``--paper`` starts from, if there is that option.
        without: names of fields that the command does not take.

    Example:
        >>> @dataclass(frozen=True)
        ... class Own:
        ...     '''Settings.
        ...
        ...     Args:
        ...         side: of a square.
        ...     '''
        ...     side: int = 8
        >>> print(list_settings(Own(), Own(side=4)))
        side = 8  (--paper: 4)
            expected: an integer
            of a square.
    """
    lines = []
    for field in _fields(type(default)):
        if field.name in without:
            continue
        own = field.read(default)
        other = own if paper is None else field.read(paper)
        lines.append(f"{field.name} = {own}" + (f"  (--paper: {other})" if other != own else ""))
        lines.append(f"    expected: {field.expected}")
        meaning = _meanings(field.owner).get(field.name, "")
        lines += textwrap.wrap(meaning, 96, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def _expected(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return "numbers with commas between them"
    return {int: "an integer", float: "a number", bool: "true or false"}[kind]


def _without_none(kind: Any) -> tuple[Any, bool]:
    """The kind of value that a field holds, and whether it may be ``None``."""
    kinds = [part for part in get_args(kind) if part is not NoneType]
    optional = NoneType in get_args(kind)
    return (kinds[0], True) if optional and len(kinds) == 1 else (kind, False)


def _part(settings: Any, field: _Field) -> Any:
    """The settings, or those within them, that a field is of."""
    if field.part is None:
        return settings
    held = getattr(settings, field.part)
    return field.owner() if held is None else held


def _fields(kind: type, part: str | None = None) -> Iterator[_Field]:
    """A class's fields; in the place of one that holds settings there are theirs, at the end."""
    kinds = get_type_hints(kind)
    held = []
    for field in fields(kind):
        inner, _ = _without_none(kinds[field.name])
        if is_dataclass(inner) and isinstance(inner, type):
            held.append((inner, field.name))
        else:
            yield _Field(kind, part, field.name, kinds[field.name])
    for inner, name in held:
        yield from _fields(inner, name)


def _meanings(owner: type) -> dict[str, str]:
    """What the docstring says about each argument, so that it is said in one place only."""
    entries = re.findall(r"^    (\w+): ((?:.|\n {8})+)", inspect.getdoc(owner) or "", re.MULTILINE)
    return {name: " ".join(text.replace("``", "").split()) for name, text in entries}
