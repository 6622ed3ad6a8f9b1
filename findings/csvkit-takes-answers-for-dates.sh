#!/usr/bin/env bash
# csvkit 2.2.0 with agate 1.14.2, Linux, 2026-11-29.
# Question-answer pairs lie in JSON Lines; every answer is a string there, in quotes. in2csv writes them as CSV.
# One would guess: what is a string in JSON stays one, as types have to be guessed for CSV alone.
# Seen: if all answers of a file are names of months or days, they become dates of the year 1 (may: 0001-05-01, monday:
# 0001-01-08); if all are yes or no, they become True and False. With -I these stay, and None is still emptied.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'csvkit==2.2.0' 'agate==1.14.2'

convert() {  # convert FLAG... -- ANSWER...: the answers as CSV has them, one a line
  local flags=()
  while [ "$1" != -- ]; do flags+=("$1"); shift; done
  shift
  printf '{"question": "When, or whether?", "answer": "%s"}\n' "$@" > "$work/pairs.ndjson"
  "$work/venv/bin/in2csv" "${flags[@]}" -f ndjson "$work/pairs.ndjson" | sed '1d; s/.*",//'
}

dates=$(convert -- may monday)
words=$(convert -- yes no)
kept=$(convert -I -- may monday yes no None end)
printf '%s\n' "$dates" "$words" "$kept"
[ "$dates" = $'0001-05-01\n0001-01-08' ]
[ "$words" = $'True\nFalse' ]
[ "$kept" = $'may\nmonday\nyes\nno\n\nend' ]
