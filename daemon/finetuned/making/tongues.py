"""What the rules say in each language, and how a text's language is guessed.

1. A question is grammatical whatever is put into it: names and headings stand in quotes, or before a colon.
2. A language is guessed by its small words, or its script; one for which we have no words is asked in marks alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final
from unicodedata import name

from finetuned.model import Value
from finetuned.words import plain_words

#: a text with fewer small words of a language is not surely written in it: their share of its words
_ENOUGH: Final = 0.08


class Tongue(Value, frozen=True):
    """The questions of one language.

    Of a passage: `about` asks for all about a heading, `listed` for what is listed below a line, `given` for a value
    by its name, in a sentence, and `under` for one by its name as it stands there.
    Of a sentence: `goes_on` asks for its end, `gap` for what is left out of it. `what` and `who` ask what a thing, or
    somebody or something with a name, is, by the verb of the sentence; `means` does so by a pattern of it. `happened`
    asks what happened at a time, which `times` stands before. `did` asks for the subject of a verb (`verbs`); `done`
    has patterns of what was done, in which `DATE` stands for any, and their questions.
    `articles` stand before things, and a sentence that begins with a word of `not_named` names nobody.
    """

    about: str = "“{0}”?"
    listed: str = "“{0}”?"
    given: str = "{0}: {1}?"
    under: str = "{0}: {1}?"
    goes_on: str = "“{0} …”?"
    gap: str = "“{0}”: ___?"
    what: Mapping[str, str] = {}
    who: Mapping[str, str] = {}
    means: tuple[str, str] = ("", "")
    happened: str = ""
    times: str = ""
    did: str = ""
    verbs: str = ""
    done: tuple[tuple[str, str], ...] = ()
    articles: frozenset[str] = frozenset()
    not_named: frozenset[str] = frozenset()


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WHAT: Final = r"[^,;:()“”\"]{2,80}?"
_EN_DONE: Final = (
    r"(?:first |originally |officially )?(?:[a-z]{2,}ed|(?:re)?built|born|written|begun|made|held|won|sold|sent|set"
    r"|laid|cut|drawn|taken|given|shown|known|lost|led|found|hit|struck|torn)(?: (?:off|up|down|out|over|away|back))?"
)
_EN_WHEN: Final = (
    rf"(?P<what>{_WHAT}) (?P<was>was|were) (?P<done>{_EN_DONE})\b[^;:]{{0,120}}?"
    r"\b(?:in|on|between|since|by|around) DATE"
)
_EN_BY: Final = (
    rf"(?P<what>{_WHAT}) (?P<was>was|were|is|are) (?P<done>{_EN_DONE}) by (?!\d|the (?:end|time|year)|its?\b)"
)
_EN_WAS_DONE: Final = ((_EN_WHEN, "When {was} {what} {done}?"), (_EN_BY, "By whom or what {was} {what} {done}?"))
_DE_WHEN: Final = (
    rf"(?P<what>{_WHAT}) (?P<was>wurden?) (?:(?:im Jahre?|am|um|bereits|erst) )?DATE [^;:]{{0,120}}?"
    r"(?P<done>\w*ge\w+(?:t|en)|(?:be|er|ver|ent|zer)\w+(?:t|en))[.!]"
)
_DE_WAS_DONE: Final = ((_DE_WHEN, "Wann {was} {what} {done}?"),)
_ES_WHEN: Final = (
    rf"(?P<what>{_WHAT}) (?P<was>fue|fueron) (?P<done>\w+(?:[ai]d[oa]s?|scrit[oa]s?|hech[oa]s?))\b[^;:]{{0,120}}?"
    r"\b(?:en|el|hacia) DATE"
)
_ES_WAS_DONE: Final = ((_ES_WHEN, "¿Cuándo {was} {done} {what}?"),)
_EN_PAST: Final = """wrote made built found led won began became gave took told sold sent saw said came went held
    left lost met ran spoke taught thought brought bought caught chose drew drove ate fell flew fought grew kept
    knew laid sang sank shot stood swam threw wore broke founded"""
_DE_PAST: Final = """schrieb fand nahm gab kam ging sah sprach gewann begann verlor erfand entwarf schuf zog trug hielt
    ließ rief"""
#: begins no sentence that can be asked about by itself
_EN_UNNAMED: Final = _words(
    """it this that these those there he she they we i you who what which where when how why here one some many most all
    his her its their our my your such another other others each both none nothing everything everyone someone nobody
    but and or so yet if then as because although though while however therefore thus hence also still even now not no
    perhaps maybe yes well oh in on at to for from by with of after before during since until under over once only"""
)
_DE_UNNAMED: Final = _words(
    """es er sie wir ich du ihr dies diese dieser dieses jene jener jenes das man wer was wo wann wie warum hier dort
    da sein seine ihre ihr unser mein dein alle viele einige manche jeder jede beide nichts alles jemand niemand und
    aber oder denn doch wenn dann als weil obwohl während jedoch daher deshalb also auch noch nun jetzt nicht nein
    ja vielleicht in im an am auf zu zum zur für von vom mit nach vor seit bis unter über bei durch aus um so nur"""
)
_FR_UNNAMED: Final = _words(
    """il elle ils elles on nous vous je tu ce cela ça ceci c celui celle ceux qui que quoi où quand comment pourquoi
    ici là y son sa ses leur leurs mon ma mes notre votre tout tous toutes chaque certains plusieurs rien personne mais
    et ou donc or ni car si puis alors comme parce bien quoique pendant cependant ainsi aussi encore maintenant non
    oui en dans sur à au aux pour de du des par avec après avant depuis sous chez entre sans"""
)
_ES_UNNAMED: Final = _words(
    """él ella ellos ellas nosotros usted yo tú esto eso este esta estos estas ese esa aquel quien que qué donde cuando
    como por aquí allí su sus mi mis tu nuestro todo todos toda cada algunos muchos nada nadie pero y o u ni pues si
    entonces aunque mientras sin embargo así también aún ahora no sí en a al de del para con desde hasta sobre entre
    tras según se le les lo me nos hay"""
)

TONGUES: Final[Mapping[str, Tongue]] = MappingProxyType(
    {
        "en": Tongue(
            about="What is there to know about “{0}”?",
            goes_on="How does this sentence go on: “{0} …”?",
            gap="What belongs in the gap: “{0}”?",
            listed="What is listed under “{0}”?",
            given="{0}: what is the {1}?",
            under="{0}: what is given under “{1}”?",
            what={verb: f"What {verb} {{0}}?" for verb in ("is", "are", "was", "were")},
            who={verb: f"Who or what {verb} {{0}}?" for verb in ("is", "are", "was", "were")},
            did="Who or what {0}?",
            verbs=r"[a-z]{2,}ed|(?:re)?(?:" + "|".join(_EN_PAST.split()) + ")",
            done=_EN_WAS_DONE,
            articles=_words("the a an"),
            not_named=_EN_UNNAMED,
            happened="What happened {0}?",
            times="in|on|by|since|until|around|about",
        ),
        "de": Tongue(
            about="Was ist über „{0}“ bekannt?",
            goes_on="Wie geht dieser Satz weiter: „{0} …“?",
            gap="Was gehört in die Lücke: „{0}“?",
            listed="Was wird unter „{0}“ aufgezählt?",
            what={verb: f"Was {verb} {{0}}?" for verb in ("ist", "sind", "war", "waren")},
            who={verb: f"Wer oder was {verb} {{0}}?" for verb in ("ist", "sind", "war", "waren")},
            did="Wer oder was {0}?",
            verbs=r"[a-zäöüß]{3,}te|" + "|".join(_DE_PAST.split()),
            done=_DE_WAS_DONE,
            articles=_words("der die das ein eine"),
            not_named=_DE_UNNAMED,
            happened="Was geschah {0}?",
            times="im Jahre?|am|um|seit|bis",
        ),
        "fr": Tongue(
            about="Que faut-il savoir sur « {0} » ?",
            goes_on="Comment continue cette phrase : « {0} … » ?",
            gap="Qu’est-ce qui manque ici : « {0} » ?",
            listed="Qu’est-ce qui figure sous « {0} » ?",
            given="{0} : {1} ?",
            under="{0} : {1} ?",
            what=dict.fromkeys(("est", "sont", "était", "étaient", "fut"), "Qu’est-ce que {0} ?"),
            who=dict.fromkeys(("est", "était", "fut"), "{0} : qui ou qu’est-ce que c’est ?"),
            articles=_words("le la les un une"),
            not_named=_FR_UNNAMED,
            happened="Que s’est-il passé {0} ?",
            times="en|le|vers|depuis|jusqu’en",
        ),
        "es": Tongue(
            about="¿Qué hay que saber sobre «{0}»?",
            goes_on="¿Cómo sigue esta frase: «{0} …»?",
            gap="¿Qué falta aquí: «{0}»?",
            listed="¿Qué figura bajo «{0}»?",
            what={verb: f"¿Qué {verb} {{0}}?" for verb in ("es", "son", "era", "eran", "fue", "fueron")},
            who={verb: f"¿Quién o qué {verb} {{0}}?" for verb in ("es", "era", "fue")},
            did="¿Quién o qué {0}?",
            verbs=r"[a-záéíóúñ]{2,}ó|hizo|dijo|puso|tuvo|vino|dio|vio",
            done=_ES_WAS_DONE,
            articles=_words("el la los las un una"),
            not_named=_ES_UNNAMED,
            happened="¿Qué ocurrió {0}?",
            times="en|el|hacia|desde|hasta",
        ),
        "it": Tongue(
            about="Che cosa si sa di «{0}»?",
            goes_on="Come continua questa frase: «{0} …»?",
            gap="Che cosa manca qui: «{0}»?",
            listed="Che cosa è elencato sotto «{0}»?",
        ),
        "pt": Tongue(
            about="O que se sabe sobre «{0}»?",
            goes_on="Como continua esta frase: «{0} …»?",
            gap="O que falta aqui: «{0}»?",
            listed="O que está listado sob «{0}»?",
        ),
        "nl": Tongue(
            about="Wat is er bekend over “{0}”?",
            goes_on="Hoe gaat deze zin verder: “{0} …”?",
            gap="Wat hoort in het gat: “{0}”?",
            listed="Wat staat er onder “{0}”?",
        ),
        "ru": Tongue(
            about="Что известно о «{0}»?",
            goes_on="Как продолжается это предложение: «{0} …»?",
            gap="Что пропущено: «{0}»?",
            listed="Что перечислено под «{0}»?",
            means=(r"([А-ЯЁ][\w-]{1,30}(?: [\w-]{1,30}){0,2}) [—–] (?:это )?[а-яё]", "Что такое «{0}»?"),
        ),
        "zh": Tongue(
            about="关于“{0}”有哪些内容？",
            goes_on="这句话接下来怎么说：“{0}……”？",
            gap="空白处应填什么：“{0}”？",
            listed="“{0}”下列出了什么？",
            given="{0}：{1}是什么？",
            under="{0}：{1}是什么？",
            means=(r"([^，。、,是它他她这那我你此该]{1,12})是(?:一[种个位座条只项类部]|指)", "{0}是什么？"),
        ),
        "zh-Hant": Tongue(
            about="關於「{0}」有哪些內容？",
            goes_on="這句話接下來怎麼說：「{0}……」？",
            gap="空白處應填什麼：「{0}」？",
            listed="「{0}」下列出了什麼？",
            given="{0}：{1}是什麼？",
            under="{0}：{1}是什麼？",
            means=(r"([^，。、,是它他她這那我你此該]{1,12})是(?:一[種個位座條隻項類部]|指)", "{0}是什麼？"),
        ),
        "ja": Tongue(
            about="「{0}」について何が分かっていますか？",
            goes_on="この文はどう続きますか：「{0}……」？",
            gap="空欄に何が入りますか：「{0}」？",
            listed="「{0}」には何が挙げられていますか？",
            given="{0}：{1}は何ですか？",
            under="{0}：{1}は何ですか？",
            means=(r"([^、。はこそあれ]{1,14})は、?[^。]{2,200}である。", "{0}は何ですか？"),
        ),
        "": Tongue(),
    }
)
_SMALL: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "en": _words("the of and to in is that it was for with as his her on be at by had not are but from this which"),
        "de": _words(
            "der die und das den von zu ist mit sich des auf für nicht ein eine dem als auch es war sie er im"
        ),
        "fr": _words("le la les de des et un une du est que qui dans il elle pour ne pas sur au avec ce se plus par"),
        "es": _words("el la los las de que en un una es se del por con su para al lo como más pero sus era"),
        "it": _words("il la le di che un una è per non con del della si da sono gli nel al come anche più era"),
        "pt": _words("os de que um uma da em não para por se na é mais ao como dos foi das nos ele ela são"),
        "nl": _words("de het een van in is dat op te zijn met voor niet aan er ook als die bij was door naar"),
    }
)
_ADDRESS: Final = re.compile(r"https?://\S*|\S*@\S*|`[^`\n]*`")
#: characters that are written in one way only in Chinese, by which the two ways are told apart
_TRADITIONAL: Final = frozenset("們這個來時會說對發無與國學東長門問間見車馬魚鳥龍書畫為爲於後當從動愛萬歲觀氣實過還")
_SIMPLIFIED: Final = frozenset("们这个来时会说对发无与国学东长门问间见车马鱼鸟龙书画为于后当从动爱万岁观气实过还")
_SCRIPTS: Final = MappingProxyType({"HIRAGANA": "ja", "KATAKANA": "ja", "CYRILLIC": "ru", "CJK": "zh"})


def language_of(text: str) -> str:
    """Guess the language of a text: a key of `TONGUES`, empty if it is none that we have words for."""
    text = _ADDRESS.sub("", text[:8000])[:4000]
    letters = [letter for letter in text if letter.isalpha()]
    scripts = Counter(name(letter, "?").partition(" ")[0] for letter in letters)
    for script, tongue in _SCRIPTS.items():
        if scripts[script] > len(letters) * (0.1 if tongue == "ja" else 0.5):
            return "zh-Hant" if tongue == "zh" and _is_traditional(letters) else tongue
    words = plain_words(text)
    counts = {tongue: sum(word in small for word in words) for tongue, small in _SMALL.items()}
    best = max(counts, key=counts.__getitem__)
    return best if counts[best] > _ENOUGH * len(words) else ""


def _is_traditional(letters: Sequence[str]) -> bool:
    return sum(one in _TRADITIONAL for one in letters) > sum(one in _SIMPLIFIED for one in letters)
