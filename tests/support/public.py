"""What the page `interface` lists, held against JSON that was printed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from finetuned.cli.objects import JOB, OBJECTS

TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TYPES: Final = {"number": (int, float), "flag": bool, "list": list, "object": dict}


def wrong(found: Mapping[str, Any], title: str) -> dict[str, object]:
    """What an object has that the page does not list, what it lacks, and what is of another kind."""
    keys = OBJECTS[title][1] if title != "whole job" else JOB | OBJECTS[title][1]
    odd = {name: value for name, value in found.items() if name not in keys or not fits(value, keys[name][0])}
    return odd | {name: "missing" for name, (kind, _) in keys.items() if name not in found and not kind.endswith("*")}


def fits(value: object, kind: str) -> bool:
    """Whether a value is of a kind of the page."""
    if value is None:
        return kind.endswith("?")
    name = kind.rstrip("?*")
    if name in TYPES:
        return isinstance(value, TYPES[name]) and isinstance(value, bool) == (name == "flag")
    if name == "time":
        return isinstance(value, str) and bool(TIME.fullmatch(value))
    return isinstance(value, str) and (name == "text" or value.startswith("/"))
