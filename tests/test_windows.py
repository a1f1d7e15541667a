"""Windows: every token predicted once, an order that hangs on the seed, and arrays held against their card."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.corpus.windows import PADDING, Windows, epoch_order, fixed_sample, open_windows, read_card
from lm.errors import StudyError


@settings(max_examples=100, deadline=None, derandomize=True)
@given(length=st.integers(2, 200), context=st.integers(1, 40), batch=st.integers(1, 7), seed=st.integers(0, 2**31 - 1))
def test_every_token_but_the_first_is_predicted_exactly_once(length, context, batch, seed):
    tokens = np.arange(1, length + 1, dtype=np.uint16)  # all different, so that a token tells its place
    windows = Windows(tokens, context)
    order = epoch_order(len(windows), seed, 3)
    predicted, seen = 0, []
    for start in range(0, len(windows), batch):
        part = windows.batch(order[start : start + batch])
        kept = part.targets_BT != PADDING
        assert part.predicted == kept.sum()
        assert torch.equal(part.inputs_BT[kept] + 1, part.targets_BT[kept]), "a target is its input's successor"
        seen += part.targets_BT[kept].tolist()
        predicted += part.predicted
    assert sorted(seen) == list(range(2, length + 1))
    assert predicted == windows.predicted == length - 1


def test_only_the_last_window_is_padded_and_only_at_its_end():
    windows = Windows(np.arange(12, dtype=np.uint16), 4)
    batch = windows.batch(np.arange(3))
    assert batch.inputs_BT[:2].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert batch.targets_BT.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, PADDING]]
    assert batch.inputs_BT[2, :3].tolist() == [8, 9, 10]
    assert batch.inputs_BT.dtype == batch.targets_BT.dtype == torch.int64


def test_windows_that_fit_have_no_padding():
    windows = Windows(np.arange(9, dtype=np.uint32), 4)
    assert len(windows) == 2
    assert windows.batch(np.arange(2)).predicted == 8


def test_order_depends_on_seed_and_epoch_alone():
    order = epoch_order(100, 42, 1)
    np.random.seed(0)
    torch.manual_seed(0)
    assert np.array_equal(order, epoch_order(100, 42, 1))
    assert not np.array_equal(order, epoch_order(100, 42, 2))
    assert not np.array_equal(order, epoch_order(100, 43, 1))
    assert not np.array_equal(epoch_order(100, 0, 1), epoch_order(100, 1, 0))
    assert np.array_equal(np.sort(order), np.arange(100))


def test_order_is_the_one_of_the_committed_results():
    """A change of the generator would change every result: it must not pass unseen."""
    assert epoch_order(8, 42, 0).tolist() == [3, 4, 2, 7, 6, 1, 5, 0]
    assert fixed_sample(100, 4).tolist() == [5, 20, 36, 82]


def test_a_sample_is_fixed_and_never_larger_than_all():
    assert np.array_equal(fixed_sample(50, 10), fixed_sample(50, 10))
    assert len(set(fixed_sample(50, 10).tolist())) == 10
    assert np.array_equal(fixed_sample(5, 10), np.arange(5))


@pytest.fixture
def folder(token_folder, tmp_path):
    return shutil.copytree(token_folder, tmp_path / "tokens")


def test_arrays_that_fit_their_card_open(folder, token_arrays):
    windows = open_windows(folder, "train", 8, read_card(folder))
    assert isinstance(windows.tokens, np.memmap)
    assert np.array_equal(windows.tokens, token_arrays["train"])


def test_an_array_with_one_other_token_is_refused(folder):
    card = read_card(folder)
    tokens = np.load(folder / "train.npy")
    tokens[500] += 1
    np.save(folder / "train.npy", tokens)
    with pytest.raises(StudyError, match=r"train\.npy: does not fit its card"):
        open_windows(folder, "train", 8, card)


@pytest.mark.parametrize("kept", [0, 5, 200, -1])
def test_a_truncated_array_is_refused(folder, kept):
    path = folder / "train.npy"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(StudyError, match=r"train\.npy: (damaged|does not fit)"):
        open_windows(folder, "train", 8, read_card(folder))


def test_an_array_of_objects_is_refused(folder):
    np.save(folder / "train.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(StudyError, match=r"train\.npy: damaged"):
        open_windows(folder, "train", 8, read_card(folder))


def test_a_missing_array_or_card_names_the_stage(folder):
    card = read_card(folder)
    (folder / "test.npy").unlink()
    with pytest.raises(StudyError, match="run `dvc repro -f tokenize`"):
        open_windows(folder, "test", 8, card)
    (folder / "card.json").write_text("{")
    with pytest.raises(StudyError, match="damaged"):
        read_card(folder)
    (folder / "card.json").unlink()
    with pytest.raises(StudyError, match="run `dvc repro -f tokenize`"):
        read_card(folder)


def test_fewer_tokens_than_a_window(folder):
    with pytest.raises(StudyError, match=r"131 tokens, fewer than one window of 132"):
        open_windows(folder, "validation", 131, read_card(folder))
    assert len(open_windows(folder, "validation", 130, read_card(folder))) == 1
