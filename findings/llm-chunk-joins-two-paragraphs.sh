#!/usr/bin/env bash
# llm-chunk 0.0.1 (its last), Node 20, Linux, 2026-11-30.
# A text is to be cut into passages by chunk(), which Genkit's guide to retrieval takes: at its paragraphs, which is what
# it does untold; at a delimiter of one's own; or at sentences, of which several make a passage.
# One would guess: each paragraph, or line, is a passage, or stands apart from the next one within it; and what a
#   sentence says stays as it is.
# Seen: every two paragraphs are one passage, with nothing between them: the last word of the first and the first word
#   of the second are one word, and two numbers are one. chunk() takes every other part for what stood between two, which
#   is so only where the pattern is in parentheses, as the one of sentences is. That one ends a sentence at every dot, and
#   sentences are joined by a blank: 3.5 becomes 3. 5. No error tells it.
# Ends with 1 if that changes. Needs node, npm and its package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm install --silent --no-audit --no-fund --prefix "$work" 'llm-chunk@0.0.1'
cat > "$work/try.mjs" <<'J'
// Cut one text in three ways, each time into passages for which there is room.
import { deepStrictEqual } from "node:assert";
import { chunk } from "llm-chunk";

const text = "An otter weighs 3.5 kg.\n\nCounted in the Elbe: 12\n\n7 of them were young";
const seen = {
  paragraphs: chunk(text.replace("An", "The otter\n\nAn")),
  "of one's own": chunk("Elbe: 12\nOder: 7\nHavel: 3", { delimiters: "\\n" }),
  "in parentheses": chunk("Elbe: 12\nOder: 7\nHavel: 3", { delimiters: "(\\n)" }),
  sentences: chunk(text, { splitter: "sentence", minLength: 1000, maxLength: 2000 }),
};
console.log(seen);
deepStrictEqual(seen, {
  paragraphs: ["The otterAn otter weighs 3.5 kg.", "Counted in the Elbe: 127 of them were young"],
  "of one's own": ["Elbe: 12Oder: 7", "Havel: 3"],
  "in parentheses": ["Elbe: 12\n", "Oder: 7\n", "Havel: 3"],
  sentences: ["An otter weighs 3. 5 kg. Counted in the Elbe: 12\n 7 of them were young"],
});
J
node "$work/try.mjs"
