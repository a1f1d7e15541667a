"""Checkpoints that are whole and fit, and all the others: named, passed over, never used. Finished runs; locks."""

from __future__ import annotations

import fcntl
import json
import os

import pytest
import torch

from lm.errors import StudyError
from lm.training import checkpoints, finished, hardware, memory
from lm.training.lock import one_trainer
from lm.training.memory import MemoryMeter

STATE = {"model": {"weight": torch.arange(4.0)}, "position": {"epoch": 1, "history": [{"epoch": 0}]}, "best": None}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "folder" / "5-42.pt"
    checkpoints.save(path, STATE, "this")
    return path


def test_what_is_saved_comes_back(saved):
    state, why_not = checkpoints.load(saved, "this")
    assert why_not is None
    assert torch.equal(state["model"]["weight"], STATE["model"]["weight"])
    assert state["position"] == STATE["position"]
    assert [path.name for path in saved.parent.iterdir()] == ["5-42.pt"]


def test_none_at_all_is_nothing_to_tell(tmp_path):
    assert checkpoints.load(tmp_path / "none.pt", "this") == (None, None)


def test_another_runs_is_passed_over(saved):
    state, why_not = checkpoints.load(saved, "that")
    assert state is None
    assert "another configuration" in why_not


def test_a_truncated_one_is_passed_over_wherever_it_ends(saved):
    whole = saved.read_bytes()
    header = whole.index(b"\n") + 1
    for length in (0, 1, header // 2, header - 1, header, header + 1, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        state, why_not = checkpoints.load(saved, "this")
        assert state is None
        assert why_not.startswith(("unreadable", "truncated"))


def test_one_flipped_bit_is_enough(saved):
    whole = bytearray(saved.read_bytes())
    for place in range(whole.index(b"\n") + 1, len(whole), 97):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        saved.write_bytes(damaged)
        assert checkpoints.load(saved, "this") == (None, "truncated or damaged")


@pytest.mark.parametrize(
    "content", [b"[]\n", b"null\nrest", b"\xff\xfe\n", b"{}\n", json.dumps({"sha256": 1}).encode()]
)
def test_a_file_that_is_no_checkpoint(saved, content):
    saved.write_bytes(content)
    state, why_not = checkpoints.load(saved, "this")
    assert state is None
    assert why_not


def test_a_folder_in_its_place_is_unreadable(tmp_path):
    state, why_not = checkpoints.load(tmp_path, "this")
    assert state is None
    assert why_not.startswith("unreadable")


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_save_that_fails_leaves_the_old_one(saved, monkeypatch, failing):
    before = saved.read_bytes()

    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(saved, {"model": {}}, "this")
    assert saved.read_bytes() == before


def test_a_partial_file_is_not_read_and_goes_with_the_rest(saved):
    partial = saved.with_suffix(".partial")
    partial.write_bytes(b"half")
    state, why_not = checkpoints.load(saved, "this")
    assert state is not None
    assert why_not is None
    checkpoints.save(saved, STATE, "this")
    assert not partial.exists()
    partial.write_bytes(b"half")
    checkpoints.remove(saved)
    assert list(saved.parent.iterdir()) == []
    checkpoints.remove(saved)


def test_the_fingerprint_tells_every_part_and_its_place():
    parts = (b"configuration", b"42", b"tokens", b"code")
    same = checkpoints.fingerprint(*parts)
    assert checkpoints.fingerprint(*parts) == same
    assert checkpoints.fingerprint(*reversed(parts)) != same
    assert checkpoints.fingerprint(b"configuration4", b"2", b"tokens", b"code") != same
    for i in range(len(parts)):
        assert checkpoints.fingerprint(*parts[:i], parts[i] + b"x", *parts[i + 1 :]) != same


def test_a_checkpoint_goes_to_the_disk_without_a_copy_in_memory(tmp_path):
    """Its peak is below half of what is saved; loading needs the state itself and no second one."""
    meter = MemoryMeter(torch.device("cpu"))
    if not isinstance(meter._peak, memory._KernelsPeak):
        pytest.skip("this kernel's mark cannot be set back")
    state = {"model": torch.ones(40 * 2**20)}
    level = meter._peak.level()
    meter._peak.reset()
    checkpoints.save(tmp_path / "large.pt", state, "this")
    assert meter._peak.highest() - level < 80 * 2**20
    meter._peak.reset()
    loaded, _ = checkpoints.load(tmp_path / "large.pt", "this")
    assert meter._peak.highest() - level < 240 * 2**20
    assert torch.equal(loaded["model"], state["model"])


def test_a_full_disk_is_told_as_such(monkeypatch, saved):
    before = saved.read_bytes()

    def full(_self, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints._Hashed, "write", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(saved, STATE, "this")
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["5-42.pt"]


def test_the_kind_of_machine_tells_versions_and_instructions(monkeypatch):
    cpu = torch.device("cpu")
    seen = {hardware.kind_of_machine(cpu)}
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "9.9")
        seen.add(hardware.kind_of_machine(cpu))
    with monkeypatch.context() as patch:
        patch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
        seen.add(hardware.kind_of_machine(cpu))
    with monkeypatch.context() as patch:
        patch.setattr(hardware, "_cpuinfo", lambda *names: [f"another {names[-1]}"])
        seen.add(hardware.kind_of_machine(cpu))
    assert len(seen) == 4


NAMES = ("a.csv", "b.json")


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(name * 100)
    return folder


def test_a_finished_run_comes_back_whole_or_not_at_all(tmp_path, run):
    store, back = tmp_path / "finished", tmp_path / "back"
    assert not finished.put_back(store, "one", back, NAMES)
    finished.keep(store, "one", run, NAMES)
    assert finished.put_back(store, "one", back, NAMES)
    assert {path.name: path.read_text() for path in back.iterdir()} == {name: name * 100 for name in NAMES}
    assert finished.put_back(store, "one", tmp_path / "part", NAMES[:1])
    assert not finished.put_back(store, "two", tmp_path / "other", NAMES)
    assert not finished.put_back(store, "one", tmp_path / "more", (*NAMES, "model"))
    (store / "one" / "b.json").write_text("damaged")
    assert not finished.put_back(store, "one", tmp_path / "bad", NAMES)
    assert not (tmp_path / "bad").exists()


def test_finished_runs_have_a_bound_and_the_one_used_longest_ago_goes(tmp_path, run):
    store = tmp_path / "finished"
    for age, name in enumerate(("old", "used", "young")):
        finished.keep(store, name, run, NAMES, most_bytes=10_000)
        os.utime(store / name, (age, age))
    finished.put_back(store, "old", tmp_path / "back", NAMES)
    finished.keep(store, "new", run, NAMES, most_bytes=4_500)
    assert {path.name for path in store.iterdir()} == {"new", "old", "young"}
    finished.keep(store, "large", run, NAMES, most_bytes=1)
    assert [path.name for path in store.iterdir()] == ["large"], "the last one stays, however large"


def test_a_store_that_cannot_be_written_costs_nothing(tmp_path, run):
    (tmp_path / "finished").write_text("a file")
    finished.keep(tmp_path / "finished", "one", run, NAMES)
    assert not finished.put_back(tmp_path / "finished", "one", tmp_path / "back", NAMES)


def test_a_lock_is_held_by_one_and_gone_afterwards(tmp_path):
    path = tmp_path / "folder" / "7-42.lock"
    with one_trainer(path):
        with pytest.raises(StudyError, match=rf"7-42\.lock: process {os.getpid()} is training"), one_trainer(path):
            pass
        assert path.exists()
    assert not path.exists()
    with one_trainer(path):
        pass


def test_a_lock_on_a_file_that_was_taken_away_is_taken_again(tmp_path, monkeypatch):
    """Another trainer ended, and removed its lock, between this one's opening the file and locking it."""
    path, plain = tmp_path / "7-42.lock", fcntl.flock
    taken = []

    def flock(descriptor, how):
        if not taken:
            taken.append(path.unlink())
        plain(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with one_trainer(path):
        assert path.read_text() == f"{os.getpid()}\n"
