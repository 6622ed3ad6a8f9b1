"""What is text by its bytes, and no text by its kind; and what is a text although it looks odd."""

from __future__ import annotations

import base64
import binascii
import json
import time

import pytest

from finetuned.kinds import ENCODED, HEAD, KINDS, LONG_WORD, REFUSED, Kinds, holds_words

PROSE = "The otter (Lutra lutra) is a mammal; it eats fish, and sleeps by day. " * 40
PICTURE = base64.b64encode(bytes(range(256)) * 1600).decode()
WRAPPED = "\n".join(PICTURE[at : at + 76] for at in range(0, len(PICTURE), 76))
UUENCODED = "".join(binascii.b2a_uu(bytes(range(256))[n % 200 :][:45], backtick=True).decode() for n in range(300))
PAIR = {"instruction": "Who?", "output": "Otters."}
TALK = {"id": "7", "conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Otters."}]}
OPENAI = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Otters."}]}
CODE = "function a(b){return b?c(b,d=e.f(g)):h;}var i={j:k,l:(m,n)};" * 600


def kinds(text: str, size: int = 1 << 18) -> list[str]:
    """What a text is that is read in blocks."""
    found = Kinds()
    for at in range(0, len(text), size):
        found.feed(text[at : at + size])
    return found.found()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("rtf", r"{\rtf1\ansi\deff0 {\fonttbl {\f0 Times;}} Otters.\par}"),
        ("pdf", "%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"),
        ("postscript", "%!PS-Adobe-3.0\n%%Title: otters\n"),
        ("postscript", "\x04%!PS\n"),
        ("pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
        ("pointer", "version https://hawser.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
        ("pointer", "/annex/objects/SHA256E-s12--abc.txt\n"),
        ("pointer", "../.git/annex/objects/Ab/Cd/SHA256E-s12--abc.txt/SHA256E-s12--abc.txt"),
        ("pointer", "[InternetShortcut]\r\nURL=https://otters.test/\r\n"),
        ("pointer", "[Desktop Entry]\nType=Link\nURL=https://otters.test/\n"),
        ("pairs", json.dumps([PAIR])),
        ("pairs", json.dumps([PAIR], indent=2)),
        ("pairs", json.dumps(PAIR) + "\n" + json.dumps(PAIR)),
        ("pairs", json.dumps([TALK])),
        ("pairs", json.dumps({"data": [OPENAI]})),
        ("pairs", json.dumps([{"question": "Who?", "answer": "Otters."}])),
        ("pairs", json.dumps([{"prompt": "Who?", "completion": "Otters."}])),
        ("pairs", json.dumps([{"instruction": "Who?", "generation": "Otters."}])),
        ("pairs", json.dumps([{"prompt": "Who?", "chosen": "Otters.", "rejected": "Cats."}])),
        ("front_matter", "---\ntitle: Otters\ntags: [a, b]\n---\n"),
        ("front_matter", "---\r\ntitle: Otters\r\n---\r\n\r\n"),
        ("front_matter", "+++\ntitle = 'Otters'\n+++\n"),
        ("front_matter", '---\n# of the vault\nlast seen: today\n\ntags:\n- a\n  - b\n"a name": x\n]\n---\n'),
        ("key", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----\n"),
        ("key", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
        ("key", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQ\n"),
        ("key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me@home\n"),
        ("key", "PuTTY-User-Key-File-3: ssh-ed25519\n"),
        # below comments, as the programs that make them write them
        ("key", "# created: 2026-11-28\n# public key: age1x\nAGE-SECRET-KEY-1ABC\n"),
        ("key", "# mine\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me@home\n"),
        ("key", "sk-ssh-ed25519@openssh.com AAAAGnNr me@home\n"),
        ("key", "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n"),
        ("key", "Bag Attributes\n    friendlyName: otter\n-----BEGIN PRIVATE KEY-----\nMII\n"),
        ("key", "Certificate:\n    Data:\n        Version: 3 (0x2)\n"),
        ("pointer", "#!/usr/bin/env xdg-open\n[Desktop Entry]\nType=Link\n"),
        ("encoded", f"# Otters\n\n![otter](data:image/png;base64,{PICTURE})\n"),
        ("encoded", f"From a@b.test Sat Nov 28\nContent-Transfer-Encoding: base64\n\n{WRAPPED}\n"),
        ("encoded", f"BEGIN:VCARD\nPHOTO;ENCODING=b;TYPE=JPEG:{PICTURE}\nEND:VCARD\n"),
        ("encoded", WRAPPED),
        ("encoded", WRAPPED.replace("\n", "")),
        ("encoded", f"---\nexcalidraw-plugin: parsed\n---\n# Drawing\n```compressed-json\n{WRAPPED}\n```\n"),
        ("encoded", f"begin 644 otter.png\n{UUENCODED}`\nend\n"),
        ("encoded", f"{PROSE}\nbegin 644 otter.png\n{UUENCODED}`\nend\n"),
        ("minified", CODE),
        ("minified", f"/* (c) otters */\n{CODE}"),
        ("html", "<!DOCTYPE html>\n<html><body>Otters</body></html>"),
        ("html", "<!-- saved -->\n<HTML lang=en>"),
        ("html", '<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x">\n<html>'),
        ("svg", '<?xml version="1.0"?>\n<!-- x -->\n<svg width="1">'),
        ("svg", "<svg>"),
        ("xml", '<?xml version="1.0"?>\n<otters/>'),
        ("json", '{"otters": 3}'),
        ("json", "{}"),
        ("json", json.dumps([{"name": "otter"}] * 3, indent=2)),
        ("json", json.dumps([[1, 2], [3, 4]])),
        ("json", json.dumps({"messages": [{"id": 1, "text": "a chat, no talk with a model"}]})),
    ],
)
def test_every_kind_is_known_by_what_it_holds(kind: str, text: str) -> None:
    """Wherever blocks end, and with a mark or blanks in front."""
    assert kinds(text) == [kind]
    assert kinds(text, 1000) == [kind]
    if kind not in {"encoded", "minified", "front_matter"}:
        assert kinds("\ufeff\n" + text) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        PROSE.replace("\n", " ") * 400,  # 900 KB in one line
        "山猫は川で魚を捕る。" * 3000,
        "# Otters\n\n- [ ] a task\n- [a link](http://otters.test)\n",
        "[a link](http://otters.test) begins a text",
        "[1] Otters, their ways. 1999.\n[2] More otters.\n",
        '["quoted"] is how it begins',
        "{curly} braces begin it",
        "{{< shortcode >}}\n",
        "---\ntitle: Otters\n---\n\nThe otter is a mammal.\n",
        "---\n\nBetween two rules.\n\n---\n",
        "---\n\nMind: between two rules.\n\n---\n",
        "---\nMind: otters bite.\nThey have teeth, too.\n---\n",
        "# Keys\n\nA key is for a lock.\n",
        "# How a key looks\n\n-----BEGIN PUBLIC KEY-----\nMII\n-----END PUBLIC KEY-----\n\nIt begins so.\n",
        "Certificates tell who somebody is.",
        "--- a/otter.py\n+++ b/otter.py\n@@ -1 +1 @@\n",
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nOtters.\n",
        "----- Forwarded message -----\n",
        "A tutorial: a key begins with -----BEGIN PRIVATE KEY-----",
        "version 2 of the otter",
        "%PDF is how a PDF begins",
        "% a LaTeX comment\n\\documentclass{article}\n",
        "<div align=center>\n\n# Otters\n</div>\n",
        "<p>an otter</p>",
        "date,otters\n2026-11-28,3\n",
        "1\n00:00:01,000 --> 00:00:02,000\nOtters.\n",
        "From a@b.test Sat Nov 28\nSubject: otters\n\nOtters.\n",
        "The word base64 alone, and " + PROSE,
        f"{PROSE * 20}\n![icon](data:image/png;base64,{PICTURE[: ENCODED - 1]})\n",
        f"{PROSE * 500}\n![icon](data:image/png;base64,{PICTURE[: ENCODED + 1]})\n",
        "begin 644 is how a uuencoded part begins\n" + PROSE,
        "Let us begin\nbegin with otters\n" + PROSE,
        "SELECT a, b, c FROM otters;\n" * 2000,
        "x" * (HEAD * 2),
        "ssh-keygen makes keys",
        "",
    ],
)
def test_what_is_a_text_is_none_of_these(text: str) -> None:
    """A wrong warning is a nuisance, and a wrong refusal worse."""
    assert kinds(text) == []
    assert kinds(text, 1000) == []


@pytest.mark.parametrize(
    "text", ["a", "7", "é", "山", "٣", "🦦", "---\na\n---", "\u200bword", "\ue000", "---\n🦦\n", "→ ½"]
)
def test_what_may_teach_something_holds_words(text: str) -> None:
    """Any letter, any digit, any picture."""
    assert holds_words(text)


@pytest.mark.parametrize(
    "text", ["", " \n", "\u200b\u200c\u200d\u2060\ufeff", "---\n\n***\n___\n", "=====", "| - |\n", "#\n>\n*"]
)
def test_what_can_teach_nothing_holds_none(text: str) -> None:
    """Blanks, what has no width, rules and the frames of tables."""
    assert not holds_words(text)


def test_what_is_refused_is_a_kind_that_is_told() -> None:
    """The names in a configuration are those of the table."""
    assert set(REFUSED) < set(KINDS)


@pytest.mark.parametrize(
    "text",
    [
        "<!-- a -->" * 1000 + "text",
        "<!-- a -->" + " " * HEAD + "x",
        "<" + "!-- " * 4000,
        "annex/objects/" * 1200 + " x",
        "---\na: b\n" + "\n---" * 4000 + "x",
        "-----BEGIN " + "KEY " * 4000,
        '{"messages":[{' * 1200,
        "base64 " + ("a" * (LONG_WORD - 1) + ".") * 4000,
    ],
)
def test_nobody_can_make_it_slow(text: str) -> None:
    """The shapes are read once, whatever they are fed: each of these would take years otherwise, or seconds."""
    began = time.process_time()
    kinds(text)
    assert time.process_time() - began < 1.0
