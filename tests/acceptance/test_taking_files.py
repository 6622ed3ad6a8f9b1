"""What is taken from the folders, when, and with whom it shares a job."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from finetuned.plan import first_look
from finetuned.sandbox import Pace
from support.place import Place

APlace = Callable[..., Place]


def text(n: int) -> str:
    """Some text that is different for each number."""
    return f"Stone number {n} is a smooth pebble. It came from river {n}."


async def test_odd_files_get_their_reasons_and_the_others_go_on(a_place: APlace) -> None:
    """Whatever lies in the folder, each file gets its state, and none keeps another from being learned."""
    place = a_place(folder=[{"max_file_bytes": "10KB"}])
    place.drop("good.txt")
    place.drop("latin.txt", b"caf\xe9 au lait")
    place.drop("nul.txt", b"a\0b")
    place.drop("big.txt", "x" * 20_000)
    place.drop("empty.txt", b"")
    place.drop("picture.png", b"\x89PNG")
    place.drop("half.txt.part")
    place.drop("a" * 251 + ".txt", "A long name is only a name.")
    place.drop(os.fsdecode(b"odd-\xff\n.txt"), "An odd name is only a name, too.")
    os.symlink(place.notes / "good.txt", place.notes / "link.txt")
    os.mkfifo(place.notes / "pipe.txt")
    (place.notes / "folder.txt").mkdir()
    place.drop("folder.txt/inside.txt", "Inside a folder with a file's name lies a file.")
    outcome = await place.run()
    assert not outcome.failed
    states = place.states()
    assert {name: state for name, state in states.items() if state != "learned"} == {
        "latin.txt": "refused",
        "nul.txt": "refused",
        "big.txt": "refused",
        "empty.txt": "refused",
    }
    assert sorted(name for name, state in states.items() if state == "learned") == sorted(
        ["good.txt", "inside.txt", "a" * 251 + ".txt", "odd-\\xff\n.txt"]
    )
    refused = sorted(p.name for p in (place.notes / "failed" / "refused").iterdir())
    assert refused == sorted(
        [n + s for n in ("latin.txt", "nul.txt", "big.txt", "empty.txt") for s in ("", ".why.txt")]
    )
    why = (place.notes / "failed" / "refused" / "latin.txt.why.txt").read_text()
    assert "0xe9 at offset 3" in why
    assert "finetuned retry" in why
    left = {p.name for p in place.notes.iterdir()} - {"done", "failed", ".processing"}
    assert left == {"picture.png", "half.txt.part", "link.txt", "pipe.txt", "folder.txt"}


async def test_two_folders_never_share_a_job(a_place: APlace) -> None:
    """Each folder is a data set of its own; sub-folders belong to it."""
    place = a_place(folder=[{}, {}])
    place.drop("one.txt", text(1))
    place.drop("deep/er/two.txt", text(2))
    other = place.root / "notes1"
    (other / "three.txt").write_text(text(3))
    await place.run()
    assert sorted((job["folder"], job["files"], job["state"]) for job in place.jobs()) == [
        ("notes", 2, "done"),
        ("notes1", 1, "done"),
    ]
    done = place.notes / "done" / next(j["id"] for j in place.jobs() if j["folder"] == "notes")
    assert (done / "deep" / "er" / "two.txt").read_text() == text(2)


async def test_first_level_sub_folders_can_be_kept_apart(a_place: APlace) -> None:
    """With group_by = subfolder no job mixes two of them."""
    place = a_place(folder=[{"group_by": "subfolder"}])
    for n, name in enumerate(["a/1.txt", "a/x/2.txt", "b/3.txt", "4.txt"]):
        place.drop(name, text(n))
    await place.run()
    by_job: dict[str, set[str]] = {}
    for row in place.files().values():
        by_job.setdefault(row["job_id"], set()).add(row["path"].rsplit("/notes/")[-1])
    assert sorted(map(sorted, by_job.values())) == [["4.txt"], ["a/1.txt", "a/x/2.txt"], ["b/3.txt"]]


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        ({"max_files": 2}, [2, 2, 1]),
        ({"max_chunks": 18}, [2, 2, 1]),
        ({"max_bytes": 120}, [2, 2, 1]),
        ({"max_bytes": 1}, [1, 1, 1, 1, 1]),
    ],
)
async def test_a_job_keeps_the_limits(a_place: APlace, limits: dict[str, int], sizes: list[int]) -> None:
    """Files, bytes and chunks are bounded; what is over a bound by itself goes alone."""
    place = a_place(folder=[limits])
    for n in range(5):
        place.drop(f"{n}.txt", text(n))
    await place.run()
    assert [job["files"] for job in place.jobs()] == sizes


async def test_a_full_job_goes_at_once_and_the_rest_waits_for_linger(a_place: APlace) -> None:
    """Only a batch that is not full waits for company."""
    place = a_place(folder=[{"max_files": 2, "linger": "10m"}])

    async def script() -> None:
        for n in range(3):
            place.drop(f"{n}.txt", text(n))
        assert await place.until(lambda: place.network.sent() != []) < 10
        assert await place.until(lambda: len(place.network.sent()) == 2) > 580

    await place.run(until_idle=False, script=script)
    assert [job["files"] for job in place.jobs()] == [2, 1]


async def test_a_file_that_still_grows_is_not_taken(a_place: APlace) -> None:
    """A writer that stalls for less than `settle` is waited for."""
    place = a_place(folder=[{"settle": "10s", "linger": "0s"}])

    async def script() -> None:
        path = place.drop("log.txt", "The first sentence is here. ")
        for n in range(12):
            await place.pass_time(8.0)
            with path.open("a") as file:
                file.write(f"Line {n} is another one. ")
        await place.until(lambda: place.states().get("log.txt") == "learned")

    await place.run(until_idle=False, script=script)
    learned = next(place.notes.glob("done/*/log.txt")).read_text()
    assert "Line 11" in learned
    assert place.sessions_on_server() == 1


async def test_a_writer_that_stalls_longer_than_settle_is_waited_for(a_place: APlace) -> None:
    """Whoever has a file open for writing has not finished, however long it takes."""
    place = a_place(folder=[{"settle": "1s", "linger": "0s"}])

    async def script() -> None:
        with (place.notes / "slow.txt").open("w") as file:
            file.write("The first half is written. ")
            file.flush()
            await place.pass_time(300)
            assert place.network.sent() == []
            file.write("The second half is written.")
        await place.until(lambda: place.states().get("slow.txt") == "learned")

    await place.run(until_idle=False, script=script)
    assert "second half" in next(place.notes.glob("done/*/slow.txt")).read_text()


async def test_known_content_is_not_learned_again(a_place: APlace) -> None:
    """A duplicate costs nothing, whether it comes later or together with its twin."""
    place = a_place()
    place.drop("one.txt", text(1))
    place.drop("twin.txt", text(1))
    await place.run()
    place.drop("later.txt", text(1))
    await place.run()
    assert sorted(place.states().values()) == ["duplicate", "duplicate", "learned"]
    assert len(list(place.notes.glob("done/duplicates/*.txt"))) == 2
    assert place.sessions_on_server() == 1
    assert all(row["reason"] for row in place.files().values() if row["state"] == "duplicate")


async def test_duplicates_can_be_sent(a_place: APlace) -> None:
    """With duplicates = send equals are learned, but never in one job."""
    place = a_place(folder=[{"duplicates": "send"}])
    for name in ("one.txt", "two.txt", "three.txt"):
        place.drop(name, text(1))
    await place.run()
    assert list(place.states().values()) == ["learned"] * 3
    assert [job["files"] for job in place.jobs()] == [1, 1, 1]


async def test_the_same_path_dropped_again_is_a_new_file(a_place: APlace) -> None:
    """What was learned stays learned; what comes to its place is another file."""
    place = a_place()
    place.drop("diary.txt", text(1))
    await place.run()
    place.drop("diary.txt", text(2))
    await place.run()
    with place.reader() as reader:
        assert [row["state"] for row in reader.files()] == ["learned", "learned"]


async def test_kept_files_stay_and_are_learned_once_for_each_content(a_place: APlace) -> None:
    """With after = keep nothing in the folder is touched, and an edit makes a new version."""
    place = a_place(folder=[{"after": "keep"}])
    path = place.drop("notes.txt", text(1))
    bad = place.drop("bad.txt", b"\xff\xfe\xfd")
    await place.run()
    await place.run()
    assert place.sessions_on_server() == 1
    assert {p.name for p in place.notes.iterdir()} == {"notes.txt", "bad.txt"}
    path.write_text(text(2))
    await place.run()
    assert path.exists()
    assert bad.exists()
    with place.reader() as reader:
        assert sorted(row["state"] for row in reader.files()) == ["learned", "learned", "refused"]
    kept = {p.name for p in (place.root / "state" / "ledger.db.kept").rglob("*") if p.is_file()}
    assert {"job.json", "pairs.jsonl"} <= kept
    assert not any(name.endswith(".txt") and "why" not in name for name in kept)


async def test_learned_files_can_be_deleted_and_only_they(a_place: APlace) -> None:
    """after = delete touches learned files only; their papers stay."""
    place = a_place(folder=[{"after": "delete"}])
    place.drop("good.txt", text(1))
    place.drop("numbers.txt", "1234567")
    await place.run()
    assert place.states() == {"good.txt": "learned", "numbers.txt": "barren"}
    assert list(place.notes.rglob("good.txt")) == []
    assert len(list(place.notes.glob("failed/*/numbers.txt"))) == 1
    assert len(list(place.notes.glob("done/*/pairs.jsonl"))) == 1
    assert place.files()["good.txt"]["location"] is None


async def test_an_empty_file_is_refused_only_after_a_minute(a_place: APlace) -> None:
    """Programs touch first and write later."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        path = place.drop("later.txt", b"")
        place.drop("never.txt", b"")
        await place.pass_time(50)
        path.write_text(text(1))
        await place.until(lambda: sorted(place.states().values()) == ["learned", "refused"])

    await place.run(until_idle=False, script=script)
    assert place.states()["later.txt"] == "learned"


async def test_a_ready_file_is_waited_for_and_moved_along(a_place: APlace) -> None:
    """With ready_file a file goes only when its marker is there."""
    place = a_place(folder=[{"ready_file": "{name}.done", "linger": "0s"}])

    async def script() -> None:
        place.drop("data.txt", text(1))
        await place.pass_time(60)
        assert place.network.sent() == []
        place.drop("data.txt.done", b"")
        await place.until(lambda: place.states().get("data.txt") == "learned")

    await place.run(until_idle=False, script=script)
    assert {p.name for p in place.notes.iterdir()} & {"data.txt", "data.txt.done"} == set()


async def test_a_file_that_is_taken_away_again_has_vanished(a_place: APlace) -> None:
    """Whoever removes a file before it was taken finds that in the ledger."""
    place = a_place(folder=[{"linger": "1h"}])

    async def script() -> None:
        path = place.drop("gone.txt", text(1))
        await place.until(lambda: place.states().get("gone.txt") == "waiting")
        path.unlink()
        await place.until(lambda: place.states().get("gone.txt") == "vanished")

    await place.run(until_idle=False, script=script)
    assert place.network.sent() == []


async def test_a_waiting_file_that_changes_is_learned_as_it_is_then(a_place: APlace) -> None:
    """What is sent is what lies there when the job is claimed, never a mixture."""
    place = a_place(folder=[{"linger": "5m"}])

    async def script() -> None:
        path = place.drop("draft.txt", text(1))
        await place.until(lambda: place.states().get("draft.txt") == "waiting")
        path.write_text(text(2) + " And more is said here.")
        await place.until(lambda: place.states().get("draft.txt") == "learned")

    await place.run(until_idle=False, script=script)
    assert "river 2" in next(place.notes.glob("done/*/draft.txt")).read_text()
    assert place.sessions_on_server() == 1


async def test_a_folder_that_goes_away_has_lost_nothing(a_place: APlace) -> None:
    """While a folder is away nothing in it vanished and nothing is made in its place; then all goes on."""
    place = a_place(folder=[{"linger": "2m"}])
    elsewhere = place.root / "elsewhere"

    async def script() -> None:
        place.drop("a.txt", text(1))
        await place.until(lambda: place.states().get("a.txt") == "waiting")
        place.notes.rename(elsewhere)
        await place.pass_time(600)
        assert not place.notes.exists()
        assert place.states() == {"a.txt": "waiting"}
        with place.reader() as reader:
            assert reader.folders()["notes"]["state"] == "away"
        elsewhere.rename(place.notes)
        await place.until(lambda: place.states().get("a.txt") == "learned")

    await place.run(until_idle=False, script=script)


async def test_what_is_left_out_or_thrown_away_is_never_taken(a_place: APlace) -> None:
    """Excluded folders, bins and copies in conflict stay where they are; the ledger never hears of them."""
    place = a_place(folder=[{"exclude": ["drafts", "old/**"]}])
    left = ("drafts/1.txt", "x/drafts/2.txt", "old/3.txt", "#recycle/4.txt", "$RECYCLE.BIN/S-1/$R5.txt",
            "x/@eaDir/6.txt", "good.sync-conflict-20260101-120000-ABCDEFG.txt")  # fmt: skip
    for n, name in enumerate(("good.txt", "x/old/good.txt", *left)):
        place.drop(name, text(n))
    await place.run()
    with place.reader() as reader:
        learned = sorted(row["path"].removeprefix(f"{place.notes}/") for row in reader.files())
    assert learned == ["good.txt", "x/old/good.txt"]
    assert all((place.notes / name).exists() for name in left)


async def test_a_vault_keeps_its_own_done(a_place: APlace) -> None:
    """With after = keep nothing of ours lies in the folder, and `done` and `failed` are folders like others."""
    place = a_place(folder=[{"after": "keep"}])
    paths = [place.drop(name, text(n)) for n, name in enumerate(["done/a.txt", "failed/b.txt", "done/x/c.txt"])]
    await place.run()
    await place.run()
    assert set(place.states().values()) == {"learned"}
    assert len(place.states()) == 3
    assert all(path.exists() for path in paths)
    assert {p.name for p in place.notes.iterdir()} == {"done", "failed"}


async def append_lines(place: Place, name: str, pauses: list[float]) -> None:
    """Open, write and close once for each line, with these pauses between; the watch rings."""
    for n, pause in enumerate([*pauses, 0.0]):
        with (place.notes / name).open("a") as file:
            file.write(f"{text(n)}\n")
        place.sweep_soon()
        await place.pass_time(pause)


def lines(place: Place, name: str) -> list[int]:
    """How many lines each learned file of this name has."""
    return sorted(len(path.read_text().splitlines()) for path in place.notes.glob(f"done/*/{name}"))


#: wget's pauses between its tries; people's between two saves; steady programs'
PAUSES = [
    list(map(float, range(1, 11))),
    [3.0, 2.0, 4.0, 1.0, 5.0],
    *([pause] * 7 for pause in (1.0, 3.0, 4.0, 5.0, 9.0)),
]


@pytest.mark.parametrize("pauses", PAUSES)
async def test_a_text_that_comes_line_by_line_is_learned_once(a_place: APlace, pauses: list[float]) -> None:
    """Programs that close the file after each line, or between two tries, are known by their rhythm."""
    place = a_place()

    async def script() -> None:
        await append_lines(place, "log.txt", pauses)
        await place.until(lambda: place.states().get("log.txt") == "learned")

    await place.run(until_idle=False, script=script)
    assert lines(place, "log.txt") == [len(pauses) + 1]
    assert [job["state"] for job in place.jobs()] == ["done"]


@pytest.mark.parametrize("pauses", PAUSES)
async def test_without_company_to_wait_for_a_rhythm_is_learned_from_the_second_line(
    a_place: APlace, pauses: list[float]
) -> None:
    """Where the first line is taken at once, all others are one text."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        await append_lines(place, "log.txt", pauses)
        await place.until(lambda: sum(lines(place, "log.txt")) == len(pauses) + 1)

    await place.run(until_idle=False, script=script)
    assert len(lines(place, "log.txt")) <= 2
    assert len(place.jobs()) == len(lines(place, "log.txt"))


@pytest.mark.parametrize("rules", [{}, {"settle": "300ms", "linger": "1s"}, {"linger": "0s"}])
@pytest.mark.parametrize("is_new", [True, False])
async def test_a_note_that_is_saved_again_and_again_is_one_training(
    a_place: APlace, rules: dict[str, str], is_new: bool
) -> None:
    """With after = keep six saves in 15 s are one version, whether the note was known or not."""
    place = a_place(folder=[{"after": "keep"} | rules])
    path = place.notes / "note.txt"

    async def script() -> None:
        if not is_new:
            path.write_text(text(99))
            await place.until(lambda: place.states().get("note.txt") == "learned")
        before = place.sessions_on_server()
        for n in range(6):
            path.write_text(text(n))
            await place.pass_time(3.0)
        await place.until(lambda: place.sessions_on_server() > before)
        await place.pass_time(120.0)
        assert place.sessions_on_server() == before + 1

    await place.run(until_idle=False, script=script)
    assert place.states() == {"note.txt": "learned"}


async def test_who_stalled_and_broke_off_has_settle_to_come_back(a_place: APlace) -> None:
    """Quiet time is counted from the last sight of a writer, so that a broken upload can be resumed."""
    place = a_place(folder=[{"settle": "10s", "linger": "0s"}])
    path = place.notes / "upload.txt"

    async def script() -> None:
        with path.open("w") as file:
            file.write(text(1))
            file.flush()
            await place.pass_time(68.0)
        await place.pass_time(9.0)
        with path.open("a") as file:
            file.write(text(2))
        await place.until(lambda: place.states().get("upload.txt") == "learned")

    await place.run(until_idle=False, script=script)
    assert place.sessions_on_server() == 1
    assert next(place.notes.glob("done/*/upload.txt")).read_text() == text(1) + text(2)


async def test_a_copy_that_comes_in_one_go_waits_for_settle_and_no_more(a_place: APlace) -> None:
    """What a rhythm needs costs nobody who has none."""
    place = a_place(folder=[{"linger": "0s", "settle": "2s"}])

    async def script() -> None:
        for n in range(3):
            place.drop(f"{n}.txt", text(n))
            assert await place.until(lambda n=n: len(place.network.sent()) == n + 1) < 2.0 + 5.0 + 0.5  # type: ignore[misc]

    await place.run(until_idle=False, script=script)


@pytest.mark.parametrize("rules", [{"linger": "0s"}, {"after": "keep"}, {"ready_file": "{name}.ok"}])
async def test_an_unfinished_name_beside_a_file_is_waited_out(a_place: APlace, rules: dict[str, str]) -> None:
    """Half a download stays where it is while its control file lies there; the whole is learned once, soon after."""
    place = a_place(folder=[rules])

    async def script() -> None:
        path = place.drop("a.txt", "Half a sentence is")
        control = place.drop("a.txt.aria2", b"\0\1")
        place.drop("a.txt.ok", b"")
        await place.pass_time(300.0)
        assert place.network.sent() == []
        assert "'a.txt.aria2'" in place.files()["a.txt"]["reason"]
        path.write_text(text(1))
        await place.pass_time(20.0)
        control.unlink()
        assert await place.until(lambda: place.states().get("a.txt") == "learned") < 60.0

    await place.run(until_idle=False, script=script)
    assert place.sessions_on_server() == 1
    assert place.files()["a.txt"]["reason"] is None


async def test_an_unfinished_file_is_no_work_to_wait_for(a_place: APlace) -> None:
    """A control file that nobody removes keeps its file, visibly, and no run from ending."""
    place = a_place()
    place.drop("a.txt", text(1))
    place.drop("a.txt.st", b"")
    place.drop("b.txt", text(2))
    outcome = await place.run()
    assert not outcome.failed
    assert place.states() == {"a.txt": "settling", "b.txt": "learned"}
    assert "remove that" in place.files()["a.txt"]["reason"]


async def test_a_file_that_changed_while_it_waited_makes_no_job(a_place: APlace) -> None:
    """What is written to more seldom than it is looked at is found out before a job is made of it."""
    place = a_place(folder=[{"linger": "30s"}])
    path = place.notes / "log.txt"

    async def script() -> None:
        for n in range(10):
            with path.open("a") as file:
                file.write(f"{text(n)}\n")
            await place.pass_time(25.0)
        await place.until(lambda: place.states().get("log.txt") == "learned")

    await place.run(until_idle=False, script=script)
    assert [job["state"] for job in place.jobs()] == ["done"]
    assert lines(place, "log.txt") == [10]


async def test_what_is_left_out_while_it_waits_is_not_sent(a_place: APlace) -> None:
    """Who leaves a folder out, and starts the daemon anew, has it left out: also what waited there already."""
    place = a_place(folder=[{"linger": "1h"}])
    for n, name in enumerate(("drafts/a.txt", "b.txt")):
        place.drop(name, text(n))

    async def script() -> None:
        await place.until(lambda: set(place.states().values()) == {"waiting"})

    await place.run(until_idle=False, script=script)
    (rules,) = place.settings.folders
    place.settings = replace(place.settings, folders=(replace(rules, exclude=("drafts",)),))
    await place.run()
    assert place.states() == {"a.txt": "waiting", "b.txt": "learned"}
    assert "'drafts' matches exclude" in place.files()["a.txt"]["reason"]
    place.settings = replace(place.settings, folders=(rules,))
    await place.run()
    await place.pass_time(60.0)
    await place.run()
    assert place.states() == {"a.txt": "learned", "b.txt": "learned"}


async def test_what_is_changed_on_its_way_out_is_no_work_without_end(a_place: APlace) -> None:
    """A duplicate that cannot be moved for now may be edited meanwhile: in the end it is another file, given back."""
    place = a_place(folder=[{"linger": "0s"}])
    obstacle = place.notes / "done" / "duplicates"

    async def script() -> None:
        place.drop("a.txt", text(1))
        await place.until(lambda: place.states().get("a.txt") == "learned")
        obstacle.write_bytes(b"")
        path = place.drop("b.txt", text(1))
        await place.until(lambda: place.states().get("b.txt") == "duplicate")
        path.write_text(text(2))
        place.sweep_soon()
        await place.pass_time(30.0)
        obstacle.unlink()
        await place.until(lambda: place.states().get("b.txt") == "learned")

    await place.run(until_idle=False, script=script)
    assert place.sessions_on_server() == 2


async def test_many_copies_keep_no_other_file_from_being_sent(a_place: APlace) -> None:
    """However many files wait for what becomes of the one before them, what lies behind them goes at once."""
    place = a_place(folder=[{"linger": "0s", "max_files": 1}], pace=Pace(train=600.0))
    files = place.settings.folders[0]

    async def script() -> None:
        place.drop("first.txt", text(0))
        await place.until(lambda: place.states().get("first.txt") == "packed")
        for number in range(first_look(files) + 5):
            place.drop(f"copy-{number}.txt", text(0))
        place.sweep_soon()
        await place.until(lambda: [*place.states().values()].count("waiting") > first_look(files))
        place.drop("other.txt", text(1))
        place.sweep_soon()
        await place.until(lambda: place.states().get("other.txt") == "packed")
        assert place.states()["first.txt"] == "packed"

    await place.run(until_idle=False, script=script)


async def test_a_run_ends_when_no_folder_has_anything_left(a_place: APlace) -> None:
    """One that was not swept for a while has a file that still settles: the run waits for it."""
    slow = {"name": "slow", "settle": "60s", "linger": "0s"}
    place = a_place(folder=[{"linger": "0s"}, slow], watch={"sweep": "100s"})
    (place.notes.parent / "slow" / "b.txt").write_text(text(2))

    async def rings() -> None:
        for number in range(5):
            await place.pass_time(5.0)
            place.drop(f"{number}.txt", text(10 + number))
            place.sweep_soon(str(place.notes))
        await place.until(lambda: place.states().get("b.txt") == "learned", within=200.0)

    await place.run(script=rings)
    assert set(place.states().values()) == {"learned"}


async def test_a_change_in_one_folder_has_no_other_swept(a_place: APlace) -> None:
    """To look through another one may take seconds. It has its own time, whatever happens elsewhere."""
    place = a_place(folder=[{"linger": "0s"}, {"name": "large"}], watch={"sweep": "100s"})
    large = place.notes.parent / "large"

    async def dropped() -> None:
        await place.pass_time(1.0)
        (large / "b.txt").write_text(text(2))
        place.drop("a.txt", text(1))
        place.sweep_soon(str(place.notes))
        learned = await place.until(lambda: place.states() == {"a.txt": "learned"}, within=90.0)
        seen = await place.until(lambda: "b.txt" in place.states(), within=110.0)
        assert 1.0 + learned + seen == pytest.approx(100.0, abs=5.0)
        place.drop("c.txt", text(3))
        (large / "d.txt").write_text(text(4))
        place.sweep_soon()
        await place.until(lambda: len(place.states()) == 4, within=20.0)

    await place.run(until_idle=False, script=dropped)
