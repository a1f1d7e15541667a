"""Checkpoints that are whole and fit, and all the others: named, passed over, never used."""

from __future__ import annotations

import json
import os

import pytest
import torch

from lm.training import checkpoints

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


def test_the_fingerprint_of_code_tells_text_names_and_additions(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.py").write_text("a = 1")
    (tmp_path / "inner" / "b.py").write_text("b = 1")
    seen = {checkpoints.code_of(tmp_path)}
    (tmp_path / "notes.txt").write_text("no code")
    assert checkpoints.code_of(tmp_path) in seen
    (tmp_path / "a.py").write_text("a = 2")
    seen.add(checkpoints.code_of(tmp_path))
    (tmp_path / "inner" / "b.py").rename(tmp_path / "inner" / "c.py")
    seen.add(checkpoints.code_of(tmp_path))
    (tmp_path / "d.py").write_text("")
    seen.add(checkpoints.code_of(tmp_path))
    assert len(seen) == 4
