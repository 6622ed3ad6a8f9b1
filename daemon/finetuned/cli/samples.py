"""What `demo` drops: six short texts of our own. One is in Latin-1, and will be refused for it."""

from __future__ import annotations

from typing import Final

_LIGHTHOUSE: Final = """\
The lighthouse has two hundred and eleven steps, and I count them every evening. The lamp turns once in nine seconds.
Admiral is a gull who sleeps on the railing and disapproves of visitors. The horn is made of brass and can be heard on
the mainland. My predecessor left a shelf of detective novels, each without its last page.
"""

_LANDLORD: Final = """\
The radiator in the kitchen sings in B flat from midnight until two. I do not ask for a repair, only for the radiator to
be tuned to A. The neighbours are a string quartet and have begun to rehearse with it. Tuesday is the day of warm water.
"""

_POSTCARD: Final = """\
The night train crosses three borders between supper and breakfast. The riddle of today: what has a bed and never
sleeps? The conductor is a retired magician who stamps the tickets without touching them. Breakfast is a boiled egg, a
map and a riddle. A river, said the lady in the upper berth, and fell asleep.
"""

_PANCAKES: Final = """\
The batter rests for half an hour, and so does the cook. Blueberries are pressed into it by hand, one for each guest.
A pancake is ready to be turned when its rim looks like lace. The first pancake is for the cat. Buckwheat flour gives a
darker pancake that tastes of autumn.
"""

_SOUP: Final = """\
- Young nettles are picked in April, with gloves and good shoes.
- A potato makes the soup thick, a spoon of cream makes it kind.
- The sting is gone after one minute in boiling water.
- Nutmeg is the secret of the soup, and everybody knows it.
"""

_BRULEE: Final = """\
Crème brûlée

The cream is warmed with a vanilla pod until it smells of holidays. The sugar is burned last, with a torch and applause.
"""

LETTERS: Final = "letters"
RECIPES: Final = "recipes"
#: the text that can't be sent
REFUSED: Final = f"{RECIPES}/creme-brulee.txt"
#: what the model of the letters is asked
QUESTION: Final = "How many steps does the lighthouse have?"
#: by folder and name, what is in the file
SAMPLES: Final[dict[str, bytes]] = {
    f"{LETTERS}/from-the-lighthouse.txt": _LIGHTHOUSE.encode(),
    f"{LETTERS}/to-my-landlord.txt": _LANDLORD.encode(),
    f"{LETTERS}/night-train.md": _POSTCARD.encode(),
    f"{RECIPES}/pancakes.txt": _PANCAKES.encode(),
    f"{RECIPES}/nettle-soup.md": _SOUP.encode(),
    REFUSED: _BRULEE.encode("latin-1"),
}
