"""What names mean that other programs give: still being written, copied in conflict, thrown away.

1. Only names decide. A row stands here if a program makes such names by itself and a person would hardly choose one;
   its words say who. Endings that are also ordinary suffixes (`.st`, `.td`, `.save`) are taken if `include` names
   them; common suffixes (`.bak`, `.old`, `.log`, `.1`), words in the middle (`t.tmp.txt`, `u.part.txt`), numbered
   copies (`a (1).txt`, `a 2.txt`) and OneDrive's `name-HOST.txt` are ordinary names, and stand nowhere.
2. A file is unfinished, too, while the unfinished name of its own (`a.txt.aria2`) lies beside it.
3. Names come here in one normal form (`same`) and in lower case.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

#: what programs add to the name of a file that they still write, or keep beside it until it is whole
UNFINISHED: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".aria2": "aria2",
        ".aria2__temp": "aria2",
        ".st": "axel",
        ".lftp-pget-status": "lftp",
        ".part": "Firefox, KDE, yt-dlp",
        ".ytdl": "yt-dlp",
        ".partial": "rclone, Internet Explorer, Shareaza",
        ".filepart": "WinSCP",
        ".crdownload": "Chrome, Edge",
        ".crswap": "Chrome",
        ".download": "Safari",
        ".opdownload": "Opera",
        ".wkdownload": "GNOME Web",
        ".fdmdownload": "Free Download Manager",
        ".downloading": "Baidu Netdisk",
        ".dtapart": "DownThemAll!",
        ".part.sal": "saldl",
        ".ctrl.sal": "saldl",
        ".cyberducksegment": "Cyberduck",
        ".ffs_tmp": "FreeFileSync",
        ".xltd": "Xunlei",
        ".xltd.cfg": "Xunlei",
        ".td": "Thunder",
        ".td.cfg": "Thunder",
        ".!ut": "uTorrent",
        ".!qb": "qBittorrent",
        ".!bt": "BitTorrent",
        ".bc!": "BitComet",
        ".az!": "Vuze",
        ".jc!": "FlashGet",
        ".ob!": "Orbit",
        ".mg!": "mget",
        ".bts": "Resilio Sync",
        ".!sync": "BitTorrent Sync",
        "_.gstmp": "gsutil",
        "._copying_": "hdfs",
        ".part.minio": "MinIO's client",
        ".incomplete": "uploaders, Hugging Face's hub",
        ".uploading": "uploaders",
        ".writing": "scripts",
        ".tmp": "programs of every kind",
        ".temp": "programs of every kind",
    }
)
#: those of the above that are no half of a file: the program's notes of what it has so far
CONTROL: Final = frozenset({".aria2", ".aria2__temp", ".st", ".lftp-pget-status", ".ytdl", ".xltd.cfg", ".td.cfg"})
#: what editors leave beside a text that is whole: a copy, or what was not saved yet
LEFTOVERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "~": "a backup of many editors",
        ".save": "nano's rescue copy",
        ".swp": "vim's swap file",
        ".swo": "vim's swap file",
        ".swx": "vim's swap file",
        ".kate-swp": "Kate's swap file",
        "___jb_tmp___": "a JetBrains editor",
        "___jb_old___": "a JetBrains editor",
    }
)
#: the same, where an ending is not all: what is written, what is a rest, is told by the whole name. This, and what
#: synchronizers add, is compiled for the first name that may have it, which a command seldom meets
_SHAPES: Final = r"""
    (?P<emacs>\#).*\#               # Emacs: #a.txt#
    | (?P<office>~\$).*             # Word, Excel: ~$a.txt
    | .*(?P<nano>\.save\.\d+)       # nano's second rescue copy
    | .*(?P<nginx>\.0000\d{6})       # nginx: a.txt.0000000002
    | .*(?P<mac>\.sb-[0-9a-f]{8}-\w{6})  # a safe save of macOS
"""
#: no name has a shape without one of these: far cheaper to find, and most names have none
_SHAPES_NEED: Final = re.compile(r"^[#~]|\.save\.|\.0000|\.sb-")
_MAKERS: Final = MappingProxyType(
    {"emacs": "Emacs", "office": "Office", "nano": "nano", "nginx": "nginx", "mac": "macOS"}
)
_UNFINISHED: Final = tuple(UNFINISHED)
_ENDINGS: Final = (*UNFINISHED, *LEFTOVERS)

#: what synchronizers add to a name when both sides changed
_CONFLICT: Final = r"""
    \.sync-conflict-\d{8}-\d{6}(-[a-z0-9]{7})?                      # Syncthing
    | \.conflict\d+(?=\.|$) | \.\.path[12]$                         # rclone bisync
    | _conf\(\d+\)                                                  # Google Drive
    | _[a-z]{3}-\d\d-\d{4,6}-\d{4}_(case|unicode)?conflict          # Synology Drive
    | _conflict-[^-\s]+-\d{8}-\d{6}                                # ownCloud: of somebody else's
    | [-_. ]conflict(ed)?([-_ ]copy)?[-_ ]?\d{4}-?\d\d-?\d\d([-_ ]\d{4,6})?  # ownCloud, name-HOST-conflict-DATE
    | [ ]?(\(conflicted\)|\[conflict(ed)?\])                       # pCloud, Google Drive
    | [ ]?[(\[][^()\[\]]*(
        conflict(ed|ing)?\ copy                                     # Dropbox, Nextcloud, Obsidian, Qsync
        | (case|unicode\ encoding|white\ ?space|selective\ sync|editing|name)\ conflict  # Dropbox
        | sfconflict                                                # Seafile
        | \bconflict(\ on)?\ \d{4}-\d\d-\d\d                        # Unison, Tresorit
        | \#\ name\ clash                                           # Proton Drive
        | in\ konflikt\ stehende\ kopie | konfliktkopie
        | copie\ en\ conflit | copia\ en\ conflicto | copia\ in\ conflitto
        | cópia\ em\ conflito | conflicterende?\ (kopie|exemplaar) | kopia\ powodująca\ konflikt
        | конфликтующая\ копия | 競合コピー | 冲突副本               # Dropbox in other languages
      )[^()\[\]]*[)\]]
"""
_CONFLICT_NEEDS: Final = re.compile(r"[ck]onfl|conf\(|\.\.path|clash|競合|冲突|конфл")
#: sub-folders (some only in the folder of their program) that hold what was deleted, earlier states, or what only the
#: file system's owner needs
_THROWN_AWAY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "#recycle": "what was deleted on a Synology or TerraMaster NAS",
        "#snapshot": "earlier states on a Synology NAS",
        "@eadir": "a Synology NAS's own data",
        "@tmp": "a Synology NAS's own data",
        "@sharesnap": "earlier states on a Synology NAS",
        "@recycle": "what was deleted on a QNAP NAS",
        "@recently-snapshot": "earlier states on a QNAP NAS",
        "@transcode": "a QNAP NAS's own data",
        "~snapshot": "earlier states on a NetApp filer",
        "trashbox": "what was deleted on a Buffalo NAS",
        "$recycle.bin": "what was deleted on Windows",
        "recycler": "what was deleted on Windows",
        "recycled": "what was deleted on Windows",
        "system volume information": "Windows' own data",
        "lost+found": "what a check of the file system found",
        "lost.dir": "what a check of an Android card found",
        "network trash folder": "what was deleted on a Mac's share",
        "temporary items": "a Mac's temporary files",
        "thevolumesettingsfolder": "a Mac's own data",
        "_gsdata_": "what GoodSync deleted or replaced",
        "__macosx": "a Mac's own data in an archive",
        "files_trashbin": "what was deleted in Nextcloud",
        "files_versions": "earlier states in Nextcloud",
        "logseq/bak": "earlier states in Logseq",
        "logseq/version-files": "earlier states in Logseq",
    }
)
_THROWN_AWAY_SO: Final = (
    (re.compile(r"found\.\d{3}"), "what a check of a Windows disk found"),
    (re.compile(r"@gmt-[\d.]+-[\d.]+"), "an earlier state on a Samba share"),
    (re.compile(r"(network )?recycle[ ._-]?bin( \d+| - .*)?"), "what was deleted on a NAS"),
    (re.compile(r"\(a document being saved by .*\)"), "a text that a Mac is just saving"),
)


def same(name: str) -> str:
    """Return the one form of a name in which it is compared: Unicode knows two for many a letter."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def is_unfinished(name: str) -> bool:
    """Tell whether a program writes to this name still, and gives it another one in the end, or removes it."""
    return name.endswith(_UNFINISHED)


def unfinished_mark(name: str) -> tuple[str, str] | None:
    """Tell what in a name says that its program still writes it, or left it; with that program. None: nothing does."""
    if name.endswith(_ENDINGS):
        mark = max((ending for ending in _ENDINGS if name.endswith(ending)), key=len)
        return mark, UNFINISHED.get(mark) or LEFTOVERS[mark]
    found = re.fullmatch(_SHAPES, name, re.VERBOSE | re.DOTALL) if _SHAPES_NEED.search(name) else None
    if found is None or found.lastgroup is None:
        return None
    return found[found.lastgroup], _MAKERS[found.lastgroup]


def conflict_mark(name: str) -> str | None:
    """Tell what in a name says that a synchronizer made a copy in conflict; None: nothing does."""
    found = re.search(_CONFLICT, name, re.VERBOSE) if _CONFLICT_NEEDS.search(name) else None
    return None if found is None else found[0]


def thrown_away(folder: str, above: str = "") -> str | None:
    """Tell what a sub-folder of this name, in one called `above`, holds that nobody dropped; None: nothing such."""
    known = _THROWN_AWAY.get(folder) or _THROWN_AWAY.get(f"{above}/{folder}")
    if known is not None:
        return known
    mark = unfinished_mark(folder)
    if mark is not None and mark[0] in UNFINISHED:
        return f"a download under way ({mark[1]})"
    return next((words for shape, words in _THROWN_AWAY_SO if shape.fullmatch(folder)), None)


def unfinished_by(name: str, others: Collection[str], *, empty: bool) -> str | None:
    """Return the name among the unfinished `others` beside it that says that `name` is not whole; None: none does.

    For an `empty` file it may be a browser's own: Chrome and Firefox keep the final name free by an empty file, while
    they write to `Unconfirmed 1234.crdownload`, or to eight odd letters, the suffix and `.part`; newer ones of Firefox
    put the name without its suffix before them.
    """
    own = next((name + ending for ending in UNFINISHED if name + ending in others), None)
    if own is not None or not empty:
        return own
    stem, suffix = map(re.escape, os.path.splitext(name))
    browsers = re.compile(rf"unconfirmed \d+\.crdownload|(?:{stem}\.)?[\w+-]{{8}}{suffix}\.part")
    return next((other for other in sorted(others) if browsers.fullmatch(other)), None)
