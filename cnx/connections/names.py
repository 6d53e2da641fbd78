"""Check the names that a subclass of a connection defines.

cnx calls the methods and properties that are marked :func:`extension_point`; a subclass overrides them. Those that are
marked ``@final`` belong to cnx: other parts of the library rely on them, so a subclass must not override them. All
other names are free for the subclass, also private ones, except ``_cnx``. The page on subclassing in the documentation
is made from the same marks.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

__all__ = ["check_names", "extension_point", "is_extension_point", "is_final", "refuse_unknown", "setting"]

Function = TypeVar("Function", bound=Callable[..., Any])

_LARGEST_DISTANCE = 2
"""Characters that a misspelt name may be away from the name that was meant."""


def extension_point(function: Function) -> Function:
    """Mark a method as one that cnx calls and that a subclass may override."""
    function.__extension_point__ = True  # type: ignore[attr-defined]  # functions take any attribute
    return function


def setting(function: Function) -> Function:
    """Mark the getter of a property that is set in the constructor; it belongs to cnx, as with ``@final``."""
    function.__final__ = True  # type: ignore[attr-defined]  # mypy has no @final for properties that can be set
    return function


def is_extension_point(member: object) -> bool:
    """Return whether cnx calls ``member``, a method or property as it stands in a class, for a subclass to override."""
    return getattr(_function_of(member), "__extension_point__", False)


def is_final(member: object) -> bool:
    """Return whether ``member``, a method or property as it stands in a class, must not be overridden."""
    return getattr(_function_of(member), "__final__", False)


def check_names(cls: type) -> None:
    """Check the names that a new subclass defines.

    Raises:
        TypeError: it overrides a name that belongs to cnx.

    Warns:
        UserWarning: it hides the signals of its base class, or has a method that looks like a misspelt extension point.
    """
    for name, member in vars(cls).items():
        owner = next((base for base in cls.__mro__[1:] if name in vars(base)), None)
        if name == "_cnx":
            raise TypeError(f"{cls.__qualname__}: the attribute _cnx is reserved for cnx; choose another name")
        if owner is not None and is_final(vars(owner)[name]):
            raise TypeError(
                f"{cls.__qualname__}.{name} would override {owner.__qualname__}.{name}; {_advice(cls, name)}"
            )
        if name == "Signals" and owner is not None:
            _warn(
                f"{cls.__qualname__}.Signals hides {owner.__qualname__}.Signals, so self.Signals.CONNECTED is gone; "
                f"choose another name, such as {cls.__name__}Signals"
            )
        if owner is None and inspect.isfunction(member) and not name.startswith("_"):
            methods = [
                point for point in extension_points(cls) if inspect.isfunction(inspect.getattr_static(cls, point))
            ]
            meant = next((point for point in methods if _is_near(name, point)), None)
            if meant is not None:
                _warn(f"nothing calls {cls.__qualname__}.{name}; did you mean the extension point {meant}?")


def extension_points(cls: type) -> list[str]:
    """Return the names of the methods and properties of ``cls`` that cnx calls and a subclass may override, sorted."""
    marked = {name for base in cls.__mro__ for name, member in vars(base).items() if is_extension_point(member)}
    return sorted(name for name in marked if not is_final(inspect.getattr_static(cls, name)))


def refuse_unknown(cls: type, unknown: Iterable[str]) -> None:
    """Raise TypeError for keyword arguments that no constructor of ``cls`` takes; it lists those that exist."""
    names = sorted(unknown)
    if names:
        known = _settings_of(cls)
        meant = next((name for name in known if _is_near(names[0], name)), None)
        hint = f" (did you mean {meant}?)" if meant else ""
        raise TypeError(f"{cls.__name__} has no setting {', '.join(names)}{hint}; it has {', '.join(known)}")


def _settings_of(cls: type) -> list[str]:
    """Return the arguments of the constructor of ``cls``, and the keywords that it passes on to its base classes."""
    found: dict[str, None] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        # What a base class takes by position, too, is for the constructor of its subclass to pass.
        kinds = {inspect.Parameter.KEYWORD_ONLY} | (set() if found else {inspect.Parameter.POSITIONAL_OR_KEYWORD})
        found.update(dict.fromkeys(parameter.name for parameter in parameters if parameter.kind in kinds))
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break
    return list(found)


def _function_of(member: object) -> object:
    """Return the function behind a property, static method or class method, which carries the marks."""
    return member.fget if isinstance(member, property) else getattr(member, "__func__", member)


def _advice(cls: type, name: str) -> str:
    constructors = [vars(base)["__init__"] for base in cls.__mro__[1:-1] if "__init__" in vars(base)]
    if any(name in inspect.signature(constructor).parameters for constructor in constructors):
        return f"pass {name}= to super().__init__() to set it, or choose another name"
    return f"choose another name, or override an extension point: {', '.join(extension_points(cls))}"


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=4)  # the class statement of the subclass


def _is_near(name: str, wanted: str) -> bool:
    """Return whether a few edits make ``wanted`` of ``name``, which is a different name."""
    if abs(len(name) - len(wanted)) > _LARGEST_DISTANCE:
        return False
    row = list(range(len(wanted) + 1))  # edits that make the first characters of wanted of those of name so far
    for count, character in enumerate(name, 1):
        before, row[0] = row[0], count
        for index, other in enumerate(wanted, 1):
            before, row[index] = row[index], min(before + (character != other), row[index] + 1, row[index - 1] + 1)
    return 0 < row[-1] <= _LARGEST_DISTANCE
