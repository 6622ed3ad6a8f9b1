#!/usr/bin/env bash
# fastparquet 2026.9.0 with pyarrow 26.0.0, pandas 3.1.1, Linux, 2026-11-28.
# A Parquet file has a column of lists of strings, and one of lists of structs (a talk: role and content), as data sets
# of chats on hubs do.
# One would guess: fastparquet reads both, or raises an error for the type that it does not know.
# Seen: the lists of strings are read; the lists of structs are None in every row, and nothing says so. pyarrow and pandas
#   with pyarrow read both.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'fastparquet==2026.9.0' 'pyarrow==26.0.0' 'pandas==3.1.1'
cat > "$work/try.py" <<'P'
"""Read nested columns by two libraries; a warning is an error."""
import sys

import fastparquet
import pyarrow as pa
import pyarrow.parquet as pq

path = f"{sys.argv[1]}/talks.parquet"
talk = [{"role": "user", "content": "Who swims?"}, {"role": "assistant", "content": "Otters."}]
table = pa.table({"tags": [["a"], ["b", "c"]], "turns": [talk, talk]})
pq.write_table(table, path)
whole = pq.read_table(path).to_pydict()
read = fastparquet.ParquetFile(path).to_pandas().to_dict("list")
print("pyarrow:", whole, "\nfastparquet:", read)
sys.exit(whole != table.to_pydict() or read != {"tags": [["a"], ["b", "c"]], "turns": [None, None]})
P
"$work/venv/bin/python" -W error -W ignore::ResourceWarning "$work/try.py" "$work"
