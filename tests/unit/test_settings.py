"""The configuration: what it takes, what it refuses and with which words, and that its words exist once."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from finetuned import settings
from finetuned.errors import ConfigurationError
from finetuned.settings import FolderSettings, HelixSettings, PollSettings, Settings
from finetuned.settings.readers import placed

ROOT = Path(__file__).parents[2]
FOLDER = '[[folder]]\nname = "notes"\npath = "/srv/notes"\n'
NOTES = FolderSettings(name="notes", path="/srv/notes")
ROWS = settings.keys()
EXAMPLES = {"folder": FolderSettings(name="notes", path="/srv/finetuned/notes")}


def parsed(text, *, base="/etc/finetuned", home="/home/me", source=""):
    """The settings of a TOML text."""
    return settings.parse(tomllib.loads(text), base=base, home=home, source=source)


def problems(text, **more):
    """The lines about a TOML text that has mistakes."""
    with pytest.raises(ConfigurationError) as caught:
        parsed(text, **more)
    return caught.value.problems


def test_one_folder_is_enough():
    """Everything else has a default."""
    assert parsed(FOLDER, source="/etc/x.toml") == Settings(folders=(NOTES,), source="/etc/x.toml")


@pytest.mark.parametrize("section", settings.TABLES)
def test_every_default_is_read_as_it_is_written(section):
    """A key's default as TOML, read again, is the field's default."""
    rows = [key for key in ROWS if key.section == section]
    values = EXAMPLES.get(section) or settings.TABLES[section]()
    assert [key.name for key in rows] == list(values.__struct_fields__)
    for key in rows:
        read = key.reader.read(tomllib.loads(f"it = {key.written}")["it"])
        assert read == getattr(values, key.name), key.name


def test_every_example_of_a_page_is_read():
    """Each block of TOML there, with the folder and the maker that it goes without."""
    found = 0
    for page in sorted((ROOT / "daemon/finetuned/docs").glob("*.md")):
        for block in re.findall(r"^```toml\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            lacks = "" if re.search(r"^\[\[folder\]\]", block, re.MULTILINE) else FOLDER
            lacks += "" if re.search(r"^\[maker\]", block, re.MULTILINE) else '[maker]\nkind = "rules"\n'
            assert parsed(f"{block}\n{lacks}").folders, f"{page.name}: {block}"
            found += 1
    assert found > 9


def test_the_table_is_whole():
    """Every section has keys, keys come in the order of the sections, and the words are one line each."""
    order = list(settings.TABLES)
    assert list(dict.fromkeys(key.section for key in ROWS)) == order
    for words in (*(table.__doc__ for table in settings.TABLES.values()), *(key.words for key in ROWS)):
        assert words.isprintable()
        assert words.endswith(".")


def test_the_reference_file_is_written_from_the_table():
    """`config/finetuned.toml` is what `reference()` says, to the byte."""
    assert (ROOT / "config/finetuned.toml").read_text("utf-8") == settings.reference()


def test_the_reference_file_holds_the_defaults():
    """It loads to exactly the defaults, with one folder."""
    expected = Settings(folders=(FolderSettings(name="notes", path="/srv/finetuned/notes"),))
    assert parsed((ROOT / "config/finetuned.toml").read_text("utf-8")) == expected


def test_the_reference_file_has_every_key_in_order():
    """Read by itself: each key once, under its words, and none that could not be set."""
    lines = [re.sub(r"^#(?=\S)", "", line) for line in settings.reference().splitlines()]  # a hook is only shown
    tables = tomllib.loads("\n".join(lines))
    found = [
        (section, name)
        for section, table in tables.items()
        for name in (table[0] if isinstance(table, list) else table)
    ]
    assert found == [(key.section, key.name) for key in ROWS]
    for key in ROWS:
        assert lines[lines.index(f"# {key.words}") + 1].startswith(f"{key.name} = ")


def test_the_shipped_configuration_names_the_ledger():
    """Commands in a shell find the service's ledger, whose place only the service is told otherwise."""
    text = (ROOT / "systemd/finetuned.toml").read_text("utf-8")
    assert text == settings.sample("/srv/finetuned/notes", ledger_path="/var/lib/finetuned/ledger.db")
    assert parsed(text).ledger.path == "/var/lib/finetuned/ledger.db"


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1))
@example('a "name" with a \\ in it')
def test_a_sample_says_what_it_was_asked_to(name):
    """Whatever the folder is called, the file that is written names it, and all else is the default."""
    path = placed("/srv/" + name, base="/", home="")
    if path in {"/", "/srv"}:
        return
    expected = Settings(folders=(FolderSettings(name="x-1", path=path),))
    assert parsed(settings.sample(path, name="x-1")) == expected


def test_a_sample_names_the_server():
    """`init` may know the server already."""
    assert parsed(settings.sample("/srv/n", url="https://helix.example/")).helix.url == "https://helix.example"


@pytest.mark.parametrize(("path", "name"), [("/srv/\udcff", "notes"), ("/srv/n", "My Notes")])
def test_a_sample_refuses_what_it_can_not_write(path, name):
    """A configuration is UTF-8, and a folder's name has its letters."""
    with pytest.raises(ConfigurationError):
        settings.sample(path, name=name)


@pytest.mark.parametrize(("path", "home"), [("~other/x", "/home/me"), ("~/x", "")])
def test_a_home_that_nobody_knows_is_a_mistake(path, home):
    """A path is never made of a guess."""
    (line,) = problems(f'[ledger]\npath = "{path}"\n{FOLDER}', home=home)
    assert line.startswith(f'ledger.path: found "{path}"; allowed: ')


def test_what_is_allowed_is_taken():
    """A file that sets many keys, away from their defaults."""
    text = """
[helix]
url = "https://user-less.example:8443/helix/"
dialect = "form"
api_key_file = "~/key"
max_in_flight = 5
timeout = "500ms"
longest_pause = "1h"
[ledger]
path = "state/ledger.db"
[poll]
fastest = "60s"
[[folder]]
name = "a-1"
path = "drop"
include = ["*"]
exclude = ["*.bak"]
recursive = false
ready_file = "{name}.done"
group_by = "subfolder"
max_bytes = 65536
max_file_bytes = "10KB"
encoding = "utf-16"
duplicates = "send"
refuse_kinds = ["html"]
after = "keep"
"""
    taken = parsed(text)
    assert taken.helix == HelixSettings(
        url="https://user-less.example:8443/helix", dialect="form", api_key_file="/home/me/key",
        max_in_flight=5, timeout=0.5, longest_pause=3600.0,
    )  # fmt: skip
    assert taken.ledger.path == "/etc/finetuned/state/ledger.db"
    assert taken.poll == PollSettings(fastest=60.0)
    assert taken.folders == (
        FolderSettings(
            name="a-1", path="/etc/finetuned/drop", include=("*",), exclude=("*.bak",), recursive=False,
            ready_file="{name}.done", group_by="subfolder", max_bytes=65536, max_file_bytes=10_000,
            encoding="utf-16", duplicates="send", refuse_kinds=("html",), after="keep",
        ),
    )  # fmt: skip


@pytest.mark.parametrize("dialect", ["auto", "form", "learn"])
def test_every_dialect_may_be_named(dialect: str):
    """Which of them the server understands shows when it is asked."""
    assert parsed(f'[helix]\ndialect = "{dialect}"\n{FOLDER}').helix.dialect == dialect


MISTAKES = [
    # what is written in front of, or into, the one folder; and the line
    ("[helxi]", "helxi: unknown; did you mean helix?"),
    ("timout = 3", "timout: unknown; did you mean timeout in [helix] or [maker] or [hook]?"),
    ("[xyzzy]", "xyzzy: unknown; allowed: helix, ledger, "),
    ("helix = 3", "helix: found 3; allowed: a table, [helix]"),
    ("[helix]\nurls = 1", "helix.urls: unknown; did you mean url?"),
    ("[helix]\nfastest = '1s'", "helix.fastest: unknown; did you mean fastest in [poll]?"),
    ("[log]\nxyzzy = 1", "log.xyzzy: unknown; allowed: level, format"),
    ('[helix]\n"a\\u001bb" = 1', r"helix.a\x1bb: unknown; "),
    ("[helix]\nurl = 'http://h:1/api/v1/'", 'allowed: the same without /api/v1, "http://h:1"'),
    ("[helix]\nurl = 'ftp://h'", 'helix.url: found "ftp://h"; allowed: http:// or https://'),
    ("[helix]\nurl = 'localhost:8585'", "allowed: http:// or https://"),
    ("[helix]\nurl = 'http://'", "allowed: http:// or https://"),
    ("[helix]\nurl = 'http://h/?x'", "allowed: http:// or https://"),
    ("[helix]\nurl = 'http://h:99999'", "allowed: http:// or https://"),
    ("[helix]\nurl = 'http://h:0'", "allowed: http:// or https://"),
    ("[helix]\nurl = 'http://[::1'", "allowed: http:// or https://"),
    ("[helix]\nurl = 'http://h h'", "allowed: http:// or https://"),
    ("[helix]\nurl = 'http://me:word@h'", 'found "http://...@h"'),
    ("[helix]\nurl = 1", "helix.url: found 1; allowed: http:// or https://"),
    ("[helix]\ndialect = 'From'", 'helix.dialect: found "From"; allowed: "auto", "form", "learn"'),
    ("[helix]\ndialect = ['learn']", 'helix.dialect: found ["learn"]; allowed: "auto", "form", "learn"'),
    ("[helix]\napi_key_file = 'hl-1234'", 'found "..."; this looks like the key itself'),
    ("[helix]\napi_key_file = 1", "helix.api_key_file: found 1; allowed: a path"),
    ("[helix]\nmax_in_flight = 0", "helix.max_in_flight: found 0; allowed: a whole number from 1 to 10000"),
    ("[helix]\nmax_in_flight = true", "helix.max_in_flight: found true; allowed: a whole number"),
    ("[helix]\nmax_in_flight = 1.0", "helix.max_in_flight: found 1.0; allowed: a whole number"),
    (f"[helix]\nmax_in_flight = 0x{'f' * 5000}", "found a very big number; allowed: a whole number"),
    ("[helix]\ntimeout = 30", 'helix.timeout: found 30; allowed: a time from "1ms" to "1h"'),
    ("[helix]\ntimeout = '0s'", 'helix.timeout: found "0s"; allowed: a time from "1ms" to "1h"'),
    ("[helix]\ntimeout = '2h'", 'helix.timeout: found "2h"; allowed: a time from "1ms" to "1h"'),
    ("[helix]\ntimeout = 2026-11-23", "helix.timeout: found 2026-11-23; allowed: a time"),
    ("[helix]\ntimeout = false", "helix.timeout: found false; allowed: a time"),
    ("[helix]\ntimeout = {a = 1}", "helix.timeout: found a table; allowed: a time"),
    ("[helix]\ntimeout = [{a = 1}]", "helix.timeout: found a list of tables; allowed: a time"),
    ("[helix]\ntimeout = [1,2,3,4,5]", "helix.timeout: found [1, 2, 3, 4, ...]; allowed: a time"),
    (f"[helix]\ntimeout = '{'x' * 99}'", f'helix.timeout: found "{"x" * 59}...; allowed: a time'),
    ("[ledger]\npath = '/srv/notes/l.db'", 'ledger.path: found "/srv/notes/l.db"; allowed: a path outside'),
    ('[ledger]\npath = "a\\u0000b"', r'ledger.path: found "a\x00b"; allowed: a path'),
    ("[poll]\nfastest = '2m'", 'poll.fastest: found "2m"; allowed: no more than poll.slowest, which is 60s'),
    ("[poll]\nslowest = '1s'", 'poll.fastest: found "2s"; allowed: no more than poll.slowest, which is 1s'),
    ("[log]\nlevel = 'loud'", 'log.level: found "loud"; allowed: "debug", "info", "warning", "error"'),
    ("[log]\nformat = 'xml'", 'log.format: found "xml"; allowed: "auto", "console", "json"'),
    ("[poll]\nstalled_after = '0s'", 'poll.stalled_after: found "0s"; allowed: a time from "1s" to "30d"'),
    ("[poll]\nrestarts = -1", "poll.restarts: found -1; allowed: a whole number from 0 to 1000"),
    ("[metrics]\nlisten = ':1'", 'metrics.listen: found ":1"; the address in front of the port is missing'),
    ("[metrics]\nlisten = 9464", 'metrics.listen: found 9464; allowed: "", or an address and a port, such as'),
    ("[metrics]\nlisten = '::1:x'", "the port must be a number from 1 to 65535 and an IPv6 address stands in brackets"),
    ('[metrics]\nlisten = "h\\n:1"', 'allowed: "", or an address and a port'),
    ("[retention]\ndone = '1m'", 'retention.done: found "1m"; allowed: "", or a time from "1h" to "520w", with'),
    ("[retention]\nevents = 7", 'retention.events: found 7; allowed: "", or a time from "1h"'),
    ("[backend]\nkind = 'gpu'", 'backend.kind: found "gpu"; allowed: "helix", "local"'),
    ("[maker]\nkind = 'magic'", 'maker.kind: found "magic"; allowed: "chat", "rules", "command"'),
    ("[maker]\nurl = ''", 'maker.url: found ""; allowed: http:// or https:// with a host'),
    ("[maker]\nurl = 'h:1/v1'", 'maker.url: found "h:1/v1"; allowed: http:// or https:// with a host'),
    ("[maker]\nurl = 'http://h/v1/chat/completions'", 'the same without /chat/completions, "http://h/v1"'),
    ("[maker]\njudge_url = 'x'", 'maker.judge_url: found "x"; allowed: http:// or https://'),
    ("[maker]\napi_key_file = 'sk-abcdefghijklmnopqrst'", 'found "..."; this looks like the key itself'),
    ("[maker]\napi_key_file = '/srv/notes/key'", "maker.api_key_file: found "),
    ("[maker]\nprompt_file = '/srv/notes/p.txt'", "maker.prompt_file: found "),
    ("[maker]\nchunk_bytes = 255", 'maker.chunk_bytes: found 255; allowed: a size from 256 bytes to "1MiB"'),
    ("[maker]\nmax_tokens_a_day = -1", "maker.max_tokens_a_day: found -1; allowed: a whole number from 0"),
    ("[maker]\nmodel = ' a'", 'maker.model: found " a"; allowed: a name on one line'),
    ("[maker]\ncommand = ['~you/x']", 'maker.command: found "~you/x"; allowed: a path that is absolute'),
    ("[trainer]\nkind = 'magic'", 'trainer.kind: found "magic"; allowed: "none", "mlx", "trl", "llamafactory"'),
    ("[trainer]\noptions = '-v'", 'trainer.options: found "-v"; allowed: a list of words'),
    ("[trainer]\nnice = 20", "trainer.nice: found 20; allowed: a whole number from 0 to 19"),
    ("[trainer]\npublish = '/srv/notes/models'", "trainer.publish: found "),
    ("[trainer]\nmodel = '~you/x'", 'trainer.model: found "~you/x"; allowed: a path that is absolute'),
    ("[metrics]\nlisen = ''", "metrics.lisen: unknown; did you mean listen?"),
    ("metrics = 3", "metrics: found 3; allowed: a table, [metrics]"),
    ("hook = 'x'", 'hook: found "x"; allowed: [[hook]], with two brackets on each side'),
    ("hook = [3]", "hook[1]: found 3; allowed: a table, [hook]"),
    ("[[hook]]\non = ['job_done']", "hook[1]: found no command and url; allowed: one of the two"),
    ("[[hook]]\nurl = 'a://b'\ncommand = ['c']", "hook[1]: found both command and url; allowed: one of the two"),
    ("[[hook]]\nurl = 'secret'", 'hook[1].url: found ...; allowed: "", or an address of Apprise, such as "ntfys://'),
    ("[[hook]]\ncommand = 'ls'", 'hook[1].command: found "ls"; allowed: a list, the program and its words, such as'),
    ("[[hook]]\ncommand = ['']", 'hook[1].command: found [""]; allowed: a list'),
    ("[[hook]]\ncommand = ['~you/x']", 'hook[1].command: found "~you/x"; allowed: a path that is absolute'),
    ("[[hook]]\ncommand = ['ls']\non = []", 'hook[1].on: found []; allowed: a list of one or more of "job_done", '),
    ("[[hook]]\ncommand = ['ls']\non = ['job']", 'hook[1].on: found ["job"]; allowed: a list of one or more of'),
    ("[[hook]]\ncommand = ['ls']\nname = 'x'", "hook[1].name: unknown; did you mean name in [folder]?"),
    (
        "[[hook]]\ncommand = ['ls']\n[[hook]]\ncommand = ['ls']",
        "hook[2].command: found one that an earlier hook has; allowed: one hook with all of `on`",
    ),
]
FOLDER_MISTAKES = [
    ("exclude = ['~/drafts']", "exclude", 'found ["~/drafts"]; allowed: a list of any number of'),
    ("include = []", "include", "found []; allowed: a list of one or more name patterns"),
    ("include = '*.txt'", "include", 'found "*.txt"; allowed: a list of one or more'),
    ("include = ['a//b']", "include", 'found ["a//b"]; allowed: a list of one or more'),
    ("include = ['/']", "include", 'found ["/"]; allowed: a list of one or more'),
    ("exclude = ['../a']", "exclude", 'found ["../a"]; allowed: a list of any number of'),
    ("exclude = ['']", "exclude", 'found [""]; allowed: a list of any number of'),
    ("recursive = 1", "recursive", "found 1; allowed: true or false"),
    ("settle = '-1s'", "settle", 'found "-1s"; allowed: a time from "0s"'),
    ("ready_file = 'done'", "ready_file", 'found "done"; allowed: "", or a file name with {name} in it'),
    ("ready_file = 'x/{name}'", "ready_file", 'found "x/{name}"; allowed: ""'),
    ("ready_file = '{name}'", "ready_file", 'found "{name}"; each file would be its own marker'),
    ("ready_file = 1", "ready_file", 'found 1; allowed: ""'),
    ("group_by = 'year'", "group_by", 'found "year"; allowed: "none", "subfolder"'),
    ("max_files = 0", "max_files", "found 0; allowed: a whole number from 1"),
    ("max_files = 2001", "max_files", "found 2001; allowed: a whole number from 1 to 2000"),
    ("max_bytes = 0", "max_bytes", 'found 0; allowed: a size from 1 byte to "1TiB"'),
    ("max_bytes = true", "max_bytes", "found true; allowed: a size"),
    ("max_bytes = '2PiB'", "max_bytes", 'found "2PiB"; allowed: a size'),
    ("max_file_bytes = '2TiB'", "max_file_bytes", 'found "2TiB"; allowed: a size'),
    ("max_chunks = 0", "max_chunks", "found 0; allowed: a whole number from 1"),
    ("encoding = 'utf-9'", "encoding", 'found "utf-9"; allowed: a text encoding that Python knows'),
    ("encoding = 'hex'", "encoding", 'found "hex"; allowed: a text encoding'),
    ("encoding = 'undefined'", "encoding", 'found "undefined"; allowed: a text encoding'),
    ('encoding = "a\\u0000"', "encoding", r'found "a\x00"; allowed: a text encoding'),
    ("encoding = 8", "encoding", "found 8; allowed: a text encoding"),
    ("refuse_kinds = ['rtf', 'word']", "refuse_kinds", 'found ["rtf", "word"]; allowed: a list of any of "rtf", "pdf"'),
    ("refuse_kinds = 'rtf'", "refuse_kinds", 'found "rtf"; allowed: a list of any of "rtf"'),
    ("backend = 'hf'", "backend", 'found "hf"; allowed: "", "helix", "local"'),
    ("duplicates = 'ask'", "duplicates", 'found "ask"; allowed: "skip", "send"'),
    ("review = 0", "review", "found 0; allowed: true or false"),
    ("after = 'burn'", "after", 'found "burn"; allowed: "move", "keep", "delete"'),
    ("linger = ''", "linger", 'found ""; allowed: a time from "0s" to "30d"'),
]


@pytest.mark.parametrize(("text", "line"), MISTAKES, ids=[text[:40] for text, _ in MISTAKES])
def test_a_mistake_is_one_line(text, line):
    """Key, what was found, what is allowed."""
    (found,) = problems(f"{text}\n{FOLDER}")
    assert line in found
    assert found.isprintable()


@pytest.mark.parametrize(("text", "key", "line"), FOLDER_MISTAKES, ids=[m[0] for m in FOLDER_MISTAKES])
def test_a_folder_s_mistake_names_the_folder(text, key, line):
    """The line tells which folder, by number and by name."""
    (found,) = problems(FOLDER + text)
    assert found.startswith(f'folder[1].{key} ("notes"): {line}')


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ["folder: found none; allowed: one [[folder]] or more, each with a name and a path"]),
        ("folder = 'x'", ['folder: found "x"; allowed: [[folder]], with two brackets']),
        ("[folder]\nname = 'x'", ["folder: found a table; allowed: [[folder]], with two brackets"]),
        ("folder = [1]", ["folder[1]: found 1; allowed: a table, [folder]"]),
        ("[[folder]]", ["folder[1].name: missing; allowed: such as", "folder[1].path: missing; "]),
        ("[[folder]]\nname = 1\npath = '/x'", ["folder[1].name: found 1; allowed: 1 to 63 of a-z"]),
        ("[[folder]]\nname = 'A b'\npath = '/x'", ['folder[1].name ("A b"): found "A b"; allowed: 1 to 63']),
        ("[[folder]]\nname = '-x'\npath = '/x'", ['folder[1].name ("-x"): found "-x"; allowed: 1 to 63']),
        ("[[folder]]\nname = 'x'\npath = ''", ['folder[1].path ("x"): found ""; allowed: the path of']),
        ("[[folder]]\nname = 'x'\npath = '/'", ['folder[1].path ("x"): found "/"; allowed: the path of']),
        (FOLDER + "[[folder]]\nname='notes'\npath='/x'", ['folder[2].name: found "notes"; allowed: a name']),
        (FOLDER + "[[folder]]\nname='b'\npath='/srv/notes/'", ['folder[2].path: found "/srv/notes"; allowed']),
        (FOLDER + "[[folder]]\nname='b'\npath='/srv/notes/done'", ["folder[2].path: found "]),
        (FOLDER + "[[folder]]\nname='b'\npath='/srv'", ['folder[2].path: found "/srv"; allowed: neither']),
        (FOLDER * 3, ["folder[2].name", "folder[2].path", "folder[3].name", "folder[3].path"]),
        ("[helix]\napi_key_file='/srv/notes/key'\n" + FOLDER, ["helix.api_key_file: found "]),
    ],
)
def test_relations_of_folders(text, lines):
    """Folders have names and paths of their own, apart from each other and from our own files."""
    found = problems(text)
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True))


def test_folders_side_by_side_are_apart():
    """A name that only begins like another one is another folder."""
    text = FOLDER + "[[folder]]\nname = 'notes2'\npath = '/srv/notes2'\n"
    assert [folder.name for folder in parsed(text).folders] == ["notes", "notes2"]


def test_a_relation_waits_until_both_sides_are_right():
    """One mistake is one line: what can't be read is not compared too."""
    assert len(problems("[poll]\nfastest = 'x'\nslowest = '1s'\n" + FOLDER)) == 1
    assert len(problems("poll = 1\n" + FOLDER)) == 1


def test_five_mistakes_are_five_lines():
    """All are told at once, and the error says how many, where, and what to do."""
    text = f"""
[helix]
url = "here"
timeout = 30
[poll]
fastest = "5m"
[logs]
level = "info"
{FOLDER}
linger = "soon"
"""
    with pytest.raises(ConfigurationError, match=r"the configuration /etc/f\.toml has 5 mistakes") as caught:
        parsed(text, source="/etc/f.toml")
    assert len(caught.value.problems) == 5
    assert caught.value.exit_code == 78
    assert caught.value.remedy


def test_one_mistake_is_told_as_one():
    """Even the grammar is right."""
    with pytest.raises(ConfigurationError, match=r"^the configuration given has 1 mistake$"):
        parsed("")


LOCAL = f'{FOLDER}backend = "local"\n'
LOCAL_MISTAKES = [
    # what is written in front of a folder with the local backend; the lines
    ("", ["maker.model: missing; allowed: the name of a model that maker.url serves"]),
    ("maker.model = 3", ["maker.model: found 3; allowed: a name"]),
    ("maker = 3", ["maker: found 3; allowed: a table"]),
    ("maker.kind = 'command'", ['maker.command: missing; allowed: the program and its words, as maker.kind is "comm']),
    (
        "maker.kind = 'rules'\nmaker.command = ['m']",
        ['maker.command: found one, and maker.kind = "rules"; allowed: maker.kind = "command"'],
    ),
    ("maker.kind = 'rules'\nmaker.judge_url = 'http://h/v1'", ["maker.judge_model: missing; allowed: the name of a"]),
    (
        "maker.kind = 'rules'\ntrainer.kind = 'command'\ntrainer.program = 'x'",
        ["trainer.command: missing; allowed: the program", 'trainer.program: found one, and trainer.kind = "command"'],
    ),
    ("maker.kind = 'rules'\ntrainer.command = ['x']", ['trainer.command: found one, and trainer.kind = "mlx"; allowe']),
    (
        "maker.kind = 'rules'\ntrainer = {kind = 'none', run_on = 'slurm', lock_file = '/run/gpu'}",
        [
            'trainer.run_on: found "slurm", and trainer.kind = "none", which trains nothing; allowed: another kind',
            'trainer.lock_file: found one, and trainer.run_on = "slurm"; allowed: trainer.run_on = "here"',
        ],
    ),
    ("maker.kind = 'gpt'\ntrainer.kind = 'x'", ["maker.kind: found ", "trainer.kind: found "]),
]


@pytest.mark.parametrize(("text", "lines"), LOCAL_MISTAKES, ids=[text[:40] for text, _ in LOCAL_MISTAKES])
def test_what_the_local_backend_needs_is_asked_of_those_who_use_it(text, lines):
    """What does not fit is told, all at once; without such a folder only what is wrong by itself."""
    found = problems(f"{text}\n{LOCAL}")
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True))
    if "found" not in lines[0] or "found one" in lines[0]:
        assert parsed(f"{text}\n{FOLDER}").services.keys() == {"helix"}


def test_each_folder_has_its_backend():
    """Its own, else the one of all; of those that no folder uses nothing is asked."""
    second = "[[folder]]\nname = 'b'\npath = '/srv/b'\n"
    read = parsed(f"maker.kind = 'rules'\ntrainer.max_in_flight = 2\n{LOCAL}{second}")
    assert {kind: (each.url, each.max_in_flight) for kind, each in read.services.items()} == {
        "helix": ("http://127.0.0.1:8585", 3),
        "local": ("local", 4),
    }
    assert (read.service_of("notes"), read.service_of("b"), read.service_of("c")) == (
        read.services["local"], read.helix, None,
    )  # fmt: skip
    alone = parsed(f"backend.kind = 'local'\nmaker.kind = 'rules'\n{second}")
    assert [(kind, each.longest_pause) for kind, each in alone.services.items()] == [("local", 120.0)]


def test_programs_and_models_are_placed_if_they_are_paths():
    """A bare program is searched for when it is run, and a model at the hub may have a slash in its name."""
    read = parsed(
        f"""
[maker]
kind = "command"
command = ["bin/make", "a/b"]
judge_model = "j"
[trainer]
model = "org/model"
program = "bin/mlx"
options = ["--seed", "1"]
[chat]
url = "http://h/api/v1/"
{LOCAL}"""
    )
    assert read.maker.command == ("/etc/finetuned/bin/make", "a/b")
    assert (read.trainer.model, read.trainer.program) == ("org/model", "/etc/finetuned/bin/mlx")
    assert (read.trainer.options, read.chat.url) == (("--seed", "1"), "http://h/api/v1")
    again = parsed(f"trainer = {{model = './m', program = 'mlx_lm', command = ['~/t', '{{data}}']}}\n{FOLDER}")
    assert (again.trainer.model, again.trainer.program) == ("/etc/finetuned/m", "mlx_lm")
    assert again.trainer.command == ("/home/me/t", "{data}")


WORDS = st.sampled_from([*settings.TABLES, *(key.name for key in ROWS)]) | st.text(max_size=5)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(WORDS, ANYTHING, max_size=6))
def test_whatever_is_written_there_is_an_answer(raw):
    """Settings, or lines that can be printed: never another error."""
    lines = ()
    try:
        settings.parse(raw, base="/etc")
    except ConfigurationError as error:
        lines = error.problems or ("",)
    assert all(line and line.isprintable() for line in lines)


def test_a_hook_has_a_name_without_a_secret_and_is_known_by_what_it_is():
    """A program by its file's name, an address by its kind; what it listens for may change, its place too."""
    address = "[[hook]]\nurl = 'ntfys://secret@host/topic'\n"
    read = parsed(f"[[hook]]\ncommand = ['bin/tell', '--token', 'x']\n{address}on = ['job_done']\n{FOLDER}")
    assert list(read.named_hooks) == ["hook 1 (tell)", "hook 2 (ntfys://)"]
    assert [hook.command for hook in read.hooks] == [("/etc/finetuned/bin/tell", "--token", "x"), ()]
    other = parsed(f"{address}{FOLDER}")
    assert other.hooks[0].key == read.hooks[1].key != read.hooks[0].key
    assert other.fingerprint() != read.fingerprint()


def test_an_age_is_a_time_or_for_ever():
    """Empty is the default, and stands for no bound."""
    read = parsed(f'[retention]\ndone = "90d"\nfailed = ""\n{FOLDER}\nprune_empty = true')
    assert (read.retention.done, read.retention.failed, read.retention.events) == (90 * 86400.0, 0.0, 0.0)
    assert read.folders[0].prune_empty


def test_a_sample_for_learning_here_works_with_what_is_installed():
    """Rules make the pairs, the toy model is trained, and no server is named."""
    found = parsed(settings.sample("/srv/n", local=True))
    assert (found.backend.kind, found.maker.kind, found.trainer.kind) == ("local", "rules", "mlx")
    assert set(found.services) == {"local"}
