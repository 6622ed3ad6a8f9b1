"""The recipes of the page `hooks`, word for word but for the address, each sent to a real receiver."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetuned.errors import HookFailed
from finetuned.hooks import apprise_is_there, environment, send, understands
from finetuned.notices import test_event as a_test
from finetuned.notices import told
from finetuned.runtime import SystemRuntime
from finetuned.settings import HookSettings, parse
from support.receivers import post_office, web

PAGE = Path(__file__).parents[2] / "daemon" / "finetuned" / "docs" / "hooks.md"
EVENT = a_test("2026-11-23T05:23:11Z") | {"id": 17, "subject": "job", "subject_id": "notes-1", "became": "failed"}
JOB = {"id": "notes-1", "folder": "notes", "files": 2, "pairs": None, "reason": "no “memory” is left"}
MESSAGE = told(EVENT, JOB, ())
TEXT = MESSAGE["text"]


def recipes(title: str) -> list[HookSettings]:
    """The hooks of a section of the page."""
    section = PAGE.read_text().partition(f"\n### {title}\n")[2].partition("\n### ")[0]
    texts = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    assert texts
    folder = [{"name": "notes", "path": "/notes"}]
    return [parse(tomllib.loads(text) | {"folder": folder}, base="/").hooks[0] for text in texts]


def sends(hook: HookSettings, told: dict[str, Any] = MESSAGE) -> None:
    """Send the message."""
    measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    around = environment({"PATH": "/usr/local/bin:/usr/bin:/bin"}) | measured
    send(hook, told, environment=around, steady=SystemRuntime().steady)


def elsewhere(hook: HookSettings, exchange: Callable[[str], str]) -> HookSettings:
    """The hook with another address."""
    command = tuple(exchange(word) for word in hook.command)
    return HookSettings(command=command, url=hook.url and exchange(hook.url))


@pytest.mark.parametrize("program", ["curl", "jq"])
def test_the_recipes_programs_are_there(program: str) -> None:
    """`.ci/run` installs them."""
    assert shutil.which(program)


def test_mail() -> None:
    """A mail with title and text, to whom the address names, for whoever knows the password."""
    (hook,) = recipes("Mail")
    with post_office() as (at, mails):
        real = {"mailtos://": "mailto://", "mail.example.org:587": at, "PASSWORD": "s3cret-word"}
        sends(elsewhere(hook, lambda url: re.sub("|".join(real), lambda found: real[found[0]], url)))
    (mail,) = mails
    assert (mail["Subject"], mail["X-Rcpt"]) == (MESSAGE["title"], "you@example.org")
    assert "finetuned@example.org" in mail["From"]
    body = mail.get_body(("plain",))
    assert body is not None
    assert body.get_content().split() == TEXT.split()


def test_ntfy() -> None:
    """By Apprise with the title, and by curl."""
    by_apprise, by_curl = recipes("ntfy")
    with web() as (at, posted):
        sends(elsewhere(by_apprise, lambda url: url.replace("ntfys://ntfy.example.org", f"ntfy://{at}")))
        assert posted[0].json["topic"] == "TOPIC"
        assert (posted[0].json["title"], posted[0].json["message"].split()) == (MESSAGE["title"], TEXT.split())
    with web() as (at, posted):
        put = elsewhere(by_curl, lambda word: word.replace("https://ntfy.example.org", f"http://{at}"))
        sends(put)
        assert (posted[0].path, posted[0].body.decode()) == ("/TOPIC", f"{TEXT}\n")


def test_slack() -> None:
    """The JSON of an incoming webhook."""
    (hook,) = recipes("Slack")
    with web() as (at, posted):
        sends(elsewhere(hook, lambda word: word.replace("https://hooks.slack.com", f"http://{at}")))
    assert (posted[0].path, posted[0].json) == ("/services/T0/B0/X", {"text": f"{MESSAGE['title']}\n{TEXT}"})
    assert posted[0].headers["Content-Type"] == "application/json"


def test_a_webhook_gets_the_whole_message() -> None:
    """As JSON."""
    (hook,) = recipes("A webhook")
    with web() as (at, posted):
        sends(elsewhere(hook, lambda word: word.replace("https://example.org", f"http://{at}")))
    assert (posted[0].path, posted[0].json) == ("/finetuned", MESSAGE)


def test_a_webhook_that_says_no_has_not_taken_it() -> None:
    """curl tells why."""
    (hook,) = recipes("A webhook")
    with web(answer=503) as (at, _), pytest.raises(HookFailed, match=r"curl ended with exit code 22: .*503"):
        sends(elsewhere(hook, lambda word: word.replace("https://example.org", f"http://{at}")))


@pytest.mark.parametrize("kind", ["ntfy", "json", "mailto"])
def test_a_receiver_that_is_not_there_is_told_without_the_address(kind: str) -> None:
    """Neither the password, nor the topic, nor the host: any of them may be the secret."""
    with web() as (at, _):
        pass
    hook = HookSettings(url=f"{kind}://user:s3cret%2Dword@{at}/hidden-topic?to=you@example.org", timeout=20.0)
    with pytest.raises(HookFailed) as failed:
        sends(hook)
    words = failed.value.with_remedy()
    assert words.startswith("Apprise ended with exit code 1: ")
    for part in ("s3cret", "hidden", at, "example.org", "python"):
        assert part not in words


def test_a_refusal_is_told_with_what_was_said() -> None:
    """The number that the service answered with."""
    with web(answer=507) as (at, _), pytest.raises(HookFailed, match=r"^Apprise ended with exit code 1: .*507"):
        sends(HookSettings(url=f"ntfy://{at}/topic"))


def test_an_address_that_is_none_is_known() -> None:
    """Of a service that there is not, or with something missing; and nothing of it is written."""
    assert apprise_is_there()
    around = {"environment": environment({}), "steady": SystemRuntime().steady}
    assert understands("ntfys://ntfy.example.org/topic", **around)
    assert not understands("nosuchservice://secret", **around)
    assert not understands("slack://", **around)
    with pytest.raises(HookFailed, match=r"^Apprise ended with exit code 1: .*it does not understand") as failed:
        sends(HookSettings(url="nosuchservice://hidden-secret"))
    assert "hidden" not in str(failed.value)
