#!/usr/bin/env bash
# mergerfs 2.33.5 (Debian 12), Linux, 2026-11-28.
# Where rename() may not replace a file, programs move one safely by link() and then unlink() of the old name.
# One would guess: link() makes a second name of the same file, or fails (with EXDEV, across branches of the pool).
# Seen: with `link-exdev=rel-symlink` (meant for programs that need link() to work across branches) it succeeds and makes
#   a symbolic link. unlink() of the old name, the second half of such a move, then removes the only copy.
# What helps: after link() compare the two names' inodes (st_nlink stays 1 here) before the old one is unlinked.
# Ends with 1 if that changes. Needs root, /dev/fuse and Debian 12's package archive.
set -euo pipefail
work=$(mktemp -d)
trap 'umount -l "$work/pool" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq mergerfs=2.33.5-1
dpkg -x mergerfs_*.deb root
mkdir -p one/here two/there pool
root/usr/bin/mergerfs -o link-exdev=rel-symlink one:two pool
echo "the only copy" > pool/there/a.txt
python3 - <<'P'
import os
import stat
import sys

os.link("pool/there/a.txt", "pool/here/a.txt")
symbolic = stat.S_ISLNK(os.lstat("pool/here/a.txt").st_mode)
names = os.lstat("pool/there/a.txt").st_nlink
os.unlink("pool/there/a.txt")
lost = not os.path.exists("pool/here/a.txt")
print(f"link() succeeded; a symbolic link: {symbolic}; names of the file: {names}; its content is lost: {lost}")
sys.exit((symbolic, names, lost) != (True, 1, True))
P
