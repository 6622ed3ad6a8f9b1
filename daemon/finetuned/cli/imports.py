"""How Click is loaded: most of what a short command does is to load libraries."""

from __future__ import annotations

import sys
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any


class _StandIn(ModuleType):
    """Stands in the place of a module of Python's own, which is loaded once something else of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        """Return what the module has; it is loaded for that."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


class _Inspect(_StandIn):
    """What Click asks `inspect` for, of nearly all that it is told."""

    def __init__(self) -> None:
        super().__init__("inspect")

    def cleandoc(self, doc: str) -> str:
        """Take the indentation away."""
        return self.__getattr__("cleandoc")(doc) if "\n" in doc else doc.strip()

    def isfunction(self, value: object) -> bool:
        """Tell whether it is a function of Python."""
        return isinstance(value, FunctionType)


class _UUID(_StandIn):
    """What Click needs of `uuid`, for a kind of option that we have not."""

    class UUID:
        """Stands for the type."""

    def __init__(self) -> None:
        super().__init__("uuid")


def load_click() -> None:
    """Load Click without what it hardly uses: Python's parser, and what asks for the machine, a fifth of a command."""
    stand_ins = [one for one in (_Inspect(), _UUID()) if one.__name__ not in sys.modules]
    sys.modules.update({one.__name__: one for one in stand_ins})
    try:
        import_module("click")
    finally:
        for one in stand_ins:
            if sys.modules.get(one.__name__) is one:
                del sys.modules[one.__name__]
