#!/usr/bin/env bash
# watchfiles 1.3.0, Linux, 2026-11-28.
# A program that watches many directories sets `ignore_permission_denied=True`, so that one unreadable directory does not
# end the whole watch.
# One would guess: only "permission denied" is ignored; a watch that the kernel refuses because the user's limit of
#   inotify watches is met still raises OSError, as it does without the option.
# Seen: that error is swallowed, too. Of 20 directories 7 are watched, 13 are not, and nothing says so.
# Ends with 1 if that changes. Needs python3, the package index, and unprivileged user namespaces (or root).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'watchfiles==1.3.0' 'anyio==4.16.0'
for number in $(seq 20); do mkdir -p "$work/tree/$number"; done
cat > "$work/try.py" <<'P'
"""Watch 20 directories, where the kernel allows 7."""
import os
import sys

from watchfiles._rust_notify import RustNotify  # what watch() and awatch() are made of

paths = [f"{sys.argv[1]}/{number}" for number in range(1, 21)]


def watched():
    """How many inotify watches this process has."""
    count = 0
    for name in os.listdir("/proc/self/fdinfo"):
        try:
            with open(f"/proc/self/fdinfo/{name}") as info:
                count += sum(line.startswith("inotify") for line in info)
        except FileNotFoundError:  # the listing's own descriptor
            pass
    return count


seen = []
for ignore_permission_denied in (False, True):
    try:
        with RustNotify(paths, False, False, 0, False, ignore_permission_denied):
            seen.append(f"{watched()} watched, no error")
    except OSError as error:
        seen.append(f"OSError: {str(error)[:28]}")
print(*seen, sep="\n")
sys.exit(seen != ["OSError: OS file watch limit reached.", "7 watched, no error"])
P
unshare --user --map-root-user sh -c \
  "echo 7 > /proc/sys/user/max_inotify_watches && exec '$work/venv/bin/python' '$work/try.py' '$work/tree'"
