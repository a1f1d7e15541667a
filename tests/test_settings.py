"""The settings of remedies: where they reach, what ``of`` takes over, and the line that refuses each misuse."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import pytest
import yaml

from lm.config.architectures import some_settings
from lm.config.run import ModelConfig, OptimizerConfig, RunConfig
from lm.config.strict import one_line
from lm.config.study import Remedies, Study, load_study
from lm.errors import StudyError
from stages import configure

PARAMS = Path(__file__).parents[1] / "params.yaml"
SCALES = yaml.safe_load(PARAMS.read_text())["scales"]


@pytest.fixture(scope="module")
def params() -> dict:
    return yaml.safe_load(PARAMS.read_text())


@pytest.fixture
def load(tmp_path, params):
    """The study with dotted keys set."""

    def changed(**values: object) -> Study:
        content = copy.deepcopy(params)
        for key, value in values.items():
            at = content
            *way, last = key.split("/")
            for part in way:
                at = at[part]
            at[last] = value
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return load_study(path)

    return changed


def with_lines(load, **lines: dict) -> dict[str, RunConfig]:
    return load(**{f"experiments/{name}": line for name, line in lines.items()}).resolve()


def test_a_setting_that_the_model_has_reaches_it():
    """One that nobody hands on would stay at its default without a word."""
    assert set(ModelConfig.model_fields) & set(Remedies.model_fields) == {"dropout", *some_settings()}


def test_defaults_are_the_original_study(params, load):
    assert params["training"] == {
        "norm": "post",
        "warmup": 0.0,
        "schedule": "constant",
        "clip": None,
        "dropout": 0.0,
        "label_smoothing": 0.0,
        "patience": None,
        "shards": 1,
    }
    without = copy.deepcopy(params)
    del without["training"]
    assert load(**without).resolve() == load_study(PARAMS).resolve()


@pytest.mark.parametrize(
    ("key", "value", "at"),
    [
        ("norm", "pre", "model"),
        ("dropout", 0.1, "model"),
        ("warmup", 0.05, "training"),
        ("schedule", "cosine", "training"),
        ("clip", 1.0, "training"),
        ("label_smoothing", 0.1, "training"),
        ("patience", 2, "training"),
        ("shards", 4, "training"),
    ],
)
def test_a_remedy_reaches_every_run_that_it_applies_to_and_a_line_overrules_it(load, key, value, at):
    before = load_study(PARAMS).resolve()
    after = load(**{f"training/{key}": value}).resolve()
    for name, config in after.items():
        takes = key != "norm" or config.model.architecture == "gpt"
        assert (getattr(getattr(config, at), key) == value) is takes
        assert (config != before[name]) is takes
    own = with_lines(load, **{"12x": {"of": "12", key: value}})
    assert {name: config for name, config in own.items() if name != "12x"} == before
    assert getattr(getattr(own["12x"], at), key) == value
    default = before["12"].model_dump()[at][key]
    line = {"of": "12", "layers": 3, key: default}
    overruled = load(**{f"training/{key}": value, "experiments/x": line}).resolve()["x"]
    assert getattr(getattr(overruled, at), key) == default


def test_of_takes_over_a_line_and_changes_what_it_names(load):
    found = with_lines(
        load,
        later={"of": "mine", "epochs": 3},
        mine={"of": "4", "lr": 0.5, "momentum": 0.5, "lstm_hidden": 64, "epochs": 2, "clip": 1.0},
    )
    mine, base, later = found["mine"], found["4"], found["later"]
    assert (mine.model.architecture, mine.model.layers, mine.optimizer.name) == ("lstm", 1, "momentum")
    assert (mine.optimizer.lr, mine.optimizer.settings) == (0.5, {"weight_decay": 0.0005, "momentum": 0.5})
    assert mine.model.sizes == {"lstm_hidden": 64}
    assert (mine.training.epochs, mine.training.clip) == (2, 1.0)
    assert later == mine.model_copy(
        update={"experiment": "later", "training": mine.training.model_copy(update={"epochs": 3})}
    )
    assert base == load_study(PARAMS).resolve()["4"]


def test_a_line_without_an_optimizer_follows_optim_through_of(load):
    assert load(optim="sgd", **{"experiments/w": {"of": "12", "warmup": 0.1}}).resolve()["w"].optimizer.name == "sgd"


@pytest.mark.parametrize(
    ("split", "folds", "fold"),
    [("own", None, 0), ({"folds": None, "fold": 0}, None, 0), ({"folds": 5}, 5, 0), ({"folds": 5, "fold": 4}, 5, 4)],
)
def test_split(load, split, folds, fold):
    found = load(split=split).split
    assert (found.folds, found.fold) == (folds, fold)


def test_what_dvc_needs_has_no_default(tmp_path, params):
    """A key that DVC takes a stage's parameters from: without it only DVC would stop, and name no line of the file."""
    pipeline = yaml.safe_load((PARAMS.parent / "dvc.yaml").read_text())["stages"]
    needed = {key.partition(".")[0] for stage in pipeline.values() for key in stage.get("params", [])}
    assert {"split", "scale", "scales", "gpt1", "corpus"} <= needed
    for key in needed:
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump({name: value for name, value in params.items() if name != key}))
        with pytest.raises(StudyError, match=rf"params\.yaml: {key}: missing; it has no default$"):
            load_study(path)


@pytest.mark.parametrize("name", ["own", "my-own_2", "1", "_", "-1", "a" * 64])
def test_a_scale_of_ones_own(load, name):
    assert load(**{f"scales/{name}": SCALES["laptop"], "scale": name}).resolve() == load_study(PARAMS).resolve()


LINE = "experiments/x"
REFUSED = {
    "norm of an LSTM": ({LINE: {"of": "9", "norm": "pre"}}, ["experiments.x.norm", "lstm has none"]),
    "even the default norm": ({LINE: {"of": "9", "norm": "post", "lr": 0.1}}, ["experiments.x.norm", "lstm"]),
    "a norm that there is not": ({"training/norm": "middle"}, ["training.norm", "'middle'", "'post' or 'pre'"]),
    "heads of an LSTM": ({LINE: {"of": "9", "heads": 2}}, ["experiments.x.heads", "lstm_hidden"]),
    "hidden size of a GPT": ({LINE: {"of": "5", "lstm_hidden": 2}}, ["experiments.x.lstm_hidden", "heads, mlp"]),
    "heads that do not divide": ({LINE: {"of": "5", "heads": 3}}, ["experiments.x", "width 128", "heads 3"]),
    "a size of zero": ({LINE: {"of": "5", "mlp": 0}}, ["experiments.x.mlp", "0", "greater than 0"]),
    "an absurd size": ({LINE: {"of": "5", "mlp": 10**9}}, ["experiments.x.mlp", "1000000000", "131072"]),
    "a size that is text": ({LINE: {"of": "5", "mlp": "big"}}, ["experiments.x.mlp", "'big'", "integer"]),
    "momentum for adam": ({LINE: {"of": "5", "momentum": 0.9}}, ["experiments.x.momentum", "adam takes none", "beta2"]),
    "momentum for adam, below": ({"optimizers/adam": {"lr": 0.1, "momentum": 0.9}}, ["optimizers.adam.momentum"]),
    "momentum for sgd": (
        {"optimizers/sgd": {"lr": 0.1, "momentum": 0.9}},
        ["optimizers.sgd.momentum", "sgd takes none"],
    ),
    "momentum without it": ({"optimizers/momentum": {"lr": 0.1}}, ["optimizers.momentum.momentum", "missing"]),
    "momentum of zero": ({"optimizers/momentum/momentum": 0.0}, ["optimizers.momentum.momentum", "greater than 0"]),
    "beta2 for sgd": ({LINE: {"of": "7", "beta2": 0.9}}, ["experiments.x.beta2", "lr, weight_decay"]),
    "beta2 of one": ({LINE: {"of": "5", "beta2": 1.0}}, ["experiments.x.beta2", "1.0", "less than 1"]),
    "a rate of zero": ({LINE: {"of": "5", "lr": 0}}, ["experiments.x.lr", "0", "greater than 0"]),
    "an absurd rate": ({LINE: {"of": "5", "lr": 1e9}}, ["experiments.x.lr", "1000000000.0", "1000"]),
    "a rate that is none": ({LINE: {"of": "5", "lr": None}}, ["experiments.x.lr", "None", "number"]),
    "negative decay": ({LINE: {"of": "5", "weight_decay": -1.0}}, ["experiments.x.weight_decay", "-1.0"]),
    "an infinite decay": ({LINE: {"of": "5", "weight_decay": float("inf")}}, ["experiments.x.weight_decay", "finite"]),
    "no epochs": ({LINE: {"of": "5", "epochs": 0}}, ["experiments.x.epochs", "0", "greater than 0"]),
    "epochs without end": ({LINE: {"of": "5", "epochs": 10**7}}, ["experiments.x.epochs", "10000"]),
    "a misspelled remedy": ({LINE: {"of": "5", "warmpu": 0.1}}, ["experiments.x.warmpu", "0.1", "'warmup'"]),
    "a misspelled size": ({LINE: {"of": "9", "lstm_hiden": 4}}, ["experiments.x.lstm_hiden", "'lstm_hidden'"]),
    "a misspelled default": ({"training/dropuot": 0.1}, ["training.dropuot", "'dropout'"]),
    "a misspelled model": ({LINE: {"model": "lsmt", "layers": 1}}, ["experiments.x.model", "lsmt", "'lstm'"]),
    "a misspelled optimizer": ({"optim": "momentun"}, ["optim", "momentun", "'momentum'"]),
    "warm-up beyond all": ({"training/warmup": 1.5}, ["training.warmup", "1.5", "less than or equal to 1"]),
    "warm-up in steps": ({"training/warmup": 100}, ["training.warmup", "100"]),
    "an unknown schedule": ({"training/schedule": "linear"}, ["training.schedule", "'linear'", "'cosine'"]),
    "clipping at zero": ({"training/clip": 0}, ["training.clip", "0", "greater than 0"]),
    "clipping, yes": ({"training/clip": True}, ["training.clip", "True", "number"]),
    "dropout of everything": ({"training/dropout": 1.0}, ["training.dropout", "1.0", "less than 1"]),
    "three shards": ({"training/shards": 3}, ["training.shards", "3", "1, 2, 4, 8"]),
    "too many shards": ({"training/shards": 128}, ["training.shards", "128", "64"]),
    "a share of a shard": ({"training/shards": 2.0}, ["training.shards", "2.0", "integer"]),
    "smoothing all away": ({"training/label_smoothing": 1.0}, ["training.label_smoothing", "less than 1"]),
    "no patience": ({"training/patience": 0}, ["training.patience", "0", "greater than 0"]),
    "patience of a half": ({"training/patience": 0.5}, ["training.patience", "0.5", "integer"]),
    "patience of a whole run": (
        {"training/patience": 10},
        ["training.patience", "10", "experiment 1, of 10 epochs", "1 to 9, null"],
    ),
    "patience of its own run": (
        {LINE: {"of": "5", "epochs": 3, "patience": 3}},
        ["experiments.x.patience", "experiment x, of 3 epochs", "1 to 2, null"],
    ),
    "patience of one epoch": ({LINE: {"of": "5", "epochs": 1, "patience": 1}}, ["experiments.x.patience", "null"]),
    "fold of as many": ({"split": {"folds": 5, "fold": 5}}, ["split", "fold 5 of 5", "0 to 4"]),
    "a negative fold": ({"split": {"folds": 5, "fold": -1}}, ["split", "-1"]),
    "one fold": ({"split": {"folds": 1, "fold": 0}}, ["split.folds", "1", "2"]),
    "a fold of none": ({"split": {"folds": None, "fold": 3}}, ["split", "fold 3 without folds"]),
    "a split of another name": ({"split": "random"}, ["split", "random"]),
    "a misspelled fold": ({"split": {"folds": 5, "flod": 1}}, ["split.flod", "'fold'"]),
    "of nothing": ({LINE: {"of": "55", "lr": 0.1}}, ["experiments.x.of", "no experiment '55'", "did you mean '5'"]),
    "of a number": ({LINE: {"of": 5, "lr": 0.1}}, ["experiments.x.of", "5", "quotes"]),
    "of itself": ({LINE: {"of": "x"}}, ["experiments.x.of", "circle", "x of x"]),
    "of one another": ({LINE: {"of": "y"}, "experiments/y": {"of": "x"}}, ["circle", "x of y of x"]),
    "of and nothing changed": ({LINE: {"of": "5"}}, ["experiments.x", "experiments.5", "gpt"]),
    "what is so anyway": ({LINE: {"of": "5", "lr": 0.001, "warmup": 0.0}}, ["experiments.x", "experiments.5"]),
    "the default written out": ({LINE: {"of": "5", "beta2": 0.999}}, ["experiments.x", "experiments.5"]),
    "an id of two lines": ({"experiments/a\nb": {"of": "5", "lr": 0.1}}, ["experiments", r"a\nb"]),
    "an id without end": ({"experiments/" + "a" * 300: {"of": "5", "lr": 0.1}}, ["experiments", "aaa", "…"]),
    "a key of two lines": ({"training/a\nb": 1}, ["training", r"a\nb"]),
    "a seed below zero": ({"seeds": [-5]}, ["seeds.0", "-5"]),
    "a thousand threads": ({"threads": 1000}, ["threads", "1000", "256"]),
    "a million layers": ({"experiments/5/layers": 10**6}, ["experiments.5.layers", "1000000", "256"]),
    "a context without end": ({"scales/laptop/context": 10**8}, ["scales.laptop.context", "100000000"]),
    "a width without end": ({"scales/laptop/width": 10**8}, ["scales.laptop.width", "100000000"]),
    "a batch without end": ({"scales/laptop/batch": 10**8}, ["scales.laptop.batch", "100000000"]),
    "a name beside a rate": ({"optimizers/sgd/name": "adam"}, ["optimizers.sgd.name", "unknown key"]),
    **{
        f"a scale that DVC can't find by its name, {name!r}": (
            {f"scales/{name}": SCALES["laptop"], "scale": name},
            ["scales: name", one_line(name), "use letters, digits, '_' and '-'"],
        )
        for name in ("a.b", "[x]", "a[0]", "", "a b", "a\nb", "a" * 65)
    },
    "a misspelled scale": ({"scale": "labtop"}, ["scale", "labtop", "'laptop'"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_apply_is_refused_in_one_line(load, case):
    values, named = REFUSED[case]
    with pytest.raises(StudyError) as error:
        load(**values)
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 500
    assert [word for word in ["params.yaml", *named] if word not in line] == []


@pytest.mark.parametrize(
    ("key", "first", "second"), [("  lr", "0.1", "0.2"), ("  sgd", "{lr: 0.1}", "{lr: 0.2}"), ("seeds", "[1]", "[2]")]
)
def test_a_key_that_stands_twice_is_named_with_both_values(tmp_path, key, first, second):
    path = tmp_path / "params.yaml"
    head = "optimizers:\n" if key.startswith(" ") else ""
    path.write_text(f"{head}{key}: {first}\n{key}: {second}\n")
    with pytest.raises(StudyError) as error:
        load_study(path)
    assert str(error.value).endswith(f"key '{key.strip()}' stands twice: {first} and {second}; each key may stand once")
    assert f"line {2 + len(head.splitlines())}:" in str(error.value)


@pytest.mark.parametrize(
    "beside", ["z: &a [*a]", "z: &a {b: *a}", "z: &a\n  ? y\n  : *a", "? [a]\n: 1", "? [a]\n: 1\n? [b]\n: 1"]
)
def test_a_key_that_stands_twice_is_found_beside_what_is_odd(tmp_path, beside):
    """Values that hold themselves, keys that are lists."""
    path = tmp_path / "params.yaml"
    path.write_text(f"optimizers: {{sgd: 1, sgd: 2}}\n{beside}\n")
    with pytest.raises(StudyError, match="line 1: key 'sgd' stands twice: 1 and 2; each key may stand once"):
        load_study(path)


@pytest.mark.parametrize(
    "line",
    [
        'optim: "\\ud800"',
        '"\\udfff": 1',
        'corpus: "a\\ud83d\\ude00"',
        'y: [{a: ["\\U0000d800"]}]',
        '? [x, "\\ud800"]\n: 1',
    ],
)
def test_half_a_character(tmp_path, line):
    path = tmp_path / "params.yaml"
    path.write_text(f"z: &a [*a]\n{line}\n")
    with pytest.raises(StudyError, match=r"params\.yaml: '.*\\ud.*' holds half a character") as error:
        load_study(path)
    assert "\n" not in str(error.value)
    str(error.value).encode()


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(StudyError, match="cannot be read"):
        load_study(tmp_path)
    path = tmp_path / "params.yaml"
    path.write_text("[" * 5000)
    with pytest.raises(StudyError) as error:
        load_study(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ({"architecture": "gru"}, "unknown architecture 'gru'"),
        ({"heads": None}, "heads"),
        ({"lstm_hidden": 4}, "gpt has none"),
    ],
)
def test_a_resolved_configuration_is_checked_too(tmp_path, model, named):
    """A file that was edited, or written by another version, must not train something else."""
    good = load_study(PARAMS).resolve()["5"]
    content = good.model_dump()
    content["model"] = {key: value for key, value in (content["model"] | model).items() if value is not None}
    path = tmp_path / "5.json"
    path.write_text(json.dumps(content))
    with pytest.raises(StudyError, match=named) as error:
        RunConfig.read(path)
    assert "\n" not in str(error.value)


def test_an_unknown_name_raises_wherever_it_comes_from():
    with pytest.raises(ValueError, match="unknown optimizer 'lion'"):
        OptimizerConfig(name="lion", lr=0.1)
    with pytest.raises(ValueError, match="unknown architecture 'gru'"):
        ModelConfig(architecture="gru", layers=1, context=8, width=8)


class TestConfigure:
    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        def run(**changes: str) -> dict[str, RunConfig]:
            text = PARAMS.read_text()
            for before, after in changes.values():
                assert before in text
                text = text.replace(before, after)
            (tmp_path / "params.yaml").write_text(text)
            argv = ["stages.configure", f"--params={tmp_path / 'params.yaml'}", f"--out={tmp_path / 'configs'}"]
            monkeypatch.setattr(sys, "argv", argv)
            configure.main()
            return {path.stem: RunConfig.read(path) for path in (tmp_path / "configs").iterdir()}

        return run

    def test_a_runs_key_holds_what_is_used(self, run):
        for config in run().values():
            assert config.compute.device in ("cpu", "cuda")
            assert config.compute.precision in ("fp32", "bf16", "fp16")

    @pytest.mark.parametrize(("fast", "precision"), [(False, "fp32"), (True, "bf16")])
    def test_auto_is_bf16_on_a_cpu_where_that_is_faster(self, run, monkeypatch, fast, precision):
        monkeypatch.setattr("lm.training.hardware.fast_bf16_cpu", lambda: fast)
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        assert {config.compute.precision for config in run().values()} == {precision}

    def test_what_this_machine_has_not_is_refused_by_its_full_key(self, run, monkeypatch, capsys):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        with pytest.raises(SystemExit):
            run(precision=("precision: auto", "precision: tf32"))
        assert "scales.laptop.precision: 'tf32'" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            run(device=("device: auto", "device: cuda"))
        assert "params.yaml: device: 'cuda'" in capsys.readouterr().err
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (7, 5))
        with pytest.raises(SystemExit):
            run(precision=("precision: auto", "precision: bf16"))
        assert "params.yaml: scales.laptop.precision: 'bf16' needs a GPU" in capsys.readouterr().err

    def test_compiling_on_a_cpu_without_a_compiler_is_refused(self, run, monkeypatch, capsys):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-such-g++"))
        run()
        with pytest.raises(SystemExit):
            run(compile=("compile: false", "compile: true"))
        told = capsys.readouterr().err
        assert "compile: true needs a C++ compiler on a CPU, and no-such-g++ is not there; install it" in told
        assert told.count("\n") == 1
        monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, sys.executable))
        assert all(config.compute.compile for config in run(compile=("compile: false", "compile: true")).values())

    def test_gpus_that_pytorch_cannot_use_are_told(self, run, monkeypatch, capsys):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        monkeypatch.setattr("pynvml.nvmlInit", lambda: None)
        monkeypatch.setattr("pynvml.nvmlDeviceGetCount", lambda: 0)
        run()
        assert "GPU" not in capsys.readouterr().err
        monkeypatch.setattr("pynvml.nvmlDeviceGetCount", lambda: 2)
        run()
        assert "comes to the CPU, though there are 2 NVIDIA GPU(s)" in capsys.readouterr().err
        run(device=("device: auto", "device: cpu"))
        assert "GPU" not in capsys.readouterr().err
