"""`stats`, as a person reads it."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from finetuned.cli.stats import sparkline
from support.cli import MakeDesk
from support.public import wrong


def test_each_folder_and_week_has_its_line(make_desk: MakeDesk, tmp_path: Path) -> None:
    """How many files, what became of them, what they taught, how long it took, and what was not learned."""
    desk = make_desk()
    desk.place.drop("otter.txt", "Otters are brown. They swim.")
    desk.place.drop("bad.txt", b"one\n\xe9")
    desk.run()
    desk.place.drop("same.txt", "Otters are brown. They swim.")
    desk.run()
    desk.write("update files set finished_at = '2026-11-02T00:00:00.000Z' where state = 'refused'")
    local = f'kind = "rules"\n[[folder]]\nname = "here"\npath = "{tmp_path / "here"}"\nbackend = "local"\n'
    desk.config.write_text(desk.config.read_text("utf-8").replace("[maker]\n", f"[maker]\n{local}"), "utf-8")
    answer = desk("stats")
    assert answer.code == 0, answer.err
    lines = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert lines[0].startswith("3 files came to an end, in the weeks of 2026-11-02 to 20")
    assert "folder files learned not learned skipped bytes pairs pairs/file" in lines
    assert "notes 3 1 1 1 28 B 18 18.0" in lines
    assert "2026-11-02 1 0 1 0 0 B 0" in lines
    times = [line for line in answer.out.splitlines() if " 95 % within " in line]
    assert [line.index("half within") for line in times] == [22] * 3
    assert all("  half within" in line for line in times), times
    assert "pairs a week" in answer.out
    assert lines[-1].startswith("1 refused: not UTF-8: byte 0xe9")


def test_of_no_file_there_are_no_figures(make_desk: MakeDesk) -> None:
    """One sentence, on standard error: there is no data; JSON has its keys all the same."""
    desk = make_desk()
    desk.run()
    assert (desk("stats").out, desk("stats").err) == ("", "no file came to its end yet\n")
    assert desk("stats", "--since", "1h").err == "no file came to its end since then\n"
    assert desk("stats", "--json").json["total"]["pairs_per_file"] is None


def test_a_span_of_time_is_chosen(make_desk: MakeDesk) -> None:
    """By when files came to their end: from the first moment on, to the end of the last day; JSON tells both."""
    desk = make_desk()
    desk.place.drop("otter.txt", "Otters are brown. They swim.")
    desk.place.drop("bad.txt", b"one\n\xe9")
    desk.run()
    desk.write("update files set finished_at = '2026-11-02T23:00:00.000Z' where state = 'refused'")
    told = desk("stats", "--since", "2026-11-01", "--until", "2026-11-02", "--json").json
    assert (told["total"]["files"], told["since"], told["until"]) == (
        1,
        "2026-11-01T00:00:00.000Z",
        "2026-11-03T00:00:00.000Z",
    )
    assert desk("stats", "--until", "2026-11-01").err == "no file came to its end in that time\n"
    assert desk("stats", "--since", "today", "--until", "2026-11-01").code == 2


def test_of_nothing_no_picture_is_drawn_and_that_is_said(make_desk: MakeDesk, tmp_path: Path) -> None:
    """To programs, too: they find no file."""
    desk = make_desk()
    desk.run()
    path = tmp_path / "weeks.svg"
    for words in ([], ["--json"]):
        answer = desk("stats", "--plot", str(path), *words)
        assert (answer.code, f"{path} is not written: there is nothing to draw\n" in answer.err) == (0, True)
    assert not path.exists()


def test_a_folder_that_is_not_there_is_a_mistake(make_desk: MakeDesk) -> None:
    """No figures of nothing."""
    desk = make_desk()
    desk.run()
    answer = desk("stats", "--folder", "nots")
    assert (answer.code, answer.out) == (2, "")
    assert "there are: notes" in answer.err


@pytest.mark.parametrize(("values", "drawn"), [([0, 1, 4, 8], "▁▂▅█"), ([0, 0], "▁▁"), ([7], "█"), ([], "")])
def test_a_sparkline_reaches_from_none_to_the_most(values: list[int], drawn: str) -> None:
    """Eight heights, the greatest value at the top."""
    assert sparkline(values) == drawn


def test_the_weeks_are_drawn(make_desk: MakeDesk, tmp_path: Path) -> None:
    """SVG that is well formed: a column a week, those without a file too, and figures as titles."""
    desk = make_desk()
    desk.place.drop("otter.txt", "Otters are brown. They swim.")
    desk.place.drop("bad.txt", b"one\n\xe9")
    desk.run()
    desk.write("update files set finished_at = '2026-11-02T00:00:00.000Z' where state = 'refused'")
    desk.write("update files set finished_at = '2026-11-23T00:00:00.000Z' where state = 'learned'")
    path = tmp_path / "weeks.svg"
    assert desk("stats", "--plot", str(path)).code == 0
    drawn = ET.parse(path).getroot()  # noqa: S314 - our own
    told = [title.text for title in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert told[0] == "finetuned: 2 files at their end, week by week from Monday on (UTC)"
    assert told[1:5] == ["2 Nov: 0", "9 Nov: 0", "16 Nov: 0", "23 Nov: 18"]
    assert told[5:13] == [*("2 Nov: 0", "9 Nov: 0", "16 Nov: 0", "23 Nov: 1"), "2 Nov: 1", *told[10:13]]
    assert len(told) == 1 + 4 * 4
    again = desk("stats", "--plot", str(path))
    assert (again.code, "--force" in again.err) == (1, True)
    assert desk("stats", "--plot", str(path), "--force").code == 0
    assert [name for name in os.listdir(tmp_path) if "weeks.svg" in name] == ["weeks.svg"]


def test_what_was_learned_is_told_by_file_job_and_in_all(make_desk: MakeDesk) -> None:
    """Before the training and after it; of a server that tells nothing of it, nothing is told."""
    desk = make_desk()
    path = str(desk.place.drop("otter.txt", "Otters are brown. They swim."))
    desk.run()
    (job,) = (job["id"] for job in desk("jobs", "--json").json)
    assert not any("recall" in desk(*words, "--json").json for words in (("why", path), ("job", job)))
    assert desk("stats", "--json").json["total"]["recall_files"] == 0
    assert not any(word in desk(*words).out for words in (("stats",), ("job", job)) for word in ("recall", "Recall"))
    desk.write("insert into recalls select id, 1, 3, 0.05, 0.875 from files")
    desk.write("insert into recalls select id, 0, 1, 0.1, 1.0 from files")
    why = desk("why", path)
    assert "Asked 3 questions new to it with no text at hand, its model scored 0.88 of 1" in why.out, why.out
    assert "Asked 1 question that it was taught with no text at hand, its model scored 1.00 of 1" in why.out
    lines = [" ".join(line.split()) for line in desk("job", job).out.splitlines()]
    assert any(line.endswith("otter.txt 3 new 0.05 0.88") for line in lines), lines
    assert any(line.endswith("otter.txt 1 taught 0.10 1.00") for line in lines)
    assert "0.05 before the training, 0.88 after it, of 1 file" in desk("stats").out
    total = desk("stats", "--json").json["total"]
    assert (total["recall_files"], total["recall_untuned"], total["recall_tuned"]) == (1, 0.05, 0.875)
    told = desk("why", path, "--json").json["recall"]
    assert [wrong(one, "recall") for one in told] == [{}, {}]
