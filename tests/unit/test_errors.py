"""The tree of errors: the drawing on top of the module is the truth."""

from __future__ import annotations

import inspect
import re

import pytest

from finetuned import errors

CLASSES = {
    name: thing
    for name, thing in vars(errors).items()
    if inspect.isclass(thing) and issubclass(thing, errors.FinetunedError)
}
EXIT_CODES = {
    "ConfigurationError": 78, "UsageError": 2, "Held": 75, "Unreachable": 69, "NotTheServer": 69, "Busy": 69,
    "KeyRefused": 77, "ReplyLost": 69,
    "CutShort": 69,
}  # fmt: skip
#: what some errors have to be told besides
MORE = {
    "Busy": {"after": 3.0}, "CutShort": {"session_id": "s", "before": "t"}, "TooLarge": {"size": 9},
    "KnownRefusal": {"kind": errors.Refusal.ACTIVE},
}  # fmt: skip


def drawn():
    """The tree as it is drawn: name -> (parent, exit code or null)."""
    tree, path = {}, ["FinetunedError"]
    for line in errors.__doc__.splitlines():
        match = re.fullmatch(r" {4}((?:[|] {3}| {4})*)[+]-- (\w+) .*?(?:exit (\d+))?", line)
        if match:
            depth = len(match[1]) // 4 + 1
            path = [*path[:depth], match[2]]
            tree[match[2]] = (path[-2], int(match[3]) if match[3] else None)
    return tree


def test_the_drawing_names_every_class_and_no_other():
    """Who adds an error draws it."""
    assert set(drawn()) | {"FinetunedError"} == set(CLASSES)


def test_the_drawing_shows_the_bases():
    """The branches of the drawing are the bases of the classes."""
    for name, (parent, _) in drawn().items():
        assert CLASSES[name].__bases__ == (CLASSES[parent],)


def test_the_drawing_shows_the_exit_codes():
    """An exit code that is drawn is the one that the door ends with."""
    assert {name: code for name, (_, code) in drawn().items() if code} == {
        name: CLASSES[name].exit_code for name, (_, code) in drawn().items() if code
    }


def test_exit_codes_are_the_promised_ones():
    """Scripts rely on the numbers; what is not named ends with 1."""
    assert {name: cls.exit_code for name, cls in CLASSES.items()} == {name: EXIT_CODES.get(name, 1) for name in CLASSES}


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_an_error_is_its_sentence_and_its_remedy(name):
    """Every error says what went wrong, and what to do about it."""
    error = CLASSES[name]("it broke", remedy="mend it", **MORE.get(name, {}))
    assert (str(error), error.remedy) == ("it broke", "mend it")
    assert CLASSES[name].__doc__


def test_some_errors_know_more():
    """A configuration's mistakes come one by one; a busy server says when to come back."""
    assert errors.ConfigurationError("off", problems=("a", "b")).problems == ("a", "b")
    assert errors.ConfigurationError("off").problems == ()
    assert errors.Busy("later", after=2.5).after == 2.5


def test_an_error_with_its_remedy_is_one_line():
    """What is written into one line ends with what to do, if that is known, and with no empty rest if not."""
    assert errors.Away("it is gone", remedy="mount it").with_remedy() == "it is gone; mount it"
    assert errors.Away("it is gone").with_remedy() == "it is gone"
