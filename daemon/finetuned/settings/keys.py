"""Every key of the configuration: one struct a table, and in each annotation how a key is read and its help.

1. To add a key: its field here, with its default, its reader and its help in a line, and `config/finetuned.toml`
   written anew from `reference()`. A table is a struct and a field of `Settings`. A table's docstring is its help.
2. Values are what we work with: times in seconds, sizes in bytes, paths absolute. What has no default must be given.
"""

# annotations are values here, which are looked at; as texts each would be compiled first
import posixpath
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Final, Protocol

from msgspec.structs import fields, replace

from finetuned.kinds import KINDS, REFUSED
from finetuned.model import Value
from finetuned.notices import NOTICES
from finetuned.settings.local import AHEAD, ChatSettings, LocalService, MakerSettings, SlurmSettings, TrainerSettings
from finetuned.settings.readers import (
    Reader,
    a_choice,
    a_command,
    a_flag,
    a_folder_name,
    a_key_file,
    a_listen_address,
    a_number,
    a_path,
    a_ready_file,
    a_size,
    a_time,
    a_url,
    an_address,
    an_age,
    an_encoding,
    host_and_port,
    is_loopback,
    patterns,
    some_of,
)

#: how many files a job can have: no more of a folder are planned at a time, so that a round stays short
MOST_FILES: Final = 2000
#: every kind of backend
BACKENDS: Final = ("helix", "local")


class ServiceSettings(Protocol):
    """What the daemon goes by of a backend's table, whichever it is."""

    @property
    def url(self) -> str:
        """The address by which the ledger knows this backend from others."""
        ...

    @property
    def max_in_flight(self) -> int:
        """How many jobs may be there at a time."""
        ...

    @property
    def longest_pause(self) -> float:
        """The longest wait between two tries while it cannot be used, in seconds."""
        ...


class HelixSettings(Value, frozen=True):
    """The Helix server, and how hard it may be asked."""

    url: Annotated[str, a_url, "Where the server answers, without /api/v1."] = "http://127.0.0.1:8585"
    dialect: Annotated[
        str,
        a_choice("auto", "form", "learn"),
        "How to speak to it: form (servers up to 0.9), learn (since 0.9), or auto, which finds out.",
    ] = "auto"
    api_key_file: Annotated[
        str,
        a_key_file,
        'A file that holds the key; "": $CREDENTIALS_DIRECTORY/helix-api-key, else $FINETUNED_API_KEY.',
    ] = ""
    max_in_flight: Annotated[int, a_number(1, 10_000), "Jobs on the server at a time; reviews do not count."] = 3
    timeout: Annotated[float, a_time("1ms", "1h"), "How long the server may be silent during a request."] = 30.0
    longest_pause: Annotated[
        float, a_time("1ms", "1d"), "The longest wait between two tries while the server can't be used."
    ] = 120.0


class LedgerSettings(Value, frozen=True):
    """Where finetuned remembers what it did."""

    path: Annotated[
        str, a_path, 'The ledger; "": $STATE_DIRECTORY/ledger.db, else $XDG_STATE_HOME/finetuned/ledger.db.'
    ] = ""


class WatchSettings(Value, frozen=True):
    """How the folders are watched."""

    sweep: Annotated[float, a_time("1ms", "1d"), "Every folder is listed at least this often, events or not."] = 5.0


class SubmitSettings(Value, frozen=True):
    """What a job may cost."""

    attempts: Annotated[int, a_number(1, 1000), "Sessions a job may cost before it has failed; outages cost none."] = 3
    lost_answer_settle: Annotated[
        float, a_time("0s", "1d"), "How late a slow server may list a session, counted from the lost answer."
    ] = 120.0


class PollSettings(Value, frozen=True):
    """How often the server is asked how a job is doing, and when a job counts as stalled."""

    fastest: Annotated[float, a_time("1ms", "1d"), "The shortest wait between two polls of a job."] = 2.0
    slowest: Annotated[float, a_time("1ms", "1d"), "The longest wait between two polls of a job."] = 60.0
    stalled_after: Annotated[
        float,
        a_time("1s", "30d"),
        "No sign of life for this long while text is read or pairs are made: the job is stalled.",
    ] = 600.0
    training_stalled_after: Annotated[float, a_time("1s", "30d"), "The same while the model is trained."] = 21600.0
    restarts: Annotated[
        int, a_number(0, 1000), "How often a stalled session is put to work again before it is given up."
    ] = 3


class LogSettings(Value, frozen=True):
    """The log, on standard error."""

    level: Annotated[str, a_choice("debug", "info", "warning", "error"), "debug, info, warning or error."] = "info"
    format: Annotated[
        str, a_choice("auto", "console", "json"), "console, json, or auto: console on a terminal, json otherwise."
    ] = "auto"


class MetricsSettings(Value, frozen=True):
    """Figures for Prometheus, and whether all is well, over HTTP (`finetuned help metrics`)."""

    listen: Annotated[
        str, a_listen_address, 'Where /metrics and /healthz are served, such as "127.0.0.1:9464"; "": nowhere.'
    ] = ""

    @property
    def is_open(self) -> bool:
        """Whether other machines may be able to read what is served."""
        return bool(self.listen) and not is_loopback(host_and_port(self.listen)[0])


class RetentionSettings(Value, frozen=True):
    """How long things are kept that nobody needs any more; "": for ever."""

    done: Annotated[float, an_age("1h", "520w"), "What lies in done/: it is removed when it is as old as this."] = 0.0
    failed: Annotated[float, an_age("1h", "520w"), "The same for failed/."] = 0.0
    events: Annotated[
        float, an_age("1h", "520w"), "What happened; the newest event of each job and file is always kept."
    ] = 0.0
    models: Annotated[
        float,
        an_age("1h", "520w"),
        "Models that were tuned here, with all of their trainings, counted from the job's end; not published ones.",
    ] = 0.0


class BackendSettings(Value, frozen=True):
    """What learns the files of a folder that names no `backend` of its own."""

    kind: Annotated[
        str,
        a_choice(*BACKENDS),
        "helix: a Helix server; local: this machine, by the tables [maker] [trainer] [slurm] [chat].",
    ] = "helix"


class HookSettings(Value, frozen=True):
    """A program or an address that is told what happens; any number, each with a command or a url."""

    on: Annotated[tuple[str, ...], some_of(*NOTICES, least=1), f"What it is told: any of {', '.join(NOTICES)}."] = (
        tuple(NOTICES)
    )
    command: Annotated[
        tuple[str, ...],
        a_command,
        "A program and its words, run without a shell; it reads the event as JSON from its standard input.",
    ] = ()
    url: Annotated[
        str,
        an_address,
        "Or an address of Apprise for mail, ntfy, Slack and many others; it needs finetuned[apprise].",
    ] = ""
    timeout: Annotated[float, a_time("100ms", "1h"), "After this long it is ended, and tried again later."] = 30.0

    @property
    def key(self) -> str:
        """What the ledger knows it by: it is the same hook as long as its command, or its url, is the same."""
        return _fingerprint(repr((self.command, self.url)))

    @property
    def label(self) -> str:
        """Its name for people, in which no secret can be."""
        return posixpath.basename(self.command[0]) if self.command else f"{self.url.partition('://')[0]}://"


class FolderSettings(Value, frozen=True):
    """A drop folder; one or more."""

    name: Annotated[str, a_folder_name, "Its name in commands, job ids and the ledger: a-z, 0-9 and -."]
    path: Annotated[str, a_path, "Where it lies; ~/ is the home, a relative path starts at this file."]
    include: Annotated[
        tuple[str, ...],
        patterns(least=1),
        "Names to take, or paths from the folder's top (journal/**); case is ignored. *.jsonl holds ready-made pairs.",
    ] = ("*.txt", "*.md")
    exclude: Annotated[
        tuple[str, ...],
        patterns(least=0),
        "Names of files and folders to leave alone, or paths from the folder's top (drafts/**).",
    ] = ()
    recursive: Annotated[bool, a_flag, "Whether sub-folders are watched too."] = True
    settle: Annotated[
        float,
        a_time("0s", "1d"),
        "A file is ready when it was unchanged this long, and no writer has it open; with after = keep 5s at least.",
    ] = 2.0
    ready_file: Annotated[
        str,
        a_ready_file,
        'With "{name}.done" a file is ready only when that file is there too; it is moved along.',
    ] = ""
    group_by: Annotated[
        str, a_choice("none", "subfolder"), "none, or subfolder: first-level sub-folders never share a job."
    ] = "none"
    max_files: Annotated[int, a_number(1, MOST_FILES), "The most files in a job; `max_chunks` may allow fewer."] = 11
    max_bytes: Annotated[
        int,
        a_size("1TiB"),
        "The most bytes of text in a job. With the form around them they get through a proxy that allows 1 MiB.",
    ] = 1000 * 1024
    max_chunks: Annotated[
        int,
        a_number(1, 1_000_000_000),
        "The most chunks in a job: 9 for each started 16 KiB of each file; a larger file goes alone.",
    ] = 99
    linger: Annotated[
        float,
        a_time("0s", "30d"),
        "A job is sealed when it is full, or when its oldest file has waited this long.",
    ] = 30.0
    max_file_bytes: Annotated[int, a_size("1TiB"), "A larger file is refused."] = 1024 * 1024
    encoding: Annotated[
        str, an_encoding, "How the text is encoded; a byte-order mark wins; it is always sent as UTF-8."
    ] = "utf-8"
    refuse_kinds: Annotated[
        tuple[str, ...],
        some_of(*KINDS),
        f"Kinds of text files that are refused; of the others you are warned. All kinds: {', '.join(KINDS)}.",
    ] = REFUSED
    duplicates: Annotated[
        str,
        a_choice("skip", "send"),
        "skip or send content that this folder has learned already; equals never share a job.",
    ] = "skip"
    review: Annotated[
        bool, a_flag, "Whether pairs wait for a person before the training (form dialect only: `finetuned review`)."
    ] = False
    after: Annotated[
        str,
        a_choice("move", "keep", "delete"),
        "What happens to a learned file: move it to done/, keep it where it is, or delete it.",
    ] = "move"
    prune_empty: Annotated[
        bool, a_flag, "Whether empty sub-folders are removed that files were taken from, once a minute has passed."
    ] = False
    write_pairs: Annotated[bool, a_flag, "Whether pairs.jsonl is written beside a job's files."] = True
    backend: Annotated[
        str, a_choice("", *BACKENDS), 'What learns its files: helix or local; "": what [backend] kind says.'
    ] = ""


class Settings(Value, frozen=True):
    """The whole configuration; `source` is the file it was read from, for people to read."""

    folders: tuple[FolderSettings, ...]
    helix: HelixSettings = HelixSettings()
    ledger: LedgerSettings = LedgerSettings()
    watch: WatchSettings = WatchSettings()
    submit: SubmitSettings = SubmitSettings()
    poll: PollSettings = PollSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    retention: RetentionSettings = RetentionSettings()
    backend: BackendSettings = BackendSettings()
    maker: MakerSettings = MakerSettings()
    trainer: TrainerSettings = TrainerSettings()
    slurm: SlurmSettings = SlurmSettings()
    chat: ChatSettings = ChatSettings()
    hooks: tuple[HookSettings, ...] = ()
    source: str = ""

    @property
    def named_hooks(self) -> dict[str, HookSettings]:
        """The hooks by their names for people, in the order of the file."""
        return {f"hook {number} ({hook.label})": hook for number, hook in enumerate(self.hooks, 1)}

    def kind_of(self, rules: FolderSettings) -> str:
        """Tell which kind of backend learns the files of a folder."""
        return rules.backend or self.backend.kind

    def service_for(self, kind: str) -> ServiceSettings:
        """Return what the daemon goes by of a kind of backend, whether a folder uses it or not."""
        if kind == "helix":
            return self.helix
        return LocalService(max_in_flight=self.trainer.max_in_flight + AHEAD)

    @property
    def services(self) -> dict[str, ServiceSettings]:
        """What the daemon goes by of each backend that a folder uses, by its kind, in the order of `BACKENDS`."""
        used = {self.kind_of(rules) for rules in self.folders}
        return {kind: self.service_for(kind) for kind in BACKENDS if kind in used}

    def service_of(self, folder: str) -> ServiceSettings | None:
        """Return what the daemon goes by of the backend of a folder; null if no folder of this name is configured."""
        kind = next((self.kind_of(rules) for rules in self.folders if rules.name == folder), None)
        return None if kind is None else self.service_for(kind)

    def fingerprint(self) -> str:
        """Tell this configuration from others by 16 hexadecimal digits.

        The file that it was read from does not count, nor where the ledger lies: the comparison has found that already.
        """
        return _fingerprint(repr(replace(self, source="", ledger=LedgerSettings())))


def _fingerprint(text: str) -> str:
    """Return 16 hexadecimal digits that tell this text from others."""
    from hashlib import sha256  # noqa: PLC0415 - 3 ms that a command does not cost which compares nothing

    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


class Key(Value, frozen=True):
    """A key of the file: `default` is written as in TOML, null if the key must be given; `words` are one line."""

    section: str
    name: str
    default: str | None
    words: str
    reader: Reader

    @property
    def written(self) -> str:
        """The default as TOML, or an example of a key that must be given."""
        return self.reader.example if self.default is None else self.default


#: every table by its name in the file, in the order of the file
TABLES: Final[Mapping[str, type[Value]]] = MappingProxyType(
    {
        **{field.name: type(field.default) for field in fields(Settings) if isinstance(field.default, Value)},
        "hook": HookSettings,
        "folder": FolderSettings,
    }
)
#: the tables of which there may be several
LISTS: Final = frozenset({"hook", "folder"})


def _keys_of(section: str, table: type[Value]) -> Iterator[Key]:
    for field in fields(table):
        reader, words = field.type.__metadata__
        default = None if field.required else reader.write(field.default)
        yield Key(section=section, name=field.name, default=default, words=words, reader=reader)


_KEYS: Final = tuple(key for section, table in TABLES.items() for key in _keys_of(section, table))


def keys() -> tuple[Key, ...]:
    """Every key, in the order of the file: the sections in the order of `TABLES`."""
    return _KEYS
