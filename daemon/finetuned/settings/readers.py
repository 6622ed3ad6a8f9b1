"""How the values of the keys are read from TOML, and how a default is written as TOML.

1. A reader raises ValueError with what is allowed; its caller knows the key and shows what was found.
2. A time has its unit (`"30s"`), which needs no guessing then; a size may be a bare number of bytes.
3. TOML's true and false are numbers to Python, but not to us.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeGuard

import msgspec

from finetuned.redaction import KEY_PREFIXES

_TIME: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|d|w)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?(|b|kb|mb|gb|tb|kib|mib|gib|tib)", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_ADDRESS: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+")
#: what most addresses of servers look like: to read these takes no parser
_PLAIN_URL: Final = re.compile(r"https?://[a-z0-9.-]*[a-z0-9](?::[1-9][0-9]{0,3}|:[1-5][0-9]{4})?(?:/[a-z0-9._/-]*)?")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?")
_DIGITS_AND_DOTS: Final = re.compile(r"[0-9.]+")
_LISTEN: Final = 'allowed: "", or an address and a port, such as "127.0.0.1:9464" or "[::1]:9464"'
_FOLDER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Reader(msgspec.Struct, frozen=True):
    """How the value of a key is read, and how it is written.

    `read` takes what TOML gave and returns what we work with, or raises ValueError; `write` is the way back, for values
    that `read` returned. `example` (TOML) stands in where a key has no default. `is_path` tells of a value whether it
    is a path, which may start at the configuration's folder.
    """

    read: Callable[[object], Any]
    write: Callable[[Any], str] = json.dumps
    example: str = ""
    is_path: Callable[[Any], bool] = lambda _: False
    is_secret: bool = False


def seconds_of(text: str) -> float | None:
    """Read `"500ms" "2s" "15m" "1h" "2d" "1w"` as seconds; null if the text is no time."""
    match = _TIME.fullmatch(text)
    return round(float(match[1]) * _SECONDS[match[2]], 9) if match else None


def bytes_of(text: str) -> int | None:
    """Read `"64MiB" "10KB" "1234"` as bytes; null if the text is no size."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    unit = match[2].lower()
    base = 1024 if unit.endswith("ib") else 1000
    scale: int = base ** _POWERS[unit.rstrip("b").rstrip("i")]
    return round(float(match[1]) * scale)


def a_time(least: str, most: str) -> Reader:
    """Read a time between two times, as seconds."""
    low, high = seconds_of(least) or 0.0, seconds_of(most) or 0.0

    def read(value: object) -> float:
        seconds = seconds_of(value) if isinstance(value, str) else None
        if seconds is None or not low <= seconds <= high:
            raise ValueError(f'allowed: a time from "{least}" to "{most}", with its unit: ms, s, m, h, d or w')
        return seconds

    return Reader(read, _time_as_toml)


def an_age(least: str, most: str) -> Reader:
    """Read a time between two times, as seconds; empty: 0, which stands for no bound."""
    bound = a_time(least, most)

    def read(value: object) -> float:
        if value == "":
            return 0.0
        try:
            return float(bound.read(value))
        except ValueError as error:
            raise ValueError(str(error).replace("allowed: ", 'allowed: "", or ', 1)) from error

    return Reader(read, lambda seconds: bound.write(seconds) if seconds else '""')


def a_size(most: str, least: int = 1) -> Reader:
    """Read a size of `least` bytes or more, as bytes."""
    high = bytes_of(most) or 0
    low = f"{least} byte{'s' if least > 1 else ''}"

    def read(value: object) -> int:
        size = bytes_of(value) if isinstance(value, str) else value
        if not _is_number(size) or not least <= size <= high:
            raise ValueError(f'allowed: a size from {low} to "{most}", such as 65536, "10KB" or "64MiB"')
        return size

    return Reader(read, _size_as_toml)


def _as_it_stands(fits: Callable[[Any], bool], allowed: str, example: str = "") -> Reader:
    """Read a value as it stands, if it fits; a list as a tuple."""

    def read(value: object) -> object:
        if not fits(value):
            raise ValueError(f"allowed: {allowed}")
        return tuple(value) if isinstance(value, list) else value

    return Reader(read, example=example)


def a_number(least: int, most: int) -> Reader:
    """Read a whole number between two numbers."""
    return _as_it_stands(
        lambda value: _is_number(value) and least <= value <= most, f"a whole number from {least} to {most}"
    )


def a_choice(*words: str) -> Reader:
    """Read one of a few words."""
    return _as_it_stands(lambda value: isinstance(value, str) and value in words, _quoted(words))


def some_of(*words: str, least: int = 0) -> Reader:
    """Read any number of a few words, `least` of them at least."""
    return _as_it_stands(
        lambda value: (
            isinstance(value, list)
            and len(value) >= least
            and all(isinstance(word, str) and word in words for word in value)
        ),
        f"a list of {'one or more' if least else 'any'} of {_quoted(words)}",
    )


def patterns(*, least: int) -> Reader:
    """Read patterns of names and of paths, `least` of them at least."""
    return _as_it_stands(
        lambda value: isinstance(value, list) and len(value) >= least and all(map(_is_path_pattern, value)),
        f'a list of {"one or more" if least else "any number of"} name patterns, such as ["*.txt"], '
        'or of paths from the folder\'s top, such as ["drafts/**"]',
    )


def _read_path(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("allowed: a path")
    return value


def _read_key_file(value: object) -> str:
    """Take the path of the file that holds the key, and not the key itself: the configuration is not secret."""
    path = _read_path(value)
    if path.startswith(KEY_PREFIXES):
        raise ValueError("this looks like the key itself; allowed: the path of a file that holds it")
    return path


def _read_endpoint(value: object) -> str:
    """Take the address in front of `/chat/completions`; empty: none."""
    if not isinstance(value, str) or (value and not _is_base_url(value)):
        raise ValueError("allowed: http:// or https:// with a host, and perhaps a port and a path, nothing else")
    url = value.rstrip("/")
    if url.endswith("/chat/completions"):
        raise ValueError(f'allowed: the same without /chat/completions, "{url.removesuffix("/chat/completions")}"')
    return url


def _read_some_endpoint(value: object) -> str:
    if value == "":
        raise ValueError("allowed: http:// or https:// with a host, and perhaps a port and a path")
    return _read_endpoint(value)


def _read_ready_file(value: object) -> str:
    if not isinstance(value, str) or (value and ("{name}" not in value or not _is_pattern(value))):
        raise ValueError('allowed: "", or a file name with {name} in it, such as "{name}.done"')
    if value == "{name}":
        raise ValueError('each file would be its own marker; allowed: "", or a name such as "{name}.done"')
    return value


def _read_listen(value: object) -> str:
    if not isinstance(value, str) or (value and not value.isprintable()):
        raise ValueError(_LISTEN)
    if value:
        host_and_port(value)
    return value


def _read_address(value: object) -> str:
    """Take an address of Apprise; whether Apprise understands it is for `check` to find out."""
    if not isinstance(value, str) or (value and not _ADDRESS.fullmatch(value)):
        raise ValueError('allowed: "", or an address of Apprise, such as "ntfys://ntfy.example.org/topic"')
    return value


def _read_url(value: object) -> str:
    if not isinstance(value, str) or not _is_base_url(value):
        raise ValueError("allowed: http:// or https:// with a host, and perhaps a port and a path, nothing else")
    url = value.rstrip("/")
    if url.endswith("/api/v1"):
        raise ValueError(f'allowed: the same without /api/v1, "{url.removesuffix("/api/v1").rstrip("/")}"')
    return url


def host_and_port(text: str) -> tuple[str, int]:
    """Split `"127.0.0.1:9464"` or `"[::1]:9464"`. Raises ValueError with everything that is wrong."""
    host, colon, port = text.rpartition(":")
    wrong = []
    if not colon or text.endswith("]"):
        raise ValueError(f"a port is missing; {_LISTEN}")
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 1 <= int(port) <= 65535):
        wrong.append("the port must be a number from 1 to 65535")
    elif not host:
        wrong.append('the address in front of the port is missing ("0.0.0.0" is every one of the machine)')
    if host and (why := _no_host(host)):
        wrong.append(why)
    if wrong:
        words = " and ".join(wrong)
        raise ValueError(f"{words}; {_LISTEN}")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`, as far as its name tells."""
    import ipaddress  # noqa: PLC0415 - 4 ms that a configuration without an address does not cost

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _no_host(host: str) -> str:
    """Say why `host` can be neither an address, an IPv6 one in brackets, nor a name; empty: it can."""
    import ipaddress  # noqa: PLC0415 - 4 ms that a configuration without an address does not cost

    bracketed = host.startswith("[") and host.endswith("]")
    if ":" in host and not bracketed:
        return "an IPv6 address stands in brackets"
    if not bracketed and _HOST_NAME.fullmatch(host) and not _DIGITS_AND_DOTS.fullmatch(host):
        return ""
    try:
        found = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return "there is no such address"
    return "" if bracketed == (found.version == 6) else "brackets are for IPv6 addresses"


def placed(path: str, *, base: str, home: str) -> str:
    """Make `path` an absolute, normal path: `~` is `home`, anything else that is relative starts at `base`."""
    first, _, rest = path.partition("/")
    if first.startswith("~"):
        if first != "~" or not home:
            raise ValueError('allowed: a path that is absolute, relative, or begins with "~/" where a home is known')
        path = f"{home}/{rest}"
    whole = posixpath.normpath(posixpath.join(base, path))
    return "/" + whole.lstrip("/") if whole.startswith("/") else whole


def _time_as_toml(seconds: float) -> str:
    """Write a time in the largest unit of which there are two or more: two minutes are `2m`, one is `60s`."""
    unit = next((unit for unit in "dhm" if seconds % _SECONDS[unit] == 0 and seconds >= 2 * _SECONDS[unit]), "s")
    return f'"{seconds / _SECONDS[unit]:g}{unit}"'


def _size_as_toml(size: int) -> str:
    power = 2 if size % 1024**2 == 0 else int(size % 1024 == 0)
    return f'"{size // 1024**power}{("B", "KiB", "MiB")[power]}"'


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_pattern(value: object) -> bool:
    return isinstance(value, str) and value not in {"", ".", ".."} and "/" not in value and "\0" not in value


def _is_path_pattern(value: object) -> bool:
    """Tell whether it is a pattern of names, each step of a path one; a `/` at either end is fine, `~/` is not."""
    if not isinstance(value, str) or value.startswith("~/"):
        return False
    return all(map(_is_pattern, value.removeprefix("/").removesuffix("/").split("/")))


def _is_text_codec(name: str) -> bool:
    try:
        b"x".decode(name)
    except UnicodeDecodeError:  # a codec of two or four bytes a character
        return True
    except (LookupError, ValueError):  # unknown, not for text, or a name that can't be one
        return False
    return True


def _is_base_url(text: str) -> bool:
    if _PLAIN_URL.fullmatch(text):
        return True
    if not text.isprintable() or " " in text:  # the parser would take some of these out in silence
        return False
    from urllib.parse import urlsplit  # noqa: PLC0415 - 2 ms that most addresses do not cost

    try:
        parts = urlsplit(text)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and not any(mark in text for mark in "?#@\\")
        )
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False


#: `true` or `false`
a_flag: Final = _as_it_stands(lambda value: isinstance(value, bool), "true or false")
#: a folder's name: it becomes a part of job ids, of upload names and of commands
a_folder_name: Final = _as_it_stands(
    lambda value: isinstance(value, str) and bool(_FOLDER_NAME.fullmatch(value)),
    "1 to 63 of a-z, 0-9 and -, with no - in front",
    example='"notes"',
)
#: the name of a codec that turns bytes into text
an_encoding: Final = _as_it_stands(
    lambda value: isinstance(value, str) and _is_text_codec(value),
    'a text encoding that Python knows, such as "utf-8", "latin-1" or "cp1252"',
)
#: a path as it was written
a_path: Final = Reader(_read_path, example='"/srv/finetuned/notes"', is_path=bool)
#: the path of the file that holds the key
a_key_file: Final = Reader(_read_key_file, is_path=bool)
#: the name of the marker beside a file; empty: no marker is asked for
a_ready_file: Final = Reader(_read_ready_file)
#: an address of this machine and a port; empty: none
a_listen_address: Final = Reader(_read_listen)
#: a program by its path, or by its name, which is searched for when it is run
a_program: Final = Reader(_read_path, is_path=lambda path: "/" in path)
#: a folder that begins with `/`, `./`, `../` or `~`, or the name of a model elsewhere
a_model: Final = Reader(_read_path, is_path=lambda path: path.startswith(("/", "./", "../", "~")))
#: a name of somebody else's: what is allowed in it is not for us to say
a_name: Final = _as_it_stands(
    lambda value: isinstance(value, str) and value.isprintable() and value == value.strip(),
    "a name on one line, with no space around it",
)
#: words for a program
some_words: Final = _as_it_stands(
    lambda value: isinstance(value, list) and all(isinstance(word, str) and "\0" not in word for word in value),
    'a list of words, such as ["--loud"]',
)
#: where an OpenAI-compatible endpoint answers: without `/chat/completions`, without a slash at the end
an_endpoint: Final = Reader(_read_some_endpoint)
#: the same; empty: none
no_endpoint: Final = Reader(_read_endpoint)
#: where the server answers: without `/api/v1`, without a slash at the end
a_url: Final = Reader(_read_url)
#: a program and its words, as they were written
a_command: Final = _as_it_stands(
    lambda value: (
        isinstance(value, list)
        and all(isinstance(word, str) and "\0" not in word for word in value)
        and (not value or bool(value[0].strip()))
    ),
    'a list, the program and its words, such as ["/usr/local/bin/tell-us", "--loud"]',
)
#: where Apprise sends a message; it may hold a password
an_address: Final = Reader(_read_address, is_secret=True)
