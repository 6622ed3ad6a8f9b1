#!/usr/bin/env bash
# Datasette 0.65.5, SQLite 3.40, Linux, 2026-11-28.
# A view over a table with a full-text index is asked with `_search`; a database with a log beside it is opened by `-i`.
# One would guess: rows that match, or an error; the rows that were committed, or an error.
# Seen: all rows of the view, with status 200, unless metadata names its index and its key (`fts_table`, `fts_pk`);
#   and by `-i` no table at all, with status 200, as what is in the log is not read.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'datasette==0.65.5'
cat > "$work/try.py" <<'P'
"""Make a database, keep its log open, and ask Datasette."""
import asyncio
import sqlite3
import sys

from datasette.app import Datasette

path = sys.argv[1]
db = sqlite3.connect(path)
db.executescript(
    """pragma journal_mode = wal;
    create table texts (id integer primary key, text text);
    create virtual table texts_fts using fts5 (text, content = "texts");
    create view shown as select id, text from texts;
    insert into texts (text) values ('otter'), ('fox');
    insert into texts_fts (texts_fts) values ('rebuild');"""
)
KEY = {"databases": {"live": {"tables": {"shown": {"fts_table": "texts_fts", "fts_pk": "id"}}}}}


async def rows(metadata):
    pages = Datasette([path], metadata=metadata)
    answer = await pages.client.get("/live/shown.json?_search=otter&_shape=array")
    return answer.status_code, len(answer.json())


async def tables():
    answer = await Datasette([], immutables=[path]).client.get("/live.json")
    return answer.status_code, len(answer.json()["tables"])


async def seen():
    return [await rows({}), await rows(KEY), await tables()]


found = asyncio.run(seen())
print("a view, the same with its key, by -i:", found)
sys.exit(found != [(200, 2), (200, 1), (200, 0)])
P
"$work/venv/bin/python" "$work/try.py" "$work/live.db"
