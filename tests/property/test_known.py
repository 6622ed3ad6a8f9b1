"""What is known of files is the same whether or not it was packed in between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetuned.folders.known import KnownFiles
from finetuned.model import Signature

NAMES = st.sampled_from(["x", "y", "ä", "a b"]) | st.text(
    st.characters(exclude_characters="/\0"), min_size=1, max_size=3
)
PATHS = st.builds("/srv/notes/{}{}".format, st.sampled_from(["", "a/", "b/"]), NAMES)
SIGNATURES = st.builds(Signature, size=st.integers(0), mtime_ns=st.integers(), ctime_ns=st.integers(), inode=st.just(1))
TOLD = st.lists(st.tuples(PATHS, SIGNATURES, st.booleans()), max_size=9)
FORGOTTEN = st.lists(PATHS, max_size=3)


@given(st.lists(st.tuples(TOLD, FORGOTTEN), max_size=6))
def test_what_was_remembered_last_and_not_forgotten_is_known(deeds) -> None:
    """By path, with its signature if it has settled; in whatever order, and through the ends of sweeps."""
    files, model = KnownFiles(), {}
    for told, forgotten in deeds:
        files.remember_all(told)
        model.update({path: hash(signature) if settled else None for path, signature, settled in told})
        for path in forgotten:
            files.forget(path)
            model.pop(path, None)
        files.begin()
        assert sorted(files.outside()) == sorted(model)
        files.let_go(0.0)
        for path, version in model.items():
            folder, _, name = path.rpartition("/")
            known = files.of(f"{folder}/")
            assert known is not None
            assert files.settled(known).get(name) == version
            assert files.among(known, [name, "/"]) == [name]
            assert known.settles(name) is (version is None)
            files.pack(known)
