"""`retry` of many jobs at once, and `retry --wait`, with a real daemon and a server that fails at first."""

from __future__ import annotations

from collections.abc import Callable

from support.process import Home, wait_for

AHome = Callable[..., Home]
GREY = "The stone is grey. It came from a river."


def failed(home: Home, names: list[str]) -> None:
    """Drop files, each a job of its own, that fail."""
    for name in names:
        home.drop(name, f"{GREY} It is called {name}.")
    assert {job["state"] for job in home.ended(len(names))} == {"failed"}


def test_all_failed_jobs_are_tried_again_and_waited_for(at_work: AHome) -> None:
    """One command after a bad night; its exit code and its words tell the end, as those of `drop --wait` do."""
    home = at_work("state-error:2", folder="max_files = 1")
    failed(home, ["a.txt", "b.txt"])
    answer = home.finetuned("retry", "--state", "failed", "--wait")
    assert (answer.returncode, answer.stdout.count("is queued again")) == (0, 2)
    assert "a.txt: learned" in answer.stderr
    assert "b.txt: learned" in answer.stderr
    assert home.states() == {"a.txt": "learned", "b.txt": "learned"}
    none = home.finetuned("retry", "--state", "failed")
    assert (none.returncode, none.stdout, none.stderr) == (0, "", "no failed jobs\n")


def test_what_fails_again_is_told(at_work: AHome) -> None:
    """A job that fails once more, and a file that is refused once more: 1, and the reason."""
    home = at_work("state-error:9")
    failed(home, ["a.txt"])
    job = home.jobs()[0]["id"]
    answer = home.finetuned("retry", job, "--wait")
    assert (answer.returncode, "a.txt: failed" in answer.stderr) == (1, True)
    bad = home.drop("bad.txt", b"caf\xe9")
    archived = "select count(*) from files where state = 'refused' and archived = 1"
    wait_for(lambda: home.ask(archived) == 1, "refused file")
    refused = home.finetuned("retry", str(bad), "--wait")
    assert (refused.returncode, "bad.txt: refused" in refused.stderr) == (1, True)


def test_only_jobs_of_a_folder_and_only_one_way_to_name_them(a_home: AHome) -> None:
    """`--folder` narrows `--state`; both ways at once, or neither, are a mistake of usage."""
    home = a_home()
    home.start("--until-idle")
    assert home.wait() == 0
    assert home.finetuned("retry", "--state", "failed", "--folder", "notes").stderr == "no failed jobs in notes\n"
    for words in ([], ["a.txt", "--state", "failed"], ["a.txt", "--folder", "notes"]):
        assert home.finetuned("retry", *words).returncode == 2
    assert home.finetuned("retry", "--state", "failed", "--folder", "other").returncode == 2
