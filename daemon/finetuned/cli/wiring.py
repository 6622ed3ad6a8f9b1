"""Where things are: the configuration, the ledger, the key; and the rooms wired together."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

import click

from finetuned.cli.terminal import harmless
from finetuned.errors import ConfigurationError, FinetunedError, LedgerError, LedgerMissing, ServerError, UsageError

if TYPE_CHECKING:
    from finetuned.backend import Backend, Capabilities, Changed, Chats, OnEnd
    from finetuned.folders.folder import DropFolder
    from finetuned.helix.client import ApiKey
    from finetuned.helix.sessions import Sessions
    from finetuned.ledger.queries import Reader
    from finetuned.making.notes import Notes
    from finetuned.model import Attempt
    from finetuned.runtime import Runtime
    from finetuned.settings import FolderSettings, Settings

T = TypeVar("T")
SYSTEM_CONFIG: Final = "/etc/finetuned/finetuned.toml"


def config_path(ctx: click.Context) -> str:
    """Find the configuration file that counts here. Raises ConfigurationError if there is none."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    named = ctx.obj["config"] or os.environ.get("FINETUNED_CONFIG")
    usual = ["finetuned.toml", os.path.join(home, "finetuned", "finetuned.toml"), SYSTEM_CONFIG]
    for path in [named] if named else usual:
        if os.path.exists(path):
            return os.path.abspath(path)
    looked = named or ", ".join(usual)
    raise ConfigurationError(
        f"no configuration found; looked for {looked}",
        remedy="start with `finetuned init`, or name a file with --config FILE",
    )


def load(ctx: click.Context) -> Settings:
    """Load the configuration that the command is to use. Raises ConfigurationError with every mistake."""
    path = config_path(ctx)
    try:
        return load_file(path)
    except ConfigurationError as error:
        from finetuned.cli.unusable import told

        raise told(error, path) from error.__cause__


def load_file(path: str) -> Settings:
    """Load a configuration file. Raises ConfigurationError with every mistake."""
    import tomllib

    from finetuned.settings import parse

    try:
        with open(path, "rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the configuration {path} is no TOML: {error}", remedy="mend it there") from error
    return parse(raw, base=os.path.dirname(path), home=os.path.expanduser("~"), source=path)


def ledger_path(settings: Settings) -> str:
    """Tell where the ledger lies."""
    return settings.ledger.path or usual_ledger_path()


def usual_ledger_path() -> str:
    """Tell where the ledger lies that no configuration names."""
    state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        return os.path.join(state, "ledger.db")
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(home, "finetuned", "ledger.db")


def check_not_own(settings: Settings, *paths: str) -> None:
    """Raise FinetunedError for a path to write to that finetuned itself lives on: `--force` is not meant for those."""
    from finetuned.ledger.copies import files_of

    own = files_of(ledger_path(settings)) | {path for path in (settings.source, key_file(settings)) if path}
    lived_on = set(map(os.path.realpath, own))
    for path in paths:
        if os.path.realpath(path) in lived_on:
            raise FinetunedError(f"{harmless(path)} is a file of finetuned itself", remedy="name another")


def reader(ctx: click.Context) -> Reader:
    """Open the ledger, for reading; closed with the command. Raises LedgerError."""
    opened = open_ledger(load(ctx))
    ctx.call_on_close(opened.close)
    return opened


def open_ledger(settings: Settings, **words: int) -> Reader:
    """Open the ledger, for reading, as `Reader.open` does; the caller closes it. Raises LedgerError."""
    from finetuned.ledger.queries import Reader

    with told_if_moved(settings):
        return Reader.open(ledger_path(settings), **words)


@contextmanager
def told_if_moved(settings: Settings) -> Iterator[None]:
    """Have it said of a ledger that is not there if it was moved away from under a daemon. Raises LedgerMissing."""
    try:
        yield
    except LedgerMissing:
        check_not_moved(settings)
        raise


def check_not_moved(settings: Settings) -> None:
    """Raise LedgerMissing if the ledger was moved away from under a daemon."""
    stray = stray_daemon(settings)
    if stray is not None:
        raise stray[1] from None


def runs(settings: Settings) -> bool:
    """Tell whether a daemon runs here."""
    from finetuned.ledger.lock import is_held

    return is_held(ledger_path(settings)) or stray_daemon(settings) is not None


def how_to_start(settings: Settings) -> str:
    """Tell how to start the daemon: that of the machine is not to be run by hand, with another user's rights."""
    return "systemctl start finetuned" if settings.source == SYSTEM_CONFIG else "finetuned run"


def no_daemon(settings: Settings) -> str:
    """Tell what everything waits for while no daemon runs."""
    return f"a daemon: none runs, start it with `{how_to_start(settings)}`"


def stray_daemon(settings: Settings) -> tuple[int, LedgerError] | None:
    """Find a daemon whose ledger was moved away, lock and all: its pid (0: not known), and what is wrong.

    It still holds the drop folders.
    """
    path = ledger_path(settings)
    if os.path.exists(f"{path}.lock"):
        return None
    from finetuned.folders.proc import holder_of
    from finetuned.ledger.trouble import PUT_BACK

    for rules in settings.folders:
        pid = holder_of(rules.path)
        if pid is not None:
            who = f"a daemon (pid {pid})" if pid else "a daemon"
            words = f"the ledger {path} is not there, but {who} holds the folder {rules.name}: was it moved away?"
            remedy = f"{PUT_BACK}; if that daemon has another configuration, give each its own folders"
            return pid, LedgerMissing(words, remedy=remedy)
    return None


def key_file(settings: Settings) -> str:
    """Find the file that the API key is in: the configuration's, else systemd's credential; empty: there is none."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    credential = os.path.join(credentials, "helix-api-key") if credentials else ""
    return settings.helix.api_key_file or (credential if os.path.exists(credential) else "")


def key_of(settings: Settings) -> ApiKey:
    """Return the API key: from its file, else from the environment."""
    from finetuned.helix.client import ApiKey

    return ApiKey(key_file(settings), lambda: os.environ.get("FINETUNED_API_KEY"))


def drop_folders(settings: Settings) -> dict[str, DropFolder]:
    """Return every drop folder, not held yet."""
    from finetuned.folders.kept import drop_folder

    ledger = ledger_path(settings)
    owner = None
    with suppress(OSError):
        owner = os.stat(ledger).st_uid  # the daemon's user, not the one who asks
    return {rules.name: drop_folder(rules, beside=f"{ledger}.kept", owner=owner) for rules in settings.folders}


@asynccontextmanager
async def backends(
    settings: Settings,
    runtime: Runtime,
    folders: Mapping[str, DropFolder],
    changed: Changed,
    notes: Notes,
    *,
    attempts: Iterable[Attempt] = (),
    remembered: str | None = None,
    spool: str | None = None,
    on_end: OnEnd | None = None,
) -> AsyncIterator[dict[str, Backend]]:
    """Yield by url the backends that these folders use, or these attempts are at, as the daemon speaks to them.

    The other words are as for `backend`. `changed` hears of what they find out by themselves; `notes` keep the paid
    work of the one that learns here.
    """
    from finetuned.backend import not_counted
    from finetuned.cli import learning
    from finetuned.plan import sides
    from finetuned.settings import LOCAL_URL

    wanted = sides.wanted([folder.rules for folder in folders.values()], attempts, settings)
    async with AsyncExitStack() as stack:
        made: dict[str, Backend] = {}
        if settings.helix.url in wanted:
            words = {"remembered": remembered, "spool": spool}
            helix = backend(settings, runtime, folders, **words, on_end=on_end)
            made[settings.helix.url] = await stack.enter_async_context(helix)
        if LOCAL_URL in wanted:
            here = learning.local(settings, runtime, folders, notes, on_end or not_counted)
            made[LOCAL_URL] = local = await stack.enter_async_context(here)
            local.changed = changed
            local.on_trouble = _tell_trouble
        yield made


def _tell_trouble(run: str, why: str) -> None:
    """Log what a run waits for, or that it goes on."""
    from finetuned import logs

    if why:
        logs.get().warning("run_waits", run=run, why=why)
    else:
        logs.get().info("run_goes_on", run=run)


@asynccontextmanager
async def backend(
    settings: Settings,
    runtime: Runtime,
    folders: Mapping[str, DropFolder] = MappingProxyType({}),
    *,
    remembered: str | None = None,
    spool: str | None = None,
    on_end: OnEnd | None = None,
) -> AsyncIterator[Sessions]:
    """Yield the server, as the daemon and the commands speak to it; `remembered` is the dialect it spoke last.

    Long answers are kept in the folder `spool` while they are read: the daemon's lie beside its ledger. `on_end` hears
    of each request.
    """
    from finetuned.backend import Part, not_counted
    from finetuned.helix.client import new_http
    from finetuned.helix.disk import Disk, PartReader
    from finetuned.helix.sessions import Sessions

    def open_part(part: Part) -> PartReader:
        return folders[part.folder].open_text(part.location, part.content)

    def together(folder: str) -> AbstractContextManager[object]:
        return folders[folder].together()

    async with new_http(settings.helix) as http:
        yield Sessions(
            http,
            url=settings.helix.url,
            key=key_of(settings),
            disk=Disk(in_thread=runtime.in_thread, open_part=open_part, together=together, spool=spool),
            dialect=settings.helix.dialect,
            remembered=remembered,
            on_end=on_end or not_counted,
        )


async def dialects(backend: Sessions) -> list[str]:
    """List the dialects that the server speaks, which not every backend can tell. Raises ServerError."""
    return sorted(await backend.dialects())


def server_time(backend: Sessions) -> float | None:
    """Tell the server's time when it answered last, in seconds since 1970, which not every backend can tell."""
    return backend.server_time


def check_server(settings: Settings, url: str, what: str) -> None:
    """Raise FinetunedError if `what` is on another server than the configuration's, and not here."""
    from finetuned.settings import LOCAL_URL

    if url not in {settings.helix.url, LOCAL_URL}:
        raise FinetunedError(f"{what} lies on another server: {url}", remedy="name that server in [helix] url")


@asynccontextmanager
async def chats(settings: Settings, session_id: str | None) -> AsyncIterator[tuple[Chats, Runtime]]:
    """Yield who a session is talked to with: the server, or what was learned here. Raises UsageError."""
    from finetuned.cli import learning
    from finetuned.runtime import SystemRuntime

    if session_id is not None and is_talk(session_id):
        here = SystemRuntime()
        async with learning.chats(settings, here) as talks:
            yield talks, here
        return
    if session_id is None and "helix" not in settings.services:
        raise UsageError("there is no server to talk to", remedy="name a job whose model is to answer: --job ID")
    async with server(settings) as (asked, runtime):
        yield asked, runtime


def is_talk(session_id: str) -> bool:
    """Tell whether a session is a run of what learns here, or a talk with its model."""
    from finetuned.local.talk import is_talk

    return is_talk(session_id)


def is_session_id(word: str) -> bool:
    """Tell whether this can be a session's id: it goes into an address."""
    from finetuned.helix.wire import safe_id

    return safe_id(word)


def capabilities(settings: Settings, kind: str = "helix", variant: str | None = None) -> Capabilities:
    """Tell what a kind of backend can do in this dialect; before it was asked (null), in the one that is configured."""
    if kind == "local":
        from finetuned.local.values import CAPABILITIES

        return CAPABILITIES
    from finetuned.helix import observe

    return observe.capabilities(variant or settings.helix.dialect)


def where(url: str) -> str:
    """Tell in words where the sessions at a url are."""
    from finetuned.settings import LOCAL_URL

    return "this machine" if url == LOCAL_URL else "the server"


def capabilities_of(settings: Settings, rules: FolderSettings) -> Capabilities:
    """Tell what the backend of a folder can do, as it is configured."""
    return capabilities(settings, settings.kind_of(rules))


def ask_server(settings: Settings, work: Callable[[Sessions], Awaitable[T]]) -> T:
    """Do something with the server, in a loop of its own; return what came of it. Raises ServerError."""
    import anyio

    async def asked() -> T:
        async with server(settings) as (backend, _):
            return await work(backend)

    return anyio.run(asked)


@asynccontextmanager
async def server(settings: Settings) -> AsyncIterator[tuple[Sessions, Runtime]]:
    """Yield the server, for a command that speaks to it itself."""
    from finetuned.helix.outcome import Remedy
    from finetuned.runtime import SystemRuntime

    runtime = SystemRuntime()
    async with backend(settings, runtime) as asked:
        try:
            yield asked, runtime
        except ServerError as error:
            if isinstance(error.remedy, Remedy):
                error.remedy = error.remedy.by_hand
            raise
