"""The benchmarks run, at sizes at which their figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import parity, roundtrip, sampling, training
from benchmarks.contenders import as_pytorch_comes, our_trainer, plain_step
from benchmarks.parity import plain_copy
from benchmarks.sizes import configuration, open_scale
from lm.config.study import Experiment, Remedies
from lm.corpus import SPLITS
from lm.corpus.gpt1 import UNKNOWN, build_tokenizer
from lm.errors import StudyError
from lm.training.hardware import choose, settle

ROOT = Path(__file__).parents[1]


@pytest.fixture
def smoke(monkeypatch):
    monkeypatch.chdir(ROOT)
    return open_scale("smoke", "--shapes")


@pytest.mark.parametrize("model", ["gpt", "lstm"])
@pytest.mark.parametrize("contender", ["plain", "ours", "ours-fp32", "loss", "bookkeeping"])
def test_a_contender_runs(contender, model, smoke):
    measure, precision = training.CONTENDERS[contender]
    found = measure(smoke, configuration(smoke, model, 1, precision=precision))
    assert found
    assert all(figure >= 0 for figure in found.values())


@pytest.mark.usefixtures("smoke")
def test_a_contender_that_fails_is_named_in_one_line(monkeypatch, capsys):
    def fails(command, **_):
        failed = "ours-compiled" in command
        found = json.dumps(dict.fromkeys(("seconds", "footprint", "first", "rate", "share"), 1.0))
        return subprocess.CompletedProcess(command, int(failed), stdout=found, stderr="Traceback\n" if failed else "")

    monkeypatch.setattr(subprocess, "run", fails)
    monkeypatch.setattr(
        sys, "argv", ["training", "--shapes", "smoke", "--models", "gpt", "--rounds", "1", "--threads", "1"]
    )
    with pytest.raises(SystemExit):
        training.main()
    assert capsys.readouterr().err == (
        "error: ours-compiled: smoke gpt failed, exit status 1; `python -m benchmarks.training --contender "
        "ours-compiled --shapes smoke --models gpt --threads 1` shows why\n"
    )


@pytest.mark.usefixtures("smoke")
@pytest.mark.parametrize(
    ("module", "words"),
    [(training, ["--threads", "257"]), (sampling, ["--threads", "257"]), (sampling, ["--layers", "1", "257"])],
)
def test_numbers_that_no_configuration_may_have(module, words, monkeypatch, capsys):
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["benchmark", *words])
    with pytest.raises(SystemExit):
        module.main()
    assert capsys.readouterr().err == f"error: {words[0]}: 257; allowed: a whole number, 1 to 256\n"


@pytest.mark.parametrize("model", ["gpt", "lstm"])
def test_the_operations_are_counted(model, smoke):
    needed = training.operations(smoke, configuration(smoke, model, 1))
    scale = smoke.scales["smoke"]
    assert needed["projection"] == 3 * 2 * scale.batch * scale.context * scale.width * scale.tokenizer.vocabulary


def test_sizes_are_those_of_a_scale(smoke):
    """Whatever the study itself is set to: no remedy, and the scale's own sizes."""
    laptop = open_scale("laptop", "--shapes")
    for study in (smoke, laptop):
        scale, config = study.scales[study.scale], configuration(study, "gpt", 4, precision="fp32", threads=1)
        assert (config.model.width, config.model.context, config.model.layers) == (scale.width, scale.context, 4)
        assert config.model.sizes == {name: scale.sizes[name] for name in ("heads", "mlp")}
        assert (config.training.batch, config.training.clip, config.model.dropout) == (scale.batch, None, 0.0)
    with pytest.raises(StudyError, match="--shapes: unknown scale 'lapto'; did you mean 'laptop'"):
        open_scale("lapto", "--shapes")


@pytest.mark.parametrize("model", ["gpt", "lstm"])
def test_pretrained_tables_are_frozen_in_both_ways(model, smoke, monkeypatch):
    frozen = smoke.scales["smoke"].model_copy(update={"embeddings": "gpt1"})
    study = smoke.model_copy(update={"scales": {"smoke": frozen}})
    config = configuration(study, model, 1, precision="fp32")
    trainer = our_trainer(study, config)
    assert trainer.model.embedding.weight.shape == (512, 32)
    assert not any("embedding" in name or "positions" in name for name, _ in trainer.model.named_parameters())

    handed = []
    kept = torch.optim.Adam.__init__
    monkeypatch.setattr(
        torch.optim.Adam, "__init__", lambda self, p, **k: (handed.extend(p), kept(self, handed, **k))[1]
    )
    plain_step(study, config, settle(choose(config.compute)))()
    ours = sum(p.numel() for p in trainer.model.parameters())
    assert sum(p.numel() for p in handed) == ours


def test_ids_that_come_back(monkeypatch, capsys, tmp_path):
    """Of `ab a` and `<unk> b`: all, as the unknown word's token is a special one."""
    vocabulary = {name: number for number, name in enumerate(("a", "b", "b</w>", "a</w>", "ab</w>", UNKNOWN))}
    monkeypatch.setattr(roundtrip, "load_gpt1", lambda _folder: build_tokenizer(vocabulary, [("a", "b</w>")]))
    for split in SPLITS:
        np.savez(tmp_path / f"wiki.{split}.npz", tokens=np.array([5, 4, 6, 3]), sizes=np.array([2, 2]))
    monkeypatch.setattr(sys, "argv", ["roundtrip", str(tmp_path), str(tmp_path)])
    roundtrip.main()
    assert capsys.readouterr().out.splitlines() == [f"{split}: 4 of 4 tokens come back (100.0000%)" for split in SPLITS]


@pytest.mark.parametrize("model", ["gpt", "lstm"])
def test_the_plain_copy_is_the_same_function(model, smoke):
    config = configuration(smoke, model, 2, precision="fp32")
    ours = our_trainer(smoke, config).model
    tokens = torch.randint(512, (2, 32), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(plain_copy(ours, config)(tokens), ours(tokens) @ ours.embedding.weight.T, atol=1e-5)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"norm": "pre"}, "norm: 'pre'"),
        ({"dropout": 0.1}, "dropout: 0.1"),
        ({"warmup": 0.1}, "warmup: 0.1"),
        ({"schedule": "cosine"}, "schedule: 'cosine'"),
        ({"clip": 1.0}, "clip: 1.0"),
        ({"label_smoothing": 0.1}, "label_smoothing: 0.1"),
        ({"patience": 1}, "patience: 1"),
        ({"beta2": 0.95}, "beta2: 0.95"),
        ({"shards": 2, "weight_decay": 0.1, "heads": 2}, None),
        ({"optimizer": "momentum", "lr": 0.1, "momentum": 0.5}, None),
    ],
)
def test_what_the_plain_way_has_not_is_not_compared(line, told, smoke, monkeypatch, tmp_path, capsys):
    experiment = Experiment.model_validate({"model": "gpt", "layers": 1, "optimizer": "adam", **line})
    config = smoke.model_copy(update={"experiments": {"x": experiment}, "training": Remedies()}).resolve()["x"]
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/x.json").write_text(config.to_json())
    Path("runs/x-42").mkdir(parents=True)
    Path("runs/x-42/metrics.json").write_text('{"validation_perplexity": 9.0}')
    monkeypatch.setattr(parity, "train_plain", lambda *_: [9.0])
    monkeypatch.setattr(sys, "argv", ["parity", "--experiments", "x"])
    if told is None:
        parity.main()
        assert "| x | 9.00 | 9.00 | +0.00% |" in capsys.readouterr().out
        return
    with pytest.raises(SystemExit):
        parity.main()
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: experiment x: {told}: the plain way has it not; ")
    assert shown.out == ""


@pytest.mark.parametrize(("table", "told"), [("PLAIN", "architecture gpt"), ("_OPTIMIZERS", "optimizer adam")])
def test_what_was_added_to_the_study_has_no_plain_way(table, told, smoke, monkeypatch):
    monkeypatch.setattr(parity, table, {"lstm": None})
    with pytest.raises(StudyError, match=f"experiment .*: {told}: there is no plain way of it; .* of lstm$"):
        parity.check_plain(configuration(smoke, "gpt", 1))


def test_the_plain_way_has_pytorchs_own_algorithms(smoke):
    settle(choose(configuration(smoke, "gpt", 1, precision="fp32").compute))
    products = torch.backends.cuda.matmul
    with as_pytorch_comes():
        assert not torch.are_deterministic_algorithms_enabled()
        assert products.allow_bf16_reduced_precision_reduction
        assert products.allow_fp16_reduced_precision_reduction
    assert torch.are_deterministic_algorithms_enabled()
    assert not products.allow_bf16_reduced_precision_reduction
    assert not products.allow_fp16_reduced_precision_reduction
