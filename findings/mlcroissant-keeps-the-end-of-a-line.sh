#!/usr/bin/env bash
# mlcroissant 1.1.1 with pandas 3.1.1, Linux, 2026-11-30.
# A data set's Croissant metadata tells that a text file is read by its lines (fileProperty lines), and a JSON Lines file
# by its columns; every field is sc:Text.
# One would guess: a record for each line, with the whole line, and its number; a string in JSON stays that string.
# Seen: lines are read as CSV (read.py, Read._read_file_content, by pandas.read_csv with one name). If the first line has
#   the most commas, what stands before them is gone from each line, and lines with fewer commas are None. Without any
#   comma, an empty line is left out, and those after it count one less; a line that says "None" is None, and a line in
#   quotes loses them. In JSON Lines the answers 007 and 1066 are 7 and 1066, as pandas.read_json guesses types first and
#   the field's type comes after.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'mlcroissant==1.1.1' 'pandas==3.1.1'
cat > "$work/try.py" <<'P'
"""Describe three files, and read their records."""
import hashlib
import json
import logging
import pathlib
import sys

import mlcroissant as mlc

logging.disable(logging.WARNING)
folder = pathlib.Path(sys.argv[1])
LINE = {"line": mlc.Extract(file_property="lines"), "number": mlc.Extract(file_property="lineNumbers")}
ANSWER = {"answer": mlc.Extract(column="answer")}


def read(name, kind, text, **extracts):
    (folder / name).write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    file = mlc.FileObject(id="file", name=name, content_url=name, encoding_formats=[kind], sha256=digest)
    fields = [
        mlc.Field(id=key, name=key, data_types=mlc.DataType.TEXT, source=mlc.Source(file_object="file", extract=how))
        for key, how in extracts.items()
    ]
    records = mlc.RecordSet(id="records", name="records", fields=fields)
    about = mlc.Metadata(name="otters", url="https://example.org", distribution=[file], record_sets=[records])
    path = folder / f"{name}.json"
    path.write_text(json.dumps(about.to_json()))
    return [tuple(record.values()) for record in mlc.Dataset(jsonld=path).records("records")]


seen = [
    read("commas.txt", "text/plain", "In spring, as in fall, otters swim.\nFoxes, rarely.\nOwls fly.\n", **LINE),
    read("plain.txt", "text/plain", 'Who swims?\n\nNone\n"Otters."\n', **LINE),
    read("pairs.jsonl", "application/jsonlines", '{"answer": "007"}\n{"answer": "1066"}\n', **ANSWER),
]
print(*seen, sep="\n")
sys.exit(
    seen
    != [
        [(b" otters swim.", b"0"), (None, b"1"), (None, b"2")],
        [(b"Who swims?", b"0"), (None, b"1"), (b"Otters.", b"2")],
        [(b"7",), (b"1066",)],
    ]
)
P
HOME="$work" "$work/venv/bin/python" "$work/try.py" "$work"
