"""What is text by its bytes alone is refused or warned of, as the folder wants it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from support.place import Place

APlace = Callable[..., Place]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PICTURE = f"# Otters\n\n![otter](data:image/png;base64,{'iVBORw0KGgo' * 1000})\n"


def told(place: Place) -> list[str]:
    """What the ledger says of files that were read and taken."""
    with place.reader() as reader:
        return [event["detail"] for event in reader.events() if event["cause"] == "settled"]


async def test_a_pointer_is_refused_with_the_way_out(a_place: APlace) -> None:
    """Its note says what it is, what to do, and how to have it taught all the same."""
    place = a_place()
    place.drop("a.txt", POINTER)
    await place.run()
    assert place.states() == {"a.txt": "refused"}
    assert place.sessions_on_server() == 0
    why = (place.notes / "failed" / "refused" / "a.txt.why.txt").read_text()
    assert "this kind of file is not taken: it is a pointer to something that lies elsewhere (Git LFS" in why
    assert 'leave "pointer" out of `refuse_kinds`' in why


async def test_a_folder_may_take_what_others_refuse(a_place: APlace) -> None:
    """It is warned of then, and learned."""
    place = a_place(folder=[{"refuse_kinds": []}])
    place.drop("a.txt", POINTER)
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    assert told(place)[0].startswith("it is a pointer to something")


async def test_a_warning_costs_nothing(a_place: APlace) -> None:
    """A picture in a Markdown file is told, and the file is learned; a folder may refuse it."""
    place = a_place()
    place.drop("a.md", PICTURE)
    await place.run()
    assert place.states() == {"a.md": "learned"}
    rules = msgspec.structs.replace(place.settings.folders[0], refuse_kinds=("encoded",))
    place.settings = msgspec.structs.replace(place.settings, folders=(rules,))
    place.drop("b.md", "Another. " + PICTURE)
    await place.run()
    assert place.states() == {"a.md": "learned", "b.md": "refused"}
    assert told(place) == ["it is to a large part encoded data, such as a picture, and questions are made of that, too"]


@pytest.mark.parametrize("text", ["---\n\n***\n", "\u200b\u200d\ufeff\n", "| - |\n"])
async def test_a_file_without_a_word_costs_no_session(a_place: APlace, text: str) -> None:
    """Whatever a folder takes."""
    place = a_place(folder=[{"refuse_kinds": []}])
    place.drop("a.txt", text)
    await place.run()
    assert place.states() == {"a.txt": "refused"}
    assert place.sessions_on_server() == 0


async def test_pairs_in_json_are_never_taught_as_text(a_place: APlace) -> None:
    """They are named with the way to make lines of them."""
    place = a_place(folder=[{"include": ["*.json"]}])
    place.drop("a.json", '[{"instruction": "Who?", "output": "Otters."}]')
    await place.run()
    assert place.states() == {"a.json": "refused"}
    assert "jq -c '.[]' FILE > NEW.jsonl" in (place.notes / "failed" / "refused" / "a.json.why.txt").read_text()
