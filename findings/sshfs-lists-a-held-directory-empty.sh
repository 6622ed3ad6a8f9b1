#!/usr/bin/env bash
# sshfs 3.7.3 with libfuse 3.14.0 (Debian 12), Linux, 2026-11-28.
# A program that must not be fooled by a directory that is exchanged keeps it open and lists it again and again by its
# descriptor; Python's os.listdir(fd) and os.scandir(fd) rewind it first.
# One would guess: each listing shows what lies there now, as on every local file system.
# Seen: the first listing is right; once the directory has changed, the next one by the same descriptor is empty (it is
#   one SFTP handle, which stands at its end), and sshfs then shows the empty listing to every other program, too, until
#   its directory cache forgets it.
# What helps: open the directory anew for each listing, openat(fd, ".").
# Ends with 1 if that changes. Needs root, /dev/fuse and Debian 12's package archive; no network and no SSH server.
set -euo pipefail
work=$(mktemp -d)
trap 'umount -l "$work/mount" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq sshfs=3.7.3-1.2~deb12u1 libfuse3-3=3.14.0-4 openssh-sftp-server=1:9.2p1-2+deb12u10
for package in ./*.deb; do dpkg -x "$package" root; done
mkdir behind mount
printf '#!/bin/sh\nexec "%s/root/usr/lib/openssh/sftp-server"\n' "$work" > ssh   # takes the place of ssh
chmod +x ssh
libraries=$(dirname "$(find "$work/root" -name 'libfuse3.so.3')")
LD_LIBRARY_PATH=$libraries root/usr/bin/sshfs -o "ssh_command=$work/ssh" "nobody:$work/behind" mount
python3 - <<'P'
import os
import sys

held = os.open("mount", os.O_RDONLY | os.O_DIRECTORY)
open("mount/a.txt", "w").close()
first = os.listdir(held)
open("mount/b.txt", "w").close()
second, others = os.listdir(held), os.listdir("mount")
behind = sorted(os.listdir("behind"))
print(f"first: {first}; after a change: {second}; by another program: {others}; on the server: {behind}")
sys.exit((first, second, others, behind) != (["a.txt"], [], [], ["a.txt", "b.txt"]))
P
