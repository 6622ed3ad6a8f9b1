"""The pages as headless Chromium shows them: light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from support.browsing import browsing
from support.chromium import Page, browser
from support.cli import Desk, desks

PAGES: Final = {
    "start": "/",
    "tables": "/ledger",
    "view": "/ledger/finished_jobs",
    "pairs": "/ledger/qa_pairs?_search=otter",
    "answer": "/ledger/search_pairs?words=otter",
    "sql": "/ledger?sql=select+id,+'x',+1+from+jobs",
}
#: of each element that holds text itself: how its colour and the one behind it differ, by the rule of WCAG
CONTRASTS: Final = """
(() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = color => {
    const parts = rgb(color).slice(0, 3).map(v => v / 255);
    const [r, g, b] = parts.map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor, alpha = rgb(color)[3];
      if (alpha === undefined || alpha > 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const faults = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility({visibilityProperty: true})) continue;
    if (element.closest("svg, script, style, option")) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
    const contrast = (a + .05) / (b + .05);
    if (contrast < 4.5)
      faults.push(`${element.className} ${contrast.toFixed(1)}: ${element.textContent.trim().slice(0, 40)}`);
  }
  return faults;
})()
"""
#: controls without a name, and content that is in no landmark
NAMELESS: Final = """
(async () => {
  await new Promise(done => setTimeout(done, 50));
  const faults = [];
  for (const e of document.querySelectorAll("input:not([type=hidden], [type=submit]), select, textarea"))
    if (!e.labels.length && !e.getAttribute("aria-label")) faults.push(e.outerHTML.slice(0, 80));
  if (document.querySelectorAll("main, [role=main]").length !== 1) faults.push("there is not one main part");
  return faults;
})()
"""
#: dates of a chart that run into the one before
CROWDED: Final = """
[...document.querySelectorAll(".chart .day")].map(e => [e.textContent, e.getBoundingClientRect()])
  .filter(([, box]) => box.width).sort(([, a], [, b]) => a.left - b.left)
  .filter(([, box], n, all) => n && box.left < all[n - 1][1].right + 4)
  .map(([words]) => words)
"""
#: of the start page: tables without a name, pictures without words, and headings that leave a level out
SPEECHLESS: Final = """
(() => {
  const faults = [];
  for (const e of document.querySelectorAll("table")) if (!e.caption) faults.push("a table without a caption");
  for (const e of document.querySelectorAll("svg"))
    if (!e.hasAttribute("aria-hidden") && !e.querySelector("title")) faults.push("a picture without words");
  for (const e of document.querySelectorAll("th")) if (!e.scope) faults.push("a head of nothing: " + e.textContent);
  let last = 0;
  for (const e of document.querySelectorAll("h1, h2, h3, h4")) {
    const level = Number(e.tagName[1]);
    if (level > last + 1) faults.push("a level is left out before " + e.textContent);
    last = level;
  }
  if (document.querySelectorAll("h1").length !== 1) faults.push("there is not one h1");
  return faults;
})()
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A ledger with something in it."""
    with desks(tmp_path_factory.mktemp("browser")) as make:
        desk = make()
        desk.to_the_present()
        desk.place.drop("otter.txt")
        desk.place.drop(f"{'a-long-name-without-an-end-' * 8}.txt", "Foxes are red. They run.")
        desk.place.drop("bad.txt", b"\xe9")
        desk.run()
        yield desk


@pytest.fixture(scope="module")
def address(desk: Desk) -> Iterator[str]:
    """Where the pages are served."""
    with browsing(desk.config, "--port", "0", "--no-open") as (_, address):
        yield address.rstrip("/")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser."""
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", PAGES)
def test_each_page_can_be_read(address: str, shown: Page, name: str, width: int, dark: bool) -> None:
    """It fits, its text stands out from what is behind it, nothing is missing, and nothing comes from elsewhere."""
    shown.show(address + PAGES[name], width=width, dark=dark)
    assert shown.complaints == []
    assert {asked for asked in shown.asked if not asked.startswith((f"{address}/", "data:"))} == set()
    assert shown.value("document.documentElement.scrollWidth") <= width
    assert shown.value("document.documentElement.lang") == "en"
    assert shown.value(CONTRASTS) == []
    assert shown.value(NAMELESS) == []
    assert shown.value(CROWDED) == []
    background = shown.value("getComputedStyle(document.body).backgroundColor")
    assert (int(background.removeprefix("rgb(").partition(",")[0]) < 100) is dark


def test_the_start_page_can_be_heard(address: str, shown: Page) -> None:
    """Each table and picture has its words, and headings follow each other."""
    shown.show(f"{address}/")
    assert shown.value(SPEECHLESS) == []


def test_a_search_can_be_typed(address: str, shown: Page) -> None:
    """From the start page to the pairs that were meant."""
    shown.show(f"{address}/")
    shown.value('document.querySelector("#words").value = "otter"')
    shown.value('document.querySelector("form[role=search]").submit()')
    shown.settle()
    assert shown.value("location.pathname + location.search") == "/ledger/search_pairs?words=otter"
    assert shown.value('document.querySelectorAll(".rows-and-columns tbody tr").length') > 0


def test_a_picture_of_the_page_is_no_blank(address: str, shown: Page) -> None:
    """What a person would see: many colours are in it."""
    shown.show(f"{address}/")
    picture = shown.picture()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
