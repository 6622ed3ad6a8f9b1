"""Hooks under the unit: run as its user, in its sandbox, and a test message proves it."""

from __future__ import annotations

import json
from collections.abc import Callable

from support.installed import Service

AService = Callable[..., Service]
#: lays what it is told, and what it can see, where the unit may write, by names that no folder takes
TELL = """#!/bin/sh
cd /srv/finetuned/notes && env > .env && id -un > .user && cat > .told
"""


def test_a_hook_works_in_the_units_sandbox_and_gets_no_key(a_service: AService) -> None:
    """`doctor --hooks`, as a person of the group types it, has the service send a test message as its own user."""
    service = a_service()
    service.write("/usr/local/bin/tell", TELL, mode=0o755)
    before = service.inside(service.config).read_text()
    service.write(service.config, f'{before}\n[[hook]]\ncommand = ["tell"]\n')
    service.systemctl("start")
    found = json.loads(service.finetuned("doctor", "--hooks", "--json", check=False))
    words = [row["words"] for row in found if row["subject"] == "hook 1 (tell)"]
    assert words == ["/usr/local/bin/tell can be run", "took a test message"]
    laid = {name: service.inside(f"{service.notes}/.{name}").read_text() for name in ("told", "env", "user")}
    assert json.loads(laid["told"])["title"] == "finetuned: a test"
    assert laid["user"] == "finetuned\n"
    assert not {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "FINETUNED_API_KEY"} & {
        line.partition("=")[0] for line in laid["env"].splitlines()
    }
