"""How times, sizes and paths of the configuration are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.settings.keys import MetricsSettings
from finetuned.settings.readers import bytes_of, host_and_port, placed, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5), ("2s", 2.0), ("15m", 900.0), ("1h", 3600.0), ("2d", 172800.0), ("1.5 h", 5400.0),
        ("0s", 0.0), ("", None), ("2", None), ("s", None), ("-1s", None), ("1e3s", None), ("2S", None),
        ("1h30m", None), ("٣s", None), ("9" * 400 + "d", None), ("2s\n", None),
    ],
)  # fmt: skip
def test_times(text, seconds):
    """A number and its unit."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1234", 1234), ("10KB", 10_000), ("10 kb", 10_000), ("64MiB", 64 * 1024**2), ("1.5KiB", 1536),
        ("2GB", 2 * 10**9), ("1TiB", 1024**4), ("7B", 7), ("", None), ("10K", None), ("-1", None),
        ("KiB", None), ("9" * 400, None),
    ],
)  # fmt: skip
def test_sizes(text, size):
    """A number of bytes, with a unit or without."""
    assert bytes_of(text) == size


@given(st.integers(0, 86_400_000))
def test_every_time_round_trips(milliseconds):
    """What is written in milliseconds is that, to the nanosecond."""
    assert abs(seconds_of(f"{milliseconds}ms") - milliseconds / 1000) < 1e-9


@pytest.mark.parametrize(
    ("path", "absolute"),
    [
        ("/a/b", "/a/b"), ("/a/../b/", "/b"), ("//a", "/a"), ("notes", "/base/notes"), ("./x/.", "/base/x"),
        ("~", "/home/me"), ("~/notes", "/home/me/notes"), ("a~", "/base/a~"), ("./~x", "/base/~x"),
    ],
)  # fmt: skip
def test_paths_become_absolute(path, absolute):
    """Relative to the file's folder, or to the home."""
    assert placed(path, base="/base", home="/home/me") == absolute


def test_a_relative_base_stays_relative():
    """The caller's base is taken as it is."""
    assert placed("x", base="here", home="") == "here/x"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9464", "127.0.0.1", 9464), ("[::1]:1", "::1", 1), ("[fe80::1%eth0]:65535", "fe80::1%eth0", 65535),
        ("10.0.0.1:80", "10.0.0.1", 80), ("localhost:9464", "localhost", 9464), ("my-host.lan:9", "my-host.lan", 9),
    ],
)  # fmt: skip
def test_addresses_and_ports(text, host, port):
    """Of IPv4, of IPv6 in brackets, by a name."""
    assert host_and_port(text) == (host, port)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("9464", "a port is missing"),
        ("localhost", "a port is missing"),
        (":9464", 'the address in front of the port is missing ("0.0.0.0" is every one of the machine)'),
        ("h:", "the port must be a number from 1 to 65535"),
        ("h:0", "the port must be a number from 1 to 65535"),
        ("h:65536", "the port must be a number from 1 to 65535"),
        ("h:-1", "the port must be a number from 1 to 65535"),
        ("h:٣", "the port must be a number from 1 to 65535"),
        ("::1:9464", "an IPv6 address stands in brackets"),
        ("[::1]", "a port is missing"),
        ("[127.0.0.1]:1", "brackets are for IPv6 addresses"),
        ("[x]:1", "there is no such address"),
        ("300.1.1.1:9464", "there is no such address"),
        ("http://h:9464", "an IPv6 address stands in brackets"),
        ("a b:9464", "there is no such address"),
        ("::1:no", "the port must be a number from 1 to 65535 and an IPv6 address stands in brackets"),
    ],
)
def test_what_is_no_address_and_port(text, words):
    """All that is wrong is told, and what is allowed."""
    with pytest.raises(ValueError, match=r"allowed: ") as error:
        host_and_port(text)
    assert str(error.value).startswith(f"{words}; allowed: ")


@pytest.mark.parametrize(
    ("listen", "is_open"),
    [
        ("", False), ("127.0.0.1:1", False), ("127.9.9.9:1", False), ("localhost:1", False), ("[::1]:1", False),
        ("0.0.0.0:1", True), ("[::]:1", True), ("192.168.1.2:1", True), ("myhost:1", True),
    ],
)  # fmt: skip
def test_who_can_reach_an_address(listen, is_open):
    """The machine itself, or perhaps others too: what is not known counts as open."""
    assert MetricsSettings(listen=listen).is_open == is_open
