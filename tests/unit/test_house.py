"""The house rules, as tests: what a reviewer would otherwise have to look for."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

from finetuned.helix import wire

ROOT = Path(__file__).parents[2]
TOP = {"pyproject.toml", "daemon", "config", "tests", "systemd", "README.md", "LICENSE", "findings"}
#: what tools leave behind where there is no git to say that it is not ours
LEFT_BEHIND = {"build", "dist"}
FORBIDDEN_ROOMS = {"utils", "util", "common", "helpers", "helper", "base", "misc"}
#: rings whose tests watch real processes in real time
REAL_TIME = {"bench", "crash", "transports"}
#: tests that may be skipped: `tests/RING/FILE.py::name` -> the reason; reviewed, and empty if all goes well
SKIPS: dict[str, str] = {
    "tests/support/box.py::__init__": "a systemd of one's own needs root, systemd and namespaces",
    "tests/support/box.py::little_memory": "the kernel's limit of memory is set by control groups of version 1 here",
    "tests/service/test_systemd_upgrade.py::install_release": "a shallow clone lacks the release in its history",
    "tests/support/disks.py::_own_mounts": "a disk that fills up, or loses its power, can be made by root alone",
    "tests/support/prometheus.py::program": "Prometheus is a program of its own, and `.ci/run` brings it",
    "tests/support/chromium.py::browser": "Chromium is not on every machine; the pages' HTML is tested without it",
    "tests/support/slurm.py::__init__": "Slurm is three daemons of its own, and `.ci/run` brings them where it is root",
    "tests/support/people.py::only_root": "several users share a folder: only root can act for more than one",
    "tests/support/disks.py::limited": "limits of one's own need a user namespace, which some containers forbid",
    "tests/support/disks.py::in_a_process": "a file system in a process is bindfs, and `.ci/run` installs it",
}
#: what tests may exchange of ours: the attribute, or a file of tests -> the reason
EXCHANGED: dict[str, str] = {
    "finetuned.cli.canary.SLACK": "how long a command waits for a daemon is real time",
    "finetuned.cli.machine_checks.LONG_LOG": "a log so long takes long to write",
    "finetuned.cli.doctor.AUDIT_LOOKS_EVERY": "a ledger whose audit takes so long takes minutes to make",
    "finetuned.cli.doctor.AUDIT_WITHIN": "a ledger whose audit takes so long takes minutes to make",
    "finetuned.cli.doctor.SLOW": "how long a command waits for a server is real time",
    "finetuned.cli.export_options.SHARD_ROWS": "so many pairs take long to make",
    "finetuned.ledger.opening.BUSY_MS": "how long a command waits for a lock is real time",
    "finetuned.ledger.queries.connection.FEW": "so many files take long to list in every combination of filters",
    "finetuned.ledger.queries.exports.ORIGINS": "so many files take long to make",
    "finetuned.ledger.queries.exports.AT_ONCE": "so many pairs take long to make",
    "finetuned.cli.export_parts.ROWS_AT_ONCE": "so many pairs take long to make",
    "finetuned.cli.folder_checks.EVENTS_WITHIN": "how long a command waits for an event is real time",
    "finetuned.cli.arguments.MOST_NAMED": "each id that is named is a job that was learned",
    "finetuned.cli.requests.ANSWER_WITHIN": "how long a command waits for a daemon is real time",
    "finetuned.cli.review.AT_ONCE": "an editor that ends at once, and one that a person uses, differ in real time",
    "finetuned.folders.archive.numbered": "a hundred thousand files of one name take longer than all other tests",
    "finetuned.folders.libc.call": "the door to the kernel: what it says instead, and when a process dies",
    "finetuned.folders.proc.watches_in_use": "the limits of inotify are the machine's",
    "finetuned.helix.client.new_http": "doctor asks the stand-in server in this process, instead of a socket",
    "finetuned.ledger.files.WINDOW": "so many files of one folder would not wait: they are a job",
    "finetuned.folders.tree.mount_of": "no machine has each kind of file system",
    "finetuned.helix.client.ANSWER_WITHIN_SECONDS": "a real socket is on no virtual time",
    "finetuned.helix.client.FIRST_SECONDS": "a real socket is on no virtual time",
    "finetuned.helix.client.SLOWEST_PACE": "a real socket is on no virtual time",
    "finetuned.runtime.SystemRuntime": "a daemon in a process of its own whose day is a minute",
    "tests/support/defects.py": "defects that the tests of crashes must find",
}


@cache
def files():
    """The checkout's files: what git knows or would add, else what lies there."""
    asked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    ) if (ROOT / ".git").exists() else None  # fmt: skip
    if asked is not None and asked.returncode == 0:
        names = {os.fsdecode(name) for name in asked.stdout.split(b"\0") if name}
        return sorted(name for name in names if (ROOT / name).exists())
    return sorted(
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*")
        if path.is_file() and path.relative_to(ROOT).parts[0] not in LEFT_BEHIND and "__pycache__" not in path.parts
    )


def modules(top):
    """The Python files below a folder."""
    return [name for name in files() if name.startswith(f"{top}/") and name.endswith(".py")]


@cache
def tree(name):
    """A module as its syntax."""
    return ast.parse((ROOT / name).read_bytes(), name)


@cache
def nodes(name):
    """Every part of a module's syntax."""
    return list(ast.walk(tree(name)))


def functions(name):
    """The functions of a module, those inside others too."""
    return [n for n in nodes(name) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def dotted(node):
    """The name that an expression spells, such as `pytest.mark.skip`; empty if it is none."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def swallows_all(handler):
    """Whether an `except` takes everything and may keep it; who tidies up and raises again keeps nothing."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {dotted(kind).rpartition(".")[2] for kind in kinds if kind}
    if handler.type is not None and not names & {"Exception", "BaseException"}:
        return False
    end = handler.body[-1]
    leaves = any(
        isinstance(node, ast.Return | ast.Break | ast.Continue) for part in handler.body for node in ast.walk(part)
    )
    return leaves or not (isinstance(end, ast.Raise) and end.exc is None)


def test_the_top_of_the_checkout_is_small():
    """Whoever opens it sees what there is, and nothing else."""
    top = {name.partition("/")[0] for name in files()}
    assert {name for name in top if not name.startswith(".")} == TOP


def test_no_module_is_long():
    """A module has one job; one of over 600 lines has two."""
    lengths = {name: len((ROOT / name).read_text("utf-8").splitlines()) for name in modules("daemon")}
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > 600} == {}


def test_no_function_is_long():
    """A function that is over 40 lines is two functions."""
    assert [
        f"{name}:{function.lineno} {function.name}"
        for name in modules("daemon")
        for function in functions(name)
        if function.end_lineno - function.lineno + 1 > 40
    ] == []


def test_every_room_has_its_place():
    """A room that a contract about the sandbox, or the table for people who join, forgets is behind no wall."""
    there = {Path(name).parts[2].removesuffix(".py") for name in modules("daemon")}
    rooms = there - {"__init__", "__main__"}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    walled = {contract["name"]: contract for contract in contracts}
    kept_out = walled["The sandbox shares nothing with the client"]["forbidden_modules"]
    kept_off = walled["Only the sandbox's own door starts the sandbox"]["source_modules"]
    assert {name.removeprefix("finetuned.") for name in kept_out} == rooms - {"sandbox"}
    assert {name.removeprefix("finetuned.") for name in kept_off} == rooms - {"sandbox", "cli"}
    table = (ROOT / ".github" / "CONTRIBUTING.md").read_text().partition("| layer |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z]+)`", table)) == rooms


def imported(name):
    """The modules that a module imports, wherever it does, as dotted names; `from a import b` is `a.b`."""
    for node in nodes(name):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_fast_ring_tests_the_core_alone():
    """What needs an adapter needs files, sockets or processes, and has a ring of its own."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (core,) = (set(contract["source_modules"]) for contract in contracts if contract["name"].startswith("The core"))
    outside = {"anyio", "httpx", "multiprocessing", "socket", "sqlite3", "support", "threading"}
    assert [
        f"{name}: {what}"
        for name in modules("tests/unit")
        for what in imported(name)
        if what.partition(".")[0] in outside
        or (what.startswith("finetuned") and not any(f"{what}.".startswith(f"{room}.") for room in core))
    ] == []


def test_the_stand_in_server_is_used_by_its_surface():
    """It is a program of its own: who looks inside is hurt by every change of it."""
    inside = "finetuned.sandbox."
    surface = {what.rpartition(".")[2] for what in imported("daemon/finetuned/sandbox/__init__.py")}
    assert [
        f"{name}: {what}"
        for name in modules("daemon") + modules("tests")
        if not name.startswith(("daemon/finetuned/sandbox/", "tests/sandbox/"))
        for what in imported(name)
        if what.startswith(inside) and what.removeprefix(inside) not in surface | {"__main__.main"}
    ] == []


#: words that we share with the server, or that people and scripts may rely on
PUBLIC = {
    "session_id": "a session is our own noun too: a key of jobs, pairs and the ledger",
    "qa_pairs": "a table of the ledger that other programs read",
    "lora_dir": "a key of jobs and sessions, and a column of the ledger",
    "content_type": "everybody's word for what is sent over HTTP",
    "/": "a path",
}
#: word of the server's -> the rooms where it may stand: it names a table of the configuration, or a key of `status`, or
#: it is a trainer's word, too
TOLD = {
    "helix": {"cli", "settings"},
    "/api/v1": {"settings"},
    "form dialect": {"settings"},
    "lora": {"local"},
}
#: what no string of the adapter's spells as it stands
MORE_WORDS = {"data_prep", "document_group", "data_entity", "inference", *TOLD}


def strings(name):
    """The strings of a module, but for its docstrings."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docs = {id(n.body[0].value) for n in nodes(name) if isinstance(n, documented) and isinstance(n.body[0], ast.Expr)}
    constants = (n for n in nodes(name) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return [constant.value for constant in constants if id(constant) not in docs]


@cache
def words_of_the_server():
    """Its stages, states, keys, routes and refusals, as the adapter spells them."""
    spelt = {text for name in modules("daemon/finetuned/helix") for text in strings(name)}
    keys = {text for text in spelt if re.fullmatch(r"[a-z]+([_A-Z][A-Za-z_]*)+|/[a-z_/]+", text)}
    refusals = {pattern.pattern.strip(".*$:") for pattern, _ in wire.REFUSALS}
    return (keys | {text for text in refusals if text.count(" ") > 1} | MORE_WORDS) - set(PUBLIC)


def foreign_words(room, text):
    """The server's words in a text that stands in this room."""
    lower = text.lower()
    said = [word for word in words_of_the_server() if word.lower() in lower and room not in TOLD.get(word, ())]
    return [word for word in said if re.search(rf"(?<![A-Za-z_]){re.escape(word)}(?![A-Za-z_])", text, re.IGNORECASE)]


def test_no_word_of_the_server_is_outside_its_adapter():
    """Neither in code nor in docstrings: what stands in front of the wall would have to change with the server."""
    # what is learned here is told in the same stages: people and their scripts know them
    inside = {"helix", "sandbox", "local"}
    outside = [name for name in modules("daemon") if Path(name).parts[2] not in inside]
    assert {
        name: found
        for name in outside
        if (found := foreign_words(Path(name).parts[2].removesuffix(".py"), (ROOT / name).read_text()))
    } == {}
    assert {
        "generate_questions",
        "data_prep_stage",
        "manuallyReviewQuestions",
        "/sessions/learn",
    } <= words_of_the_server()


@pytest.mark.parametrize(
    ("room", "text", "found"),
    [
        ("plan", 'if stage == "edit_questions": pass', ["edit_questions"]),
        ("daemon", '"""Wait for `data_prep_stage`."""', ["data_prep_stage"]),
        ("ledger", "lora = seen.model", ["lora"]),
        ("ledger", "lora_dir text, session_id text", []),
        ("plan", "rules.helix.url", ["helix"]),
        ("plan", "the Helix server", ["helix"]),
        ("cli", "the [helix] table", []),
        ("cli", "session is currently active", ["session is currently active"]),
    ],
)
def test_the_rule_about_the_servers_words_sees(room, text, found):
    """A rule that finds nothing must be able to find something."""
    assert foreign_words(room, text) == found


def test_tests_that_pages_name_are_there():
    """A command that proves a claim can be typed; each ring is explained to who joins."""
    pages = [name for name in files() if name.endswith((".md", ".py")) or name == ".ci/run"]
    named = {name: set(re.findall(r"\btests/[a-z_]+(?:/[a-z_0-9]+\.py)?", (ROOT / name).read_text())) for name in pages}
    assert {f"{name}: {test}" for name, tests in named.items() for test in tests if not (ROOT / test).exists()} == set()
    joining = ".github/CONTRIBUTING.md"
    short = set(re.findall(r"[ `]([a-z]+/test_[a-z_0-9]+\.py)", (ROOT / joining).read_text()))
    assert {name for name in short if not (ROOT / "tests" / name).exists()} == set()
    rings = {str(Path(name).parent) for name in modules("tests") if Path(name).name.startswith("test_")}
    assert named[joining] >= rings


def exchanged(code):
    """The attributes of ours that a module sets: by `setattr`, as its object or as its dotted name, or by `=`."""
    ours = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in code
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "finetuned"
        for alias in node.names
    }

    def name_of(node):
        first, dot, rest = dotted(node).partition(".")
        return f"{ours[first]}{dot}{rest}" if first in ours else ""

    for node in code:
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] == "setattr":
            what, name = (*node.args, None)[:2]
            if isinstance(what, ast.Constant) and str(what.value).startswith("finetuned."):
                yield what.value
            elif name_of(what):
                yield f"{name_of(what)}.{getattr(name, 'value', '?')}"
        elif isinstance(node, ast.Assign):
            yield from (
                name for name in map(name_of, node.targets) if "." in name and dotted(node.targets[0]) not in ours
            )


def test_nothing_of_ours_is_mocked():
    """What a test exchanges stands in the table above with its reason, and the table names nothing else."""
    found = {name: set(exchanged(nodes(name))) for name in modules("tests")}
    whole = {name for name, attributes in found.items() if attributes and name in EXCHANGED}
    assert whole | {one for name in found.keys() - whole for one in found[name]} == set(EXCHANGED)
    assert all(reason.strip() for reason in EXCHANGED.values())


@pytest.mark.parametrize(
    ("code", "attributes"),
    [
        ("from finetuned.folders import tree\npatch.setattr(tree, 'sync', 1)", {"finetuned.folders.tree.sync"}),
        ("from finetuned import logs as l\nsetattr(l.x, name, 1)", {"finetuned.logs.x.?"}),
        ("monkeypatch.setattr('finetuned.cli.main', 1)", {"finetuned.cli.main"}),
        ("from finetuned.folders import libc\nlibc.call = 1", {"finetuned.folders.libc.call"}),
        ("from finetuned import logs\nlogs = 1\nmonkeypatch.setattr(os, 'open', 1)", set()),
    ],
)
def test_the_rule_about_mocking_sees(code, attributes):
    """A rule that finds nothing must be able to find something."""
    assert set(exchanged(list(ast.walk(ast.parse(code))))) == attributes


def test_the_map_for_who_joins_names_what_is_there():
    """Each module, folder and test that it sends people to exists."""
    page = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
    named = {words.split()[0] for words in re.findall(r"`([a-z_.]+(?:/[a-z_.]*)+(?: [^`]*)?|[a-z_]+\.py)`", page)}
    named |= {f"{way}.py" for way in re.findall(r"(?:daemon|folders)/[a-z_]+(?=[ \n])", page)}
    tops = [ROOT, ROOT / "daemon" / "finetuned", ROOT / "tests"]
    assert len(named) > 50
    assert {name for name in named if not any((top / name).exists() for top in tops)} == set()


def test_links_of_pages_lead_somewhere():
    """To a file of the source, and to a heading in it if one is named."""
    lost = []
    for page in (name for name in files() if name.endswith(".md")):
        for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", (ROOT / page).read_text()):
            target = (ROOT / page).parent / path if path else ROOT / page
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if target.is_file() else []
            if not target.exists() or (anchor and anchor not in {slug(title) for title in titles}):
                lost.append(f"{page}: {path}#{anchor}")
    assert lost == []


def slug(title):
    """What a link to a heading is called."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def test_no_room_is_a_drawer():
    """A room is named for what it does."""
    parts = {(name, part) for name in modules("daemon") for part in Path(name).with_suffix("").parts}
    assert {name for name, part in parts if part in FORBIDDEN_ROOMS} == set()


def test_nobody_catches_everything_but_the_door():
    """An exception that nobody expected is a mistake of ours: one place tells of it, and ends."""
    found = [
        name
        for name in modules("daemon")
        for node in nodes(name)
        if isinstance(node, ast.ExceptHandler) and swallows_all(node)
    ]
    assert [name for name in found if not name.startswith("daemon/finetuned/cli/")] == []
    assert len(found) <= 1


def numbered(code):
    """Whether a string in it holds a placeholder with a number, as in `id = ?1`."""
    strings = (node.value for node in ast.walk(code) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return any(re.search(r"\?[0-9]", words) for words in strings)


def test_no_query_numbers_its_placeholders():
    """Python 3.12.0 and 3.12.1 warn of `?1` filled from a sequence: values go by `?`, or by name."""
    assert [name for name in modules("daemon") if numbered(tree(name))] == []
    assert numbered(ast.parse('db.execute(f"select {x} from t where id = ?1", (1,))'))


def test_every_module_says_what_it_is():
    """A module begins with its sentence."""
    names = [name for name in modules("daemon") + modules("tests") if (ROOT / name).stat().st_size]
    assert [name for name in names if not ast.get_docstring(tree(name))] == []


def test_every_test_says_what_it_means():
    """A test's docstring is one sentence of intent."""
    assert [
        f"{name}::{function.name}"
        for name in modules("tests")
        for function in functions(name)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ] == []


def test_no_test_sleeps():
    """A test that waits for time to pass is slow, or wrong, or both."""
    assert [
        f"{name}:{node.lineno}"
        for name in modules("tests")
        if Path(name).parts[1] not in REAL_TIME
        for node in nodes(name)
        if (isinstance(node, ast.Attribute) and dotted(node) in {"time.sleep", "anyio.sleep", "trio.sleep"})
        or (isinstance(node, ast.ImportFrom) and node.module in {"time", "anyio", "trio"}
            and any(alias.name == "sleep" for alias in node.names))
    ] == []  # fmt: skip


def skipped(name):
    """The tests of a module that may be skipped; a skip outside any function is the module's."""
    words = {"skip", "skipif", "importorskip", "skipTest", "SkipTest", "skipUnless", "skipIf"}
    inside = {
        id(node): function.name
        for function in functions(name)
        for part in (*function.body, *function.decorator_list)
        for node in ast.walk(part)
    }
    return {
        f"{name}::{inside.get(id(node), '')}"
        for node in nodes(name)
        if isinstance(node, ast.Attribute) and node.attr in words
    }


def test_no_test_is_skipped_in_silence():
    """A skip stands in the table above with its reason, and the table names no other."""
    assert {skip for name in modules("tests") for skip in skipped(name)} == set(SKIPS)
    assert all(reason.strip() for reason in SKIPS.values())


@pytest.mark.parametrize(
    ("code", "swallows"),
    [
        ("except: pass", True),
        ("except Exception: pass", True),
        ("except (ValueError, builtins.BaseException): pass", True),
        ("except BaseException:\n  if x: return\n  raise", True),
        ("except Exception as error:\n  raise ValueError from error", True),
        ("except BaseException:\n  tidy()\n  raise", False),
        ("except ValueError: pass", False),
        ("except (OSError, errors.Refused): pass", False),
    ],
)
def test_the_rule_about_catching_sees(code, swallows):
    """A rule that finds nothing must be able to find something."""
    (node,) = ast.parse(f"try: pass\n{code}").body
    assert swallows_all(node.handlers[0]) is swallows
