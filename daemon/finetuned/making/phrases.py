"""Questions that speak of "the text", in several languages: what the phrase is, and what is left without it.

1. Who is asked later has no text beside him. A phrase that only says where the answer stands ("according to the
   passage") is taken out, if a whole question is left; all else that speaks of the text makes a question useless.
2. A word such as "text" or "section" by itself is none: people write texts about texts.
3. A question in English about a "he" or a "she" that it does not name needs the text, too.
"""

from __future__ import annotations

import re
from typing import Final

from finetuned.words import plain_words

#: a question without the phrase has at least so many words, or so many letters where no spaces are written
_LEAST_WORDS: Final = 3

_EN: Final = (
    r"(?:(?:given|provided|above|following|present|entire) )?"
    r"(?:passage|text|excerpt|document|article|paragraph|author|writer|narrator|snippet|source|chunk|context|story"
    r"|chapter|section|information(?: (?:given|provided|above))?)"
)
_DE: Final = (
    r"(?:(?:vorliegenden?|gegebenen?|obigen?|folgenden?) )?"
    r"(?:text(?:es|s)?|abschnitts?|absatz(?:es)?|dokuments?|passage|artikels?|textstelle|auszugs?|autors?|verfassers?)"
)
_FR: Final = r"(?:texte|passage|document|extrait|article|paragraphe|auteur|contexte|récit)"
_ES: Final = r"(?:texto|pasaje|documento|fragmento|artículo|párrafo|autor|extracto|contexto)"
_IT: Final = r"(?:testo|brano|documento|passaggio|articolo|paragrafo|autore|estratto)"
_PT: Final = r"(?:texto|trecho|documento|artigo|parágrafo|autor|passagem|excerto)"
_NL: Final = r"(?:tekst|passage|document|artikel|alinea|fragment|auteur)"
_RU: Final = r"(?:текст[уеа]?|отрывк[уеа]|документ[уеа]?|стать[еёи]|абзац[уеа]?|автор[уа]?|фрагмент[уеа]?)"

_ZH: Final = r"(?:文章|文本|文档|文檔|段落|材料|原文|短文|段文字|文字|文|内容)"
_SAY: Final = (
    r"(?:say|state|mention|describe|discuss|suggest|impl|provide|give|list|explain|refer|tell|did|do|talk|note|indicate"
    r"|claim|argue|specif|contain|is about|about|cover|focus|present|define|include|mean|does)"
)

#: says where the answer stands, and nothing else
_SAYS_WHERE: Final = (
    rf"(?:according to|as (?:stated|described|mentioned|given) (?:in|by)|based on|from) (?:the|this) {_EN}",
    rf"as per (?:the|this) {_EN}",
    rf"(?:laut|gemäß|nach(?: angaben)?) (?:de[mrs]|diese[mr]) {_DE}",
    rf"laut {_DE}",
    rf"(?:dem|diesem|der) {_DE} (?:zufolge|nach)",
    rf"(?:selon|d['’]après) (?:l[ea] |l['’]|ce(?:t|tte)? ){_FR}",
    rf"(?:según|de acuerdo con|conforme a) (?:el|la|este|esta) {_ES}",
    rf"(?:secondo|in base a)(?: il| lo| la| questo)? ?(?:l['’])?{_IT}",
    rf"(?:segundo|conforme|de acordo com) (?:o|a|este|esta) {_PT}",
    rf"volgens (?:de|het|deze|dit) {_NL}",
    rf"(?:согласно|судя по|исходя из) (?:этому |данному |этого |данного )?{_RU}",
    rf"(?:根据|按照|依据|據|根據)(?:本|上|这|该|此|以上|上述|所给|这段|這段)?{_ZH}(?:的描述|的内容|所述)?",
    r"(?:本文|文章|この文章|この文|テキスト|文書|この文書)(?:によると|によれば|に基づくと)",
    r"(?:본문|이 글|지문|글|텍스트)에 (?:따르면|의하면)",
    r"(?:وفق[ًا]*|حسب|بحسب|طبق[ًا]*) ?(?:لل|ال)(?:نص|مقال|وثيقة|فقرة|مقطع)",
)
#: says in what it is; what stands before it may need it
_SAYS_IN_WHAT: Final = (
    rf"in (?:the|this) {_EN}",
    rf"(?:im|in dem|in diesem|in der|in dieser) {_DE}",
    rf"dans (?:l[ea] |l['’]|ce(?:t|tte)? ){_FR}",
    rf"en (?:el|la|este|esta) {_ES}",
    rf"(?:nel|nello|nella|in questo|in questa)(?: |l['’]){_IT}",
    rf"(?:n[oa]|neste|nesta|nessa|nesse) {_PT}",
    rf"in (?:de|het|deze|dit) {_NL}",
    rf"в (?:этом |данном |этой |данной )?{_RU}",
)
#: speaks of the text, and cannot be taken out
_SPEAKS_OF_IT: Final = (
    rf"(?:the|this) {_EN}(?:['’]s)? {_SAY}",
    rf"(?:does|did|do|is|was|of|by|about|from|with) (?:the|this) {_EN}(?=\W*$| {_SAY})",
    r"(?:mentioned|described|listed|given|stated|shown|discussed) (?:above|below|here|earlier|previously)",
    rf"(?:sagt|nennt|beschreibt|erwähnt|behandelt|erklärt|enthält) (?:der|die|das|dieser|diese|dieses) {_DE}",
    rf"(?:im|in dem|in diesem|in der) {_DE} (?:genannt|erwähnt|beschrieben|behandelt|angegeben|dargestellt|erklärt)",
    rf"(?:dit|mentionne|décrit|parle|explique) (?:l[ea] |l['’]|ce(?:t|tte)? ){_FR}",
    rf"(?:dice|menciona|describe|habla|trata|explica) (?:el|la|este|esta) {_ES}",
    rf"(?:dice|menziona|descrive|parla) (?:il |lo |la |l['’]|questo ){_IT}",
    r"(?:この文章|この文|本文|この段落)(?:では|の|に|は|で)",
    r"(?:본문|이 글|지문)(?:에서|의|은|는)",
    r"(?:في|هذا|هذه) (?:هذا )?(?:النص|المقال|الوثيقة|الفقرة|المقطع)",
)
#: what is said to be in a text needs it: "which animals are mentioned in the text"
_NEEDS_IT: Final = re.compile(
    r"(?:mention|describ|discuss|list|given|stat|present|show|said|refer|nam|found|use|told|cit|report|happen|décri|évoqu"
    r"|parl|nomm|menc|descri|trat|menz|indic|упомина|упомян|опис|говор|сказ|genoemd|beschreven|vermeld)\w*\s*$",
    re.IGNORECASE,
)
_MARKS: Final = r"[\s,，、:،]{0,3}"
_BEFORE: Final = r"(?<![\w'’-])"
_WHERE: Final = re.compile(rf"{_MARKS}{_BEFORE}(?:{'|'.join(_SAYS_WHERE)})(?![^\W_]*[a-zа-яё]){_MARKS}", re.IGNORECASE)
_IN: Final = "|".join(_SAYS_IN_WHAT)
_AT_AN_END: Final = re.compile(rf"^(?:{_IN})[,:]\s?|[\s,]{{0,3}}{_BEFORE}(?:{_IN})(?=\s?[?!.]*\s?$)", re.IGNORECASE)
_IN_WHAT: Final = re.compile(rf"^(?:{_IN})(?!-)\b|{_BEFORE}(?:{_IN})(?=\s?(?:[,?.!;:)]|$))", re.IGNORECASE)
_OF_IT: Final = re.compile("|".join(rf"(?<!\w)(?:{one})" for one in _SPEAKS_OF_IT), re.IGNORECASE)
_OF_IT_IN_HAN: Final = re.compile(r"(?<![论課课])(?:本文|文中|文章中|这段话|这段文字|上文|本段|該文|该文)")
#: an answer that is none
_NO_ANSWER: Final = re.compile(
    rf"(?:the|this) {_EN} (?:does not|doesn['’]t|do not|did not|provides no|gives no|says nothing|only (?:says|states))"
    r"|not (?:mentioned|stated|specified|given|provided|described|explicitly \w+)(?: or \w+)? (?:in|by) (?:the|this)"
    rf" {_EN}|(?:im|in dem|in diesem) {_DE} (?:nicht|kein)|n['’]est pas (?:mentionn|précis|indiqu)"
    r"|no se (?:menciona|especifica)|не (?:упомина|указан)|(?:文中|文章|本文)(?:没有|未|并未)"
    r"|\bas an ai (?:language )?model"
    r"|\A(?:i['’]m sorry.{0,20})?\bi (?:cannot|can['’]t|am unable to) (?:answer|help|provide|find|determine|assist)",
    re.IGNORECASE,
)
#: small letters without which none of all these is found: to look for them takes a fifth of the time
_MAY_SPEAK: Final = re.compile(
    r"passag|text|tekst|testo|excer|extra[cti]|document|arti[ckg]|artíc|para?gra|parágra|párra|auth?or|auteur|writer"
    r"|narrat|snippet|source|chunk|context|story|chapter|section|information|abschn|absatz|auszug|verfass|récit|pasaj"
    r"|fragment|brano|estratt|trecho|alinea|above|below|here|earlier|previous|cannot|can['’]t|unable|as an ai|mention"
    r"|menciona|especifica|précis|indiqu|текст|отрыв|документ|стат|абзац|автор|фрагмент|упомина|указан"
    r"|[文段材内テ本글지텍본]|نص|مقال|وثيقة|فقرة|مقطع"
)
_STARTS: Final = re.compile(
    rf"(?:(?:the|this) {_EN} (?:says|states|mentions|explains|notes|describes) that )", re.IGNORECASE
)
_PRONOUN: Final = re.compile(r"(?<![\w'’-])(?:he|she|him|they|them)(?![\w'’-])")
_NAMED: Final = re.compile(
    r"(?<=[\s(\"“'‘«])[^\W\d_a-z]\w+|\d{2,}|\b(?:an?|the|[Ww]hich|[Ww]hat) (?!did|does|do|was|were|is|are|had|has)\w+"
)
_QUOTED: Final = re.compile(r"“[^”]*”|\"[^\"]*\"")
_IN_ENGLISH: Final = re.compile(
    r"(?:what|who|whom|whose|when|where|why|how|which|did|does|do|was|were|is|are|had|has)\b", re.IGNORECASE
)


def question_without_the_text(question: str) -> str | None:
    """Return a question without the phrase that says where its answer stands; null: it needs the text."""
    if not _MAY_SPEAK.search(question.lower()):
        return question
    words, taken = _WHERE.sub(_gap, question, count=1), bool(_WHERE.search(question))
    at_an_end = _AT_AN_END.search(words)
    if at_an_end and not _NEEDS_IT.search(words[: at_an_end.start()]):
        words, taken = words[: at_an_end.start()] + words[at_an_end.end() :], True
    if taken and (len(plain_words(words)) < _LEAST_WORDS or _NEEDS_IT.search(words.rstrip(" ?!.？"))):
        return None
    if _WHERE.search(words) or _IN_WHAT.search(words) or _OF_IT.search(words) or _OF_IT_IN_HAN.search(words):
        return None
    return _begun(words) if taken else words


def answer_without_the_text(answer: str) -> str | None:
    """Return an answer without the phrase that says where it stands; null: it says that the text has none."""
    if not _MAY_SPEAK.search(answer.lower()):
        return answer
    if _NO_ANSWER.search(answer):
        return None
    start = _STARTS.match(answer)
    words = _WHERE.sub(_gap, answer[start.end() if start else 0 :])
    return answer if words == answer else _begun(words)


def _gap(found: re.Match[str]) -> str:
    """Return what stands in the place of a phrase: a blank, if one was on either side."""
    before, after, phrase = found.string[: found.start()], found.string[found.end() :], found[0]
    if not before or not after or after[0] in ",.;":
        return ""
    return " " if phrase[-1].isspace() or (phrase[0].isspace() and after[0] not in "?!") else ""


def _begun(words: str) -> str:
    """Begin a sentence with a capital."""
    words = words.strip()
    at = next((place for place, letter in enumerate(words) if letter.isalnum()), 0)
    return words[:at] + words[at : at + 1].upper() + words[at + 1 :]


def names_nobody(question: str) -> bool:
    """Tell whether a question in English speaks of somebody whom it has not named."""
    words = _QUOTED.sub("", question)
    pronoun = _PRONOUN.search(words) if _IN_ENGLISH.match(words) else None
    return bool(pronoun and not _NAMED.search(words, 0, pronoun.start()))
