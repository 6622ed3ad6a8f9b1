#!/usr/bin/env bash
# @huggingface/jinja 0.5.11 (Node 20) with Jinja2 3.1.6, Linux, 2026-11-29.
# A chat template turns a talk into the text that is trained and asked. The templates of Qwen3 and of many models after
# it take what the model thought away with `split('</think>')[-1].lstrip('\n')`; the answer behind it begins with an
# indented line of a program.
# One would guess: the text is the same in Python (transformers) and in JavaScript (Transformers.js), or the call is
#   refused there, as the filter `trim` with an argument is.
# Seen: in JavaScript strip, lstrip and rstrip pay no heed to their argument. The line loses its indent, and quotes that
#   should go stay: the model reads another text than it was trained on, and nothing says so.
# Ends with 1 if that changes. Needs node, npm, python3 and both package indexes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'jinja2==3.1.6'
npm install --silent --no-audit --no-fund --prefix "$work" '@huggingface/jinja@0.5.11'
cat > "$work/talk.json" <<'J'
{"answer": "<think>\nA loop?\n</think>\n\n    return x\n", "title": "\"Otters\""}
J
cat > "$work/talk.jinja" <<'J'
<bot>{{ answer.split('</think>')[-1].lstrip('\n').rstrip('\n') }}<end> {{ title.strip('"') }}
J
cat > "$work/try.py" <<'P'
import json
import sys

import jinja2

print(jinja2.Template(open(sys.argv[1]).read()).render(json.load(open(sys.argv[2]))))
P
cat > "$work/try.mjs" <<'J'
import { readFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";

const [template, talk] = process.argv.slice(2).map((name) => readFileSync(name, "utf8"));
process.stdout.write(new Template(template).render(JSON.parse(talk)));
J
python=$("$work/venv/bin/python" "$work/try.py" "$work/talk.jinja" "$work/talk.json")
javascript=$(node "$work/try.mjs" "$work/talk.jinja" "$work/talk.json")
printf '%s\n' "$python" "$javascript"
[ "$python" = '<bot>    return x<end> Otters' ]
[ "$javascript" = '<bot>return x<end> "Otters"' ]
