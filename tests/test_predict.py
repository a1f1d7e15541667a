"""What a run is said to take before it runs, against figures worked out by hand and against PyTorch's own count."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lm.config.optimizers import OPTIMIZERS
from lm.config.run import ModelConfig, OptimizerConfig, RunConfig
from lm.config.study import load_study
from lm.models.build import build_model, count_parameters, entry, step_operations
from lm.models.language_model import Step
from lm.training.memory_model import predict_memory
from lm.training.optimizers import build_optimizer
from stages import predict
from tests.test_models import skip_what_no_kernel_is_for

ROOT = Path(__file__).parents[1]
V, N = 40_479, 2_356_374
"""The study's vocabulary, and the tokens that it predicted in an epoch."""
LSTM = {1: (34_107_392, 3_019_520), 2: (36_208_640, 5_120_768), 4: (40_411_136, 9_323_264)}
GPT = {1: (38_372_352, 7_087_872), 2: (45_460_224, 2 * 7_087_872), 4: (59_635_968, 4 * 7_087_872)}


@pytest.fixture(scope="module")
def reference() -> dict[str, RunConfig]:
    """As params.yaml has it, AdamW as the depth study's optimizer."""
    return load_study(ROOT / "params.yaml").model_copy(update={"scale": "reference", "optim": "adamw"}).resolve()


def of_shapes(config: ModelConfig, vocabulary: int):
    with torch.device("meta"):
        return build_model(config, vocabulary)


def test_parameters_of_all_twelve(reference):
    for name, config in reference.items():
        counts = count_parameters(of_shapes(config.model, V))
        whole, trained = (LSTM if config.model.architecture == "lstm" else GPT)[config.model.layers]
        assert (counts["parameters"], counts["trainable_parameters"]) == (whole, trained), name


MIB = 2**20
BATCH = 16 * 256


def test_memory_of_a_frozen_lstm_in_fp32(reference):
    """Experiment 1: the table takes room and nothing else; no gradient of it stands among the logits."""
    found = predict_memory(reference["1"], of_shapes(reference["1"].model, V), V, "cuda", "fp32")
    assert found == {
        "model_parameters_mb": 34_107_392 * 4 / MIB,
        "model_gradients_mb": 3_019_520 * 4 / MIB,
        "model_optimizer_mb": 3_019_520 * 8 / MIB,
        "model_activations_mb": BATCH * (512 * (24 + 4) + 768 * (4 + 4) + 512 * 4) / MIB,
        "model_logits_mb": (2**26 // V * V * 4 + BATCH * 768 * 4) / MIB,
    }


def test_memory_of_a_frozen_gpt_in_half_precision(reference):
    """Experiment 12 in fp16: weights' and the table's half-precision copies come in."""
    found = predict_memory(reference["12"], of_shapes(reference["12"].model, V), V, "cuda", "fp16")
    a_block = 768 * (6 * 2 + 2 * 4) + 3072 * 2 * 2
    copies = (59_635_968 - V * 768) * 2
    rows = 2**26 // V
    assert found == {
        "model_parameters_mb": 59_635_968 * 4 / MIB,
        "model_gradients_mb": 28_351_488 * 4 / MIB,
        "model_optimizer_mb": 28_351_488 * 8 / MIB,
        "model_activations_mb": (BATCH * (4 * a_block + 768 * 4) + copies) / MIB,
        "model_logits_mb": (rows * V * (4 + 2) + BATCH * 768 * 3 * 4 + V * 768 * 2) / MIB,
    }


def test_a_cpu_holds_weights_of_attention_and_few_rows_of_the_softmax(reference):
    model = of_shapes(reference["12"].model, V)
    on_cpu, on_cuda = (predict_memory(reference["12"], model, V, device, "bf16") for device in ("cpu", "cuda"))
    more = {name: on_cpu[name] - on_cuda[name] for name in on_cpu if on_cpu[name] != on_cuda[name]}
    assert more == {
        "model_activations_mb": pytest.approx(4 * BATCH * 12 * 256 * 2 / MIB),
        "model_logits_mb": pytest.approx(((512 - 2**26 // V) * 2 + (2**20 // V - 2**26 // V) * 4) * V / MIB),
    }


@pytest.mark.parametrize(("optimizer", "copies"), [("adam", 2), ("adamw", 2), ("sgd", 0), ("momentum", 1)])
def test_the_state_that_an_optimizer_is_said_to_keep_is_what_it_keeps(optimizer, copies):
    momentum = {"momentum": 0.9} if optimizer == "momentum" else {}
    parameter = torch.nn.Parameter(torch.ones(50))
    built = build_optimizer(OptimizerConfig(name=optimizer, lr=0.1, **momentum), [parameter])
    parameter.grad = torch.ones(50)
    built.step()
    kept = sum(state.numel() for state in built.state[parameter].values() if state is not None and state.numel() == 50)
    assert kept == 50 * OPTIMIZERS[optimizer].state_copies == 50 * copies


SIZES = {"lstm": {"lstm_hidden": 128}, "gpt": {"heads": 4, "mlp": 256}}


@pytest.mark.parametrize("half", [2, 4])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(("architecture", "norm"), [("lstm", "post"), ("gpt", "post"), ("gpt", "pre")])
def test_activations_are_what_pytorch_saves(architecture, norm, dropout, half):
    """Counted in the graph; the LSTM's workspace, whose padding is oneDNN's own affair, to a tenth."""
    skip_what_no_kernel_is_for(architecture, torch.bfloat16 if half == 2 else torch.float32)
    windows, config = (
        4,
        ModelConfig(
            architecture=architecture, layers=3, context=64, width=64, norm=norm, dropout=dropout, **SIZES[architecture]
        ),
    )
    model = build_model(config, 97)
    not_activations = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    found: dict[int, int] = {}

    def pack(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in not_activations:
            found[storage.data_ptr()] = storage.nbytes()
        return saved

    tokens = torch.randint(97, (windows, 64), generator=torch.Generator().manual_seed(0))
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved),
        torch.autocast("cpu", torch.bfloat16, enabled=half == 2),
    ):
        features = model(tokens)
    found[features.untyped_storage().data_ptr()] = features.untyped_storage().nbytes()
    copies = 2 * sum(weight.numel() for name, weight in model.named_parameters() if "norm" not in name)
    tables = 97 * 64 + (64 * 64 if architecture == "gpt" else 0)
    if half == 2:
        found[0] = -(copies - 2 * tables)  # what autocast makes of weights is counted with the weights
    predicted = entry(architecture).activation_bytes(config, Step(windows=windows, half=half, device="cpu"))
    assert predicted == pytest.approx(sum(found.values()), rel=0.1 if architecture == "lstm" else 0.02)


def test_operations_of_an_epoch_worked_out(reference):
    lstm, gpt = reference["10"].model, reference["12"].model
    projection = 2 * 2 * N * 768 * V
    found = step_operations(lstm, V, N, frozen_table=True)
    first, deeper, head = 4 * 512 * (768 + 512), 3 * 4 * 512 * (512 + 512), 512 * 768
    assert found["projection"] == projection
    assert found["body"] == 2 * N * (3 * (first + deeper + head) - 4 * 512 * 768)
    found = step_operations(gpt, V, N, frozen_table=True)
    a_block = 4 * 768 * 768 + 2 * 768 * 3072 + 256 * 768
    assert found["projection"] == projection
    assert found["body"] == 2 * N * (3 * 4 * a_block - 3 * 768 * 768)
    assert step_operations(gpt, V, N, frozen_table=False)["projection"] == 1.5 * projection


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("embeddings", ["learned", "gpt1"])
@pytest.mark.parametrize("architecture", ["lstm", "gpt"])
def test_operations_are_those_that_pytorch_counts(architecture, embeddings, layers):
    batch, context, width, hidden = 4, 16, 24, 20
    shapes = {"lstm_hidden": hidden} if architecture == "lstm" else {"heads": 2, "mlp": 96}
    config = ModelConfig(
        architecture=architecture, layers=layers, context=context, width=width, embeddings=embeddings, **shapes
    )
    model = of_shapes(config, 97)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        tokens = torch.zeros(batch, context, dtype=torch.long)
        (model(tokens) @ model.embedding.weight.T).sum().backward()
    ours = sum(step_operations(config, 97, batch * context, embeddings == "gpt1").values())
    if architecture == "lstm":
        # the zero initial state needs no gradient
        assert counter.get_total_flops() == ours - layers * 2 * batch * 4 * hidden * hidden
    else:
        # PyTorch counts the half of attention that the causal mask takes out
        assert counter.get_total_flops() == ours + layers * 3 * 2 * batch * context * context * width


def told(monkeypatch, capsys, folder: Path, *words: str, **card) -> str:
    """What is said of the study in a folder whose tokens have this card."""
    (folder / "data" / "tokens").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "tokens" / "card.json").write_text(json.dumps(card))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["stages.predict", f"--params={ROOT / 'params.yaml'}", *words])
    with contextlib.suppress(SystemExit):
        predict.main()
    shown = capsys.readouterr()
    return shown.out + shown.err


@pytest.mark.parametrize(
    ("words", "tokens"),
    [((), "1,000"), (("--train-tokens=500",), "500"), (("--scale=smoke", "--train-tokens=500"), "500")],
)
def test_a_vocabulary_of_ids_is_the_tokens_own(monkeypatch, capsys, tmp_path, words, tokens):
    """At any scale, and whoever says how many they are."""
    splits = {"train": {"predicted_tokens": 1000}}
    found = told(monkeypatch, capsys, tmp_path, *words, vocabulary=V, splits=splits, tokenizer={"kind": "ids"})
    assert f"vocabulary of 40,479, {tokens} training tokens" in found
    row = next(line for line in found.splitlines() if line.startswith("|") and "lstm" in line)
    assert int(row.split("|")[5].replace(",", "")) > V * 32


def test_tokens_of_another_scale_are_not_counted(monkeypatch, capsys, tmp_path):
    """As after an edit of `scale`, before `dvc repro`."""
    card = {"vocabulary": 777, "splits": {"train": {"predicted_tokens": 1000}}}
    own = load_study(ROOT / "params.yaml")
    vocabulary = f"{own.scales[own.scale].tokenizer.vocabulary:,}"
    assert told(monkeypatch, capsys, tmp_path, **card) == (
        f"error: --train-tokens: missing; data/tokens has a vocabulary of 777 and the scale {own.scale} "
        f"one of {vocabulary}: run `dvc repro tokenize`\n"
    )
    assert f"vocabulary of {vocabulary}, 500" in told(monkeypatch, capsys, tmp_path, "--train-tokens=500", **card)


def test_the_table_adds_up(monkeypatch, capsys):
    argv = ["--scale=reference", f"--train-tokens={N}", "--peak=15.7", "--utilization=0.5", "--precision=fp32"]
    monkeypatch.setattr(sys, "argv", ["stages.predict", f"--params={ROOT / 'params.yaml'}", *argv])
    predict.main()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("|")
    ]
    heads, runs, total = rows[0], rows[2:-1], rows[-1]
    assert [row[0] for row in runs] == [str(number) for number in range(1, 13)]
    assert {len(row) for row in rows} == {len(heads)}
    operations, hours = heads.index("TFLOP an epoch"), heads.index("hours expected")
    for row in runs:
        expected = 10 * float(row[operations]) / (15.7 * 0.5) / 3600
        assert float(row[hours]) == pytest.approx(expected, abs=0.006)
        parts = [float(row[column].replace(",", "")) for column in range(6, 11)]
        assert float(row[11].replace(",", "")) == pytest.approx(sum(parts), abs=0.3)
    assert total[0] == "all, one seed"
    assert float(total[operations].replace(",", "")) == pytest.approx(sum(float(r[operations]) for r in runs), abs=0.7)
    assert float(total[hours]) == pytest.approx(sum(float(r[hours]) for r in runs), abs=0.07)
