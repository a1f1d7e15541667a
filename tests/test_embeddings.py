"""GPT-1's embeddings: every accepted file comes to the same tables, no other does, and nothing ever trains them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import nn

from lm.config.run import ModelConfig, RunConfig
from lm.config.study import GPT1_VOCABULARY, GPT1_WIDTH
from lm.corpus.windows import open_windows, read_card
from lm.embeddings import release
from lm.embeddings.release import find_release, read_release
from lm.embeddings.tables import PretrainedEmbeddings, open_embeddings, write_embeddings
from lm.errors import StudyError
from lm.models.build import build_model, count_parameters, restore_model
from lm.models.embeddings import FrozenEmbedding
from lm.training import checkpoints, documents
from lm.training.hardware import choose, settle
from lm.training.history import HistoryFile
from lm.training.loop import Job, Trainer
from lm.training.memory import MemoryMeter
from lm.training.outputs import write_run
from lm.training.saver import Saver
from lm.training.stopping import Interrupted
from stages import embeddings, train

VOCABULARY, WIDTH, CONTEXT = 50, 16, 8
"""Those of the configurations and tokens in conftest.py."""
ROOT = Path(__file__).parents[1]


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    """A release's tokens, without padding, and more positions than are wanted."""
    generator = np.random.default_rng(1)
    tokens, positions = generator.normal(size=(VOCABULARY - 1, WIDTH)), generator.normal(size=(CONTEXT + 4, WIDTH))
    return tokens.astype(np.float32), positions.astype(np.float32)


def safetensors(path: Path, tokens, positions, prefix: str = "", dtype: torch.dtype = torch.float32) -> Path:
    named = {"tokens_embed.weight": tokens, "positions_embed.weight": positions, "h.0.ln_1.weight": np.ones(3)}
    save_file({prefix + name: torch.from_numpy(array).to(dtype) for name, array in named.items()}, path)
    return path


def npz(path: Path, tokens, positions) -> Path:
    np.savez(path, tokens=tokens, position=positions)
    return path


def with_padding(tokens: np.ndarray, value: float = 0.0) -> np.ndarray:
    return np.concatenate([np.full((1, WIDTH), value, np.float32), tokens])


FILES: dict[str, Callable[[Path, np.ndarray, np.ndarray], Path]] = {
    "the Hub's layout": lambda folder, t, p: safetensors(folder / "model.safetensors", t, p),
    "the Hub's layout with a prefix": lambda folder, t, p: safetensors(folder / "a.safetensors", t, p, "transformer."),
    "the course's layout": lambda folder, t, p: npz(folder / "embeddings.npz", with_padding(t), p),
    "the course's layout without padding": lambda folder, t, p: npz(folder / "embeddings.npz", t, p),
    "fp64": lambda folder, t, p: npz(folder / "embeddings.npz", t.astype(np.float64), p.astype(np.float64)),
    "no spare position": lambda folder, t, p: npz(folder / "embeddings.npz", t, p[:CONTEXT]),
}


@pytest.mark.parametrize("layout", FILES)
def test_every_layout_gives_the_same_tables(tmp_path, arrays, layout):
    tokens, positions = read_release(FILES[layout](tmp_path, *arrays), VOCABULARY, WIDTH, CONTEXT)
    assert tokens.dtype == positions.dtype == np.float32
    assert np.array_equal(tokens, with_padding(arrays[0]))
    assert np.array_equal(positions, arrays[1][:CONTEXT])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(tmp_path, arrays, dtype):
    path = safetensors(tmp_path / "model.safetensors", *arrays, dtype=dtype)
    found = read_release(path, VOCABULARY, WIDTH, CONTEXT)
    for table, array in zip(found, (with_padding(arrays[0]), arrays[1][:CONTEXT]), strict=True):
        assert np.array_equal(table, torch.from_numpy(array).to(dtype).float().numpy())


def test_a_padding_that_is_there_is_kept_as_it_is(tmp_path, arrays):
    path = npz(tmp_path / "embeddings.npz", with_padding(arrays[0], 0.5), arrays[1])
    assert np.array_equal(read_release(path, VOCABULARY, WIDTH, CONTEXT)[0][0], np.full(WIDTH, 0.5, np.float32))


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-9])
    return path


def changed(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array[3, 3] = value
    return array


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def npz_of(path: Path, **named) -> Path:
    np.savez(path, **named)
    return path


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


SPOILED: dict[str, tuple[Callable[[Path, np.ndarray, np.ndarray], Path], str]] = {
    "a safetensors file cut short": (lambda f, t, p: cut(safetensors(f / "a.safetensors", t, p)), "not a whole"),
    "an npz file cut short": (lambda f, t, p: cut(npz(f / "a.npz", t, p)), "not a whole"),
    "an empty file": (lambda f, _t, _p: written(f / "a.safetensors", b""), "not a whole"),
    "an array alone": (lambda f, t, _p: written(f / "a.npz", npy(t)), "not a whole"),
    "Python objects": (lambda f, t, p: npz_of(f / "a.npz", tokens=t.astype(object), position=p), "plain arrays"),
    "members that are no arrays": (
        lambda f, _t, _p: zipped(f / "a.npz", tokens=b"1", position=b"1"),
        "|S1, not floating",
    ),
    "another kind of file": (lambda f, _t, _p: written(f / "a.bin", b"x"), "'.bin'"),
    "no positions": (lambda f, t, _p: npz_of(f / "a.npz", tokens=t), "'position'; it holds: tokens"),
    "another model": (lambda f, t, p: safetensors(f / "a.safetensors", t, p, "bert."), "'tokens_embed.weight'"),
    "a token too few": (lambda f, t, p: npz(f / "a.npz", t[1:], p), "(48, 16); expected 49 or 50 rows of 16"),
    "a token too many": (lambda f, t, p: safetensors(f / "a.safetensors", with_padding(t), p), "expected 49 rows"),
    "too narrow": (lambda f, t, p: npz(f / "a.npz", t[:, 1:], p), "(49, 15)"),
    "positions too narrow": (lambda f, t, p: npz(f / "a.npz", t, p[:, 1:]), "positions have shape (12, 15)"),
    "a position too few": (lambda f, t, p: npz(f / "a.npz", t, p[:7]), "expected 8 to 512 rows"),
    "not a matrix": (lambda f, t, p: npz(f / "a.npz", t.ravel(), p), "tokens have shape (784,)"),
    "integers": (lambda f, t, p: npz(f / "a.npz", t.astype(np.int64), p), "int64"),
    "not a number": (lambda f, t, p: npz(f / "a.npz", changed(t, np.nan), p), "tokens hold numbers that are not"),
    "infinite": (lambda f, t, p: safetensors(f / "a.safetensors", t, changed(p, np.inf)), "positions hold numbers"),
}


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize("case", SPOILED)
def test_a_file_that_will_not_do(tmp_path, arrays, case):
    make, named = SPOILED[case]
    path = make(tmp_path, *arrays)
    with pytest.raises(StudyError) as stopped:
        read_release(path, VOCABULARY, WIDTH, CONTEXT)
    assert str(path) in str(stopped.value)
    assert named in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_the_given_file_goes_before_the_corpus_s_and_that_before_a_download(tmp_path, monkeypatch, arrays):
    asked = []
    monkeypatch.setattr(release, "fetch", lambda *what, **_more: asked.append(what) or tmp_path / "downloaded")
    given = npz(tmp_path / "given.npz", *arrays)
    course = tmp_path / "course"
    course.mkdir()
    assert find_release(str(given), course) == given
    assert find_release(None, course) == tmp_path / "downloaded"
    beside_text = npz(course / "embeddings.npz", *arrays)
    assert find_release(str(given), course) == given
    assert find_release(None, course) == beside_text
    assert asked == [("openai-community/openai-gpt", release.REVISION, "model.safetensors", release.SHA256)]
    with pytest.raises(StudyError, match=r"^params\.yaml: gpt1\.embeddings: 'nowhere' is no file; .*null"):
        find_release("nowhere", course)


def params(tmp_path: Path, scale: str, **changes: str) -> Path:
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("scale: laptop ", f"scale: {scale} ")
    for old, new in changes.items():
        assert f"  {old}: null" in text
        text = text.replace(f"  {old}: null", f"  {old}: {new}")
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


def stage(monkeypatch, params: Path, out: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["stages.embeddings", f"--params={params}", f"--out={out}"])
    embeddings.main()


def test_the_stage_says_where_embeddings_are_learned(monkeypatch, tmp_path):
    out = tmp_path / "data" / "embeddings"
    stage(monkeypatch, params(tmp_path, "laptop"), out)
    assert {path.name: json.loads(path.read_text()) for path in out.iterdir()} == {"card.json": {"kind": "learned"}}


def test_a_release_has_as_many_positions_as_a_scale_may_take(monkeypatch, tmp_path, arrays):
    """One number, the configuration's, says both: a table of more is another model's."""
    read_release(npz(tmp_path / "a.npz", *arrays), VOCABULARY, WIDTH, CONTEXT)
    monkeypatch.setattr(release, "GPT1_CONTEXT", len(arrays[1]) - 1)
    with pytest.raises(StudyError, match=f"expected {CONTEXT} to {len(arrays[1]) - 1} rows"):
        read_release(npz(tmp_path / "a.npz", *arrays), VOCABULARY, WIDTH, CONTEXT)


def test_the_stage_at_the_reference_scale(monkeypatch, capsys, tmp_path):
    """The real sizes, from a course's file; then a file that will not do, which leaves nothing half-written."""
    rows = np.zeros((GPT1_VOCABULARY, GPT1_WIDTH), np.float32)
    rows[:, 0] = np.arange(GPT1_VOCABULARY)
    file, out = tmp_path / "embeddings.npz", tmp_path / "data" / "embeddings"
    np.savez_compressed(file, tokens=rows, position=rows[:512])
    settings = params(tmp_path, "reference", embeddings=str(file))
    stage(monkeypatch, settings, out)
    card = json.loads((out / "card.json").read_text())
    assert (card["kind"], card["source"]) == ("gpt1", "embeddings.npz")
    assert card["source_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert card["sha256"] == hashlib.sha256((out / "table.safetensors").read_bytes()).hexdigest()
    tables = load_file(out / "table.safetensors")
    assert np.array_equal(tables["tokens"], rows)
    assert np.array_equal(tables["positions"], rows[:256])
    shapes = {"heads": 12, "mlp": 3072}
    config = ModelConfig(architecture="gpt", layers=1, context=256, width=768, embeddings="gpt1", **shapes)
    assert open_embeddings(out, config, GPT1_VOCABULARY).sha256 == card["sha256"]

    file.write_bytes(file.read_bytes()[:1000])
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    with pytest.raises(SystemExit):
        stage(monkeypatch, settings, out)
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {file}: not a whole .npz file")
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert [path.name for path in out.parent.iterdir()] == ["embeddings"]


def test_a_disk_that_is_full_leaves_what_was_there(monkeypatch, tmp_path, arrays):
    folder = tmp_path / "embeddings"
    write_embeddings(folder, None, {})

    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space"):
        write_embeddings(folder, arrays, {})
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings"]
    assert json.loads((folder / "card.json").read_text()) == {"kind": "learned"}


@pytest.fixture
def folder(tmp_path, arrays) -> Path:
    """As the stage would write it, for the configurations of conftest.py."""
    path = tmp_path / "data" / "embeddings"
    tokens, positions = with_padding(arrays[0]), arrays[1][:CONTEXT]
    write_embeddings(path, (tokens, positions), {"source": "toy", "source_sha256": "0"})
    return path


def frozen(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"model": config.model.model_copy(update={"embeddings": "gpt1"})})


def test_what_is_written_is_opened(folder, run_config, arrays):
    pretrained = open_embeddings(folder, frozen(run_config()).model, VOCABULARY)
    assert np.array_equal(pretrained.table("tokens"), with_padding(arrays[0]))
    assert np.array_equal(pretrained.table("positions"), arrays[1][:CONTEXT])
    assert open_embeddings(folder.parent / "nowhere", run_config().model, VOCABULARY) is None


def test_tables_that_do_not_fit_are_refused(folder, run_config):
    config = frozen(run_config()).model
    card, content = (folder / "card.json").read_text(), (folder / "table.safetensors").read_bytes()

    def refused(named: str, vocabulary: int = VOCABULARY, config: ModelConfig = config) -> None:
        with pytest.raises(StudyError, match=named) as stopped:
            open_embeddings(folder, config, vocabulary)
        assert "run `dvc repro" in str(stopped.value)
        assert "\n" not in str(stopped.value)

    refused("tokens of shape \\[50, 16\\], but the run wants \\[51, 16\\]", vocabulary=51)
    refused("positions of shape", config=config.model_copy(update={"context": 7}))
    for spoiled in (content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
        (folder / "table.safetensors").write_bytes(spoiled)
        refused("table.safetensors: does not fit its card")
    (folder / "table.safetensors").unlink()
    refused("table.safetensors: no such file")
    (folder / "card.json").write_text(json.dumps({"kind": "learned"}))
    refused("kind 'learned', but the run wants 'gpt1'")
    for text in (card[:-5], "[]", "\xff"):
        (folder / "card.json").write_bytes(text.encode("latin-1"))
        refused("card.json: (damaged|not a card)")
    (folder / "card.json").unlink()
    refused("card.json: no such file")


def test_without_its_tables_there_is_no_model_but_of_shapes(run_config):
    config = frozen(run_config()).model
    with pytest.raises(ValueError, match="need their tables"):
        build_model(config, VOCABULARY)
    with torch.device("meta"):
        counts = count_parameters(build_model(config, VOCABULARY))
        learned = count_parameters(build_model(run_config().model, VOCABULARY))
    assert counts.pop("trainable_parameters") == counts["parameters"] - (VOCABULARY + CONTEXT) * WIDTH
    assert counts == {name: count for name, count in learned.items() if name != "trainable_parameters"}


@pytest.fixture
def run(tmp_path, token_folder, folder):
    """Train a frozen configuration to its end and write the run."""

    def make(config: RunConfig, name: str = "7-42") -> tuple[Trainer, Path]:
        card = read_card(token_folder)
        splits = {split: open_windows(token_folder, split, CONTEXT, card) for split in card["splits"]}
        pretrained = open_embeddings(folder, config.model, VOCABULARY)
        compute, out = settle(choose(config.compute)), tmp_path / "runs" / name
        job = Job(config=config, seed=42, splits=splits, vocabulary=VOCABULARY, compute=compute, pretrained=pretrained)
        trainer, meter = Trainer(job), MemoryMeter(compute.device)
        checkpoint = tmp_path / "checkpoints" / f"{name}.pt"
        saver = Saver(path=checkpoint, belongs_to="this", every_seconds=1e9, meter=meter)
        trainer.before = {key: tensor.clone() for key, tensor in trainer.model.state_dict().items()}
        trainer.checkpoint = checkpoint
        saver.restore(trainer)
        trainer.run([meter, HistoryFile(out), saver])
        write_run(trainer, meter, card, documents.open_starts(token_folder, "test", card), out)
        return trainer, out

    return make


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "momentum"])
@pytest.mark.parametrize("model", ["lstm", "gpt"])
def test_training_leaves_the_tables_to_the_bit_and_moves_all_else(run, run_config, arrays, model, optimizer):
    decay = 0.0 if optimizer == "adam" else 5e-4
    trainer, _ = run(frozen(run_config(model, optimizer, weight_decay=decay)))
    tables = {name: module for name, module in trainer.model.named_modules() if isinstance(module, FrozenEmbedding)}
    expected = {"embedding": with_padding(arrays[0])} | ({"positions": arrays[1][:CONTEXT]} if model == "gpt" else {})
    assert set(tables) == set(expected)
    assert not any(isinstance(module, nn.Embedding) for module in trainer.model.modules())
    for name, table in tables.items():
        assert np.array_equal(table.weight.numpy(), expected[name])
        assert not table.weight.requires_grad
    for name, weight in trainer.model.state_dict().items():
        assert not torch.equal(weight, trainer.before[name]), name

    held = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in trainer.model.parameters()}
    assert sum(p.numel() for p in trainer.model.parameters()) == count_parameters(trainer.model)["trainable_parameters"]
    shapes = {p.shape for p in trainer.model.parameters()} | {torch.Size([])}
    assert {t.shape for state in trainer.optimizer.state_dict()["state"].values() for t in state.values()} <= shapes


@pytest.mark.parametrize("model", ["lstm", "gpt"])
def test_neither_checkpoint_nor_saved_model_holds_a_table_and_both_come_back(run, run_config, folder, model):
    trainer, path = run(frozen(run_config(model)))
    saved, _ = checkpoints.load(trainer.checkpoint, "this")
    state = saved["trainer"]
    assert not [name for part in ("model", "best") for name in state[part] if "embedding" in name or "posit" in name]
    assert set(load_file(path / "model.safetensors")) == {name for name, _ in trainer.model.named_parameters()}
    config = trainer.job.config.model
    pretrained = open_embeddings(folder, config, VOCABULARY)
    restored = restore_model(path / "model.safetensors", config, VOCABULARY, pretrained)
    tokens = torch.arange(CONTEXT)[None]
    assert torch.equal(restored(tokens), trainer.model(tokens))
    other = PretrainedEmbeddings(pretrained.path, "another")
    for given in (other, None):
        with pytest.raises(StudyError, match=r"model\.safetensors: trained with other embeddings"):
            restore_model(path / "model.safetensors", config, VOCABULARY, given)


def test_a_stopped_run_ends_with_the_same_bits(run, run_config, monkeypatch):
    config, plain = frozen(run_config()), Trainer._step
    _, whole = run(config, "whole")
    steps = iter(range(1, 100))

    def step_and_stop(trainer: Trainer, batch) -> torch.Tensor:
        if next(steps) == 13:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(trainer, batch)

    monkeypatch.setattr(Trainer, "_step", step_and_stop)
    with pytest.raises(Interrupted):
        run(config)
    trainer, stopped = run(config)
    assert trainer.position.resumed == 1
    for name in ("model.safetensors", "history.csv", "metrics.json"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()


def test_a_learned_model_is_restored_without_any(run, run_config):
    trainer, path = run(run_config())
    restored = restore_model(path / "model.safetensors", trainer.job.config.model, VOCABULARY, None)
    assert torch.equal(restored.embedding.weight, trainer.model.embedding.weight)


def test_the_train_stage_takes_tables_in_and_binds_its_checkpoint_to_them(
    monkeypatch, capsys, tmp_path, folder, token_folder, run_config, arrays
):
    config = tmp_path / "7.json"
    config.write_text(frozen(run_config(epochs=1)).model_dump_json(exclude_none=True))
    argv = [f"--config={config}", "--seed=42", f"--tokens={token_folder}", f"--checkpoints={tmp_path / 'kept'}"]
    argv.append("--no-reuse")

    def main(*more: str) -> None:
        monkeypatch.setattr(sys, "argv", ["stages.train", *argv, f"--embeddings={folder}", *more])
        train.main()

    main(f"--out={tmp_path / 'runs' / '7-42'}")
    metrics = json.loads((tmp_path / "runs" / "7-42" / "metrics.json").read_text())
    assert metrics["trainable_parameters"] == metrics["parameters"] - (VOCABULARY + CONTEXT) * WIDTH

    def bound() -> str:
        def keep(_path, belongs_to):
            raise StudyError(belongs_to)

        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "load", keep)
            with pytest.raises(SystemExit):
                main(f"--out={tmp_path / 'runs' / 'other'}")
        return capsys.readouterr().err.splitlines()[-1]

    first = bound()
    assert bound() == first
    write_embeddings(folder, (with_padding(arrays[0], 1.0), arrays[1][:CONTEXT]), {"source": "toy"})
    assert bound() != first
    (folder / "table.safetensors").write_bytes(b"")
    assert "does not fit its card" in bound()
