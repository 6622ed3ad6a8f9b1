"""What every ring of tests shares."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from finetuned import logs  # noqa: F401 - sets the log up
from support.spread import Spread

#: a shell's background job is deaf to Ctrl-C, and so would be the programs that tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
#: … and what `nohup` starts is deaf to the end of its terminal
signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile(
    "gate", deadline=None, max_examples=60, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spread:
    """Spread the tests over several workers (`-n 4`) so that they wait while others compute."""
    return Spread(config, log)


#: rings, modules and tests that meet by chance, by death or by mere number what others meet: to count lines takes half
#: of their time, and 130 ms in each process that they start
UNCOUNTED = {"crash", "property", "service", "test_any_schedule_of_faults", "test_fewer_looks", "test_sends_in_vain"}
UNCOUNTED |= {"test_sessions_get_stuck", "test_stubborn_cases", "test_the_breaker_under_load"}
UNCOUNTED |= {"test_what_comes_back_is_held", "test_a_daemon_makes_pairs", "test_a_maker_is_killed"}
UNCOUNTED |= {"test_maker_with_random_faults", "test_kills"}
UNCOUNTED |= {"test_queries", "test_copies_of_the_ledger", "test_drop_to_pairs", "test_the_same_text"}
#: … and the one that reads the checkout's code, and runs none of it
UNCOUNTED |= {"test_house"}
#: … and single tests, which take long where lines are counted
UNCOUNTED |= {"test_a_value_that_is_too_long_is_passed_over", "test_lists_and_objects_are_read_one_by_one"}
UNCOUNTED |= {"test_memory_does_not_grow_with_the_text", "test_values_that_end_alike_are_the_same_as_one_by_one"}
UNCOUNTED |= {"test_what_was_copied_is_found", "test_whatever_is_written_there_is_an_answer"}
UNCOUNTED |= {"test_whatever_the_blocks_the_value_is_the_same", "test_a_claimed_file_that_is_edited"}
UNCOUNTED |= {"test_a_full_server_is_not_uploaded_to_again", "test_one_session_whatever_befalls_the_requests"}
UNCOUNTED |= {"test_a_session_is_gone_when_three_looks_in_a_row_say_so", "test_two_sessions_of_one_job_leave_one"}
UNCOUNTED |= {"test_a_session_that_is_listed_late_is_recorded_and_removed", "test_a_wrong_dialect_waits_for_a_person"}
UNCOUNTED |= {"test_hours_without_a_server_cost_nothing"}
UNCOUNTED |= {"test_the_jobs_of_a_removed_folder_end_properly", "test_the_searches_for_what_never_turns_up_are_few"}
#: modules of these that meet what no other does: the way from a command to a daemon, and what a signal does to it
COUNTED = {"test_demo", "test_real_process", "test_reload", "test_signals"}
#: modules and tests that start many processes in which nothing is met of ours, or what is met in others
ALONE = {"test_command_maker", "test_one_that_fails_is_told", "test_talk", "test_talk_for_real"}
ALONE |= {"test_a_toy_learns_what_it_is_taught"}


def _rings(item: pytest.Item) -> tuple[str, ...]:
    """Return the folders of a test, and none of those that the whole checkout lies in."""
    return item.path.relative_to(item.config.rootpath).parts


#: counts the lines of this thread for coverage, or nothing does
_COUNTER: Any = sys.gettrace()
_counts = _COUNTER


@contextmanager
def _counting(counts: Any) -> Iterator[None]:
    """Count the lines of this thread, or none."""
    before = sys.gettrace()
    sys.settrace(counts)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def _alone() -> Iterator[None]:
    """Count nothing in the processes that are started."""
    counts = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("COVERAGE_")}
    try:
        yield
    finally:
        os.environ.update(counts)


@contextmanager
def _uncounted() -> Iterator[None]:
    """Count nothing for coverage, neither here nor in the threads and processes that are started."""
    of_threads = threading.gettrace()
    threading.settrace(None)  # type: ignore[arg-type]
    try:
        with _counting(None), _alone():
            yield
    finally:
        threading.settrace(of_threads)  # type: ignore[arg-type]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Count in the first worker alone what is met where modules are imported: each of them imports the same.

    None of it is garbage, which is looked for neither meanwhile nor, in what is kept for all tests, afterwards.
    """
    gc.disable()
    try:
        with nullcontext() if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0" else _uncounted():
            return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop() -> Generator[None, object, object]:
    """Count nothing of what pytest does around tests and fixtures: with lines counted that took 8 ms for each test."""
    with _counting(None):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Count nothing for coverage where others do."""
    global _counts  # noqa: PLW0603 - pytest runs one test at a time
    names = {*_rings(item), item.path.stem, getattr(item, "originalname", "")}
    counted = not UNCOUNTED & names or item.path.stem in COUNTED
    _counts = _COUNTER if counted else None
    with _uncounted() if not counted else _alone() if ALONE & names else nullcontext():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Count what a test does."""
    with _counting(_counts):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
    """Count what fixtures do before a test and after it; those of pytest and of this module run nothing of ours."""
    if fixturedef.func.__module__.startswith("_pytest.") or fixturedef.func.__code__.co_filename == __file__:
        return (yield)
    fixturedef.addfinalizer(partial(sys.settrace, None))  # the first one is the last to be called
    with _counting(_counts):
        done = yield
    fixturedef.addfinalizer(lambda: sys.settrace(_counts))
    return done


@pytest.fixture(autouse=True)
def _nothing_of_the_person_who_runs_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the environment of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(("FINETUNED_", "XDG_")) or name in {
            "CREDENTIALS_DIRECTORY",
            "STATE_DIRECTORY",
            "NOTIFY_SOCKET",
            "NO_COLOR",
        }:
            monkeypatch.delenv(name)


#: rings in which the power stays on: nothing is brought to disk, which took most of the time of tests in virtual time
POWERED = {"acceptance", "cli", "property"}


class _Unsynced(sqlite3.Connection):
    """One whose commits outlive a process and no power cut."""

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        return super().execute(sql.replace("synchronous = full", "synchronous = off"), *args)


@pytest.fixture(autouse=True)
def _the_power_stays_on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk where no test asks what a power cut leaves."""
    if POWERED & {*_rings(request.node)}:
        monkeypatch.setattr(os, "fsync", lambda _: None)
        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=_Unsynced))


@pytest.fixture(autouse=True)
def _the_log_as_it_was() -> Iterator[None]:
    """Leave the log, the root logger and the warnings as they were."""
    ours, root = logging.getLogger("finetuned"), logging.getLogger()
    handler = next(handler for handler in ours.handlers if type(handler).__module__ == "finetuned.logs.pipeline")
    levels, as_it_was = (ours.level, root.level), dict(vars(handler))
    yield
    logging.captureWarnings(capture=False)
    root.removeHandler(handler)
    vars(handler).update(as_it_was)
    for logger, level in zip((ours, root), levels, strict=True):
        logger.setLevel(level)
