"""Registries: names are known without importing anything; objects are loaded when asked for.

Built-ins come through the same entry points as third-party plug-ins; ``register`` adds to the running process.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from .activation import Activation
from .errors import BrokenPluginError, InputError, MeanFieldError, UnknownNameError
from .loss import Loss
from .validate import SHOWN, shown

T = TypeVar("T")


class Registry(Generic[T]):
    """Named objects of one kind, from entry points and from ``register``.

    ``special`` is a second entry-point group for objects that serve one narrow class of uses: they are found by name
    like the others, but listed only on request.
    """

    def __init__(self, group: str, kind: str, check: Callable[[Any], bool], special: str | None = None) -> None:
        self.group, self.kind, self._check, self.special = group, kind, check, special
        self._local: dict[str, T] = {}

    @cached_property
    def _listed(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=self.group)}

    @cached_property
    def _entries(self) -> dict[str, EntryPoint]:
        extra = entry_points(group=self.special) if self.special else ()
        return {**{entry.name: entry for entry in extra}, **self._listed}

    def names(self, *, special: bool = False) -> list[str]:
        """All registered names, sorted (with ``special`` also the special ones); imports nothing."""
        found = {*self._entries, *self._local}
        return sorted(found if special else found - (set(self._entries) - set(self._listed)))

    def builtin(self, name: str) -> bool:
        """Whether the name comes from this package's own entry points (and not from a plug-in or ``register``)."""
        entry = self._entries.get(name)
        return entry is not None and entry.value.split(".")[0].startswith("meanfield_")

    def register(self, name: str, item: T) -> None:
        """Add ``item`` under ``name`` for this process; a name that is taken is refused."""
        if not isinstance(name, str) or not name:
            raise InputError(f"the name of a {self.kind} must be a text, not {shown(name)}.")
        if name in self.names(special=True):
            raise InputError(f"a {self.kind} named {name!r} is registered already; choose another name.")
        if not self._check(item):
            raise InputError(f"{shown(item)} does not implement the extension point of a {self.kind}.")
        self._local[name] = item

    def get(self, name: str) -> T:
        """The object of that name; UnknownNameError with near names, BrokenPluginError if it does not load."""
        if not isinstance(name, str):
            raise UnknownNameError(f"the {self.kind} must be given by its name, a text, not {shown(name)}.")
        if name in self._local:
            return self._local[name]
        if name not in self._entries:
            near = difflib.get_close_matches(name[:SHOWN], self.names(special=True), n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else f" Known: {', '.join(self.names())}."
            raise UnknownNameError(f"there is no {self.kind} named {shown(name)}.{hint}")
        entry = self._entries[name]
        try:
            item = entry.load()
        except MeanFieldError:
            raise
        except Exception as error:
            raise BrokenPluginError(f"the {self.kind} {name!r} ({entry.value}) cannot be loaded: {error}") from error
        if not self._check(item):
            raise BrokenPluginError(f"the {self.kind} {name!r} ({entry.value}) does not implement its extension point.")
        self._local[name] = item
        return self._local[name]


def _subclass(base: type) -> Callable[[Any], bool]:
    return lambda item: isinstance(item, type) and issubclass(item, base)


ACTIVATIONS: Registry[type[Activation]] = Registry("meanfield_opt.activations", "activation", _subclass(Activation))
LOSSES: Registry[type[Loss]] = Registry("meanfield_opt.losses", "loss", _subclass(Loss))
FAMILIES: Registry[Callable[..., Any]] = Registry("meanfield_opt.problems", "problem family", callable)


def activation(spec: str | Activation, **parameters: Any) -> Activation:
    """An activation by name (with its parameters), or ``spec`` itself if it is one already."""
    if isinstance(spec, Activation):
        return spec
    return _build(ACTIVATIONS, spec, parameters)


def loss(spec: str | Loss, **parameters: Any) -> Loss:
    """A loss by name (with its parameters), or ``spec`` itself if it is one already."""
    if isinstance(spec, Loss):
        return spec
    return _build(LOSSES, spec, parameters)


def _build(registry: Registry[type[T]], name: str, parameters: dict[str, Any]) -> T:
    cls = registry.get(name)
    try:
        return cls(**parameters)
    except TypeError as error:
        raise InputError(f"the {registry.kind} {name!r} does not take these parameters: {error}") from error


def register_activation(name: str, cls: type[Activation]) -> None:
    """Make a user's activation class known by name in this process."""
    ACTIVATIONS.register(name, cls)


def register_loss(name: str, cls: type[Loss]) -> None:
    """Make a user's loss class known by name in this process."""
    LOSSES.register(name, cls)
