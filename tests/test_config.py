"""params.yaml: what it resolves to, and the one line with which everything wrong in it is answered."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.config.run import RunConfig
from lm.config.study import load_study
from lm.errors import StudyError, reported

PARAMS = Path(__file__).parents[1] / "params.yaml"
MISSING = object()


@pytest.fixture(scope="module")
def params() -> dict:
    return yaml.safe_load(PARAMS.read_text())


def put(content: dict, key: str, value: object) -> dict:
    """A copy with the dotted key set, or taken out."""
    changed = copy.deepcopy(content)
    *path, last = key.split(".")
    at = changed
    for part in path:
        at = at[part]
    if value is MISSING:
        del at[last]
    else:
        at[last] = value
    return changed


@pytest.fixture
def load(tmp_path):
    def from_content(content: dict):
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return load_study(path)

    return from_content


def test_the_twelve_of_the_study(params):
    study = load_study(PARAMS)
    optimizers = ["adam", "adamw", "sgd", "momentum"]
    assert [(each.model, each.layers, study.optimizer_of(name)) for name, each in study.experiments.items()] == [
        *(("lstm", 1, optimizer) for optimizer in optimizers),
        *(("gpt", 1, optimizer) for optimizer in optimizers),
        ("lstm", 2, study.optim),
        ("lstm", 4, study.optim),
        ("gpt", 2, study.optim),
        ("gpt", 4, study.optim),
    ]
    assert list(study.experiments) == [str(number) for number in range(1, 13)]
    assert {"smoke", "laptop", "reference"} <= set(study.scales)
    assert (params["corpus"], params["optim"], params["seeds"]) == ("sotu", "adamw", [42])


def test_the_studys_hyperparameters():
    study = load_study(PARAMS)
    assert {name: {"lr": each.lr, **each.settings} for name, each in study.optimizers.items()} == {
        "adam": {"lr": 0.001, "weight_decay": 0.0, "beta2": 0.999},
        "adamw": {"lr": 0.001, "weight_decay": 0.0005, "beta2": 0.999},
        "sgd": {"lr": 0.001, "weight_decay": 0.0005},
        "momentum": {"lr": 0.001, "weight_decay": 0.0005, "momentum": 0.9},
    }
    scale = study.scales["reference"]
    assert (scale.context, scale.width, scale.sizes) == (256, 768, {"lstm_hidden": 512, "heads": 12, "mlp": 3072})
    assert (scale.batch, scale.epochs) == (16, 10)


def test_a_configuration_survives_its_file(tmp_path):
    for name, config in load_study(PARAMS).resolve().items():
        path = tmp_path / f"{name}.json"
        path.write_text(config.to_json())
        assert RunConfig.read(path) == config


def test_a_configuration_holds_only_what_its_model_has(params, load):
    configurations = load(params).resolve()
    assert set(configurations["1"].model.sizes) == {"lstm_hidden"}
    assert set(configurations["5"].model.sizes) == {"heads", "mlp"}
    assert configurations["3"].optimizer.settings == {"weight_decay": 0.0005}


def test_a_configuration_leaves_out_what_is_at_its_default(params, load):
    """Else a setting that comes later would retrain every run."""
    content = json.loads(load(params).resolve()["5"].to_json())
    assert set(content["model"]) == {"architecture", "layers", "context", "width", "heads", "mlp"}
    assert content["optimizer"] == {"name": "adam", "lr": 0.001}
    assert set(content["training"]) == {"batch", "epochs", "train_sample"}


def changed_configurations(load, params: dict, key: str, value: object) -> set[str]:
    before, after = load(params).resolve(), load(put(params, key, value)).resolve()
    return {name for name in before if before[name] != after.get(name)}


@pytest.mark.parametrize(
    ("key", "value", "changed"),
    [
        ("optim", "sgd", {"9", "10", "11", "12"}),
        ("optimizers.sgd.lr", 0.1, {"3", "7"}),
        ("experiments.5.layers", 3, {"5"}),
        ("seeds", [42, 43], set()),
        ("scales.reference.batch", 8, set()),
        ("scales.laptop.heads", 4, {"5", "6", "7", "8", "11", "12"}),
        ("scales.laptop.lstm_hidden", 64, {"1", "2", "3", "4", "9", "10"}),
        ("scales.laptop.tokenizer.vocabulary", 1000, set()),
        ("threads", 1, {str(number) for number in range(1, 13)}),
    ],
)
def test_a_setting_reaches_the_runs_that_use_it_and_no_other(load, params, key, value, changed):
    assert changed_configurations(load, put(params, "scale", "laptop"), key, value) == changed


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        # unknown and misspelled keys, at each depth
        ("optimm", "sgd", ["optimm", "sgd", "'optim'"]),
        ("nonsense", 1, ["nonsense", "allowed:", "corpus"]),
        ("experiments.5.layer", 2, ["experiments.5.layer", "2", "'layers'"]),
        ("scales.laptop.witdh", 2, ["scales.laptop.witdh", "'width'"]),
        ("scales.laptop.tokenizer.vocab", 2, ["scales.laptop.tokenizer.vocab", "'vocabulary'"]),
        ("optimizers.adamw.weight_dcay", 0.1, ["optimizers.adamw.weight_dcay", "0.1", "'weight_decay'"]),
        # unknown names
        ("experiments.5.model", "gru", ["experiments.5.model", "gru", "lstm", "gpt"]),
        ("experiments.5.optimizer", "lion", ["experiments.5.optimizer", "lion", "adamw"]),
        ("optim", "lion", ["optim", "lion", "adamw", "momentum"]),
        ("optimizers.lion", {"lr": 0.1}, ["optimizers.lion", "adamw"]),
        ("scale", "galactic", ["scale", "galactic", "smoke", "laptop", "reference"]),
        ("device", "tpu", ["device", "tpu", "cuda"]),
        ("scales.laptop.precision", "int4", ["scales.laptop.precision", "int4", "bf16"]),
        ("scales.laptop.tokenizer.kind", "words", ["scales.laptop.tokenizer.kind", "words", "bpe"]),
        # zero, negative, not a number, not whole, too large
        ("experiments.5.layers", 0, ["experiments.5.layers", "0", "greater than 0"]),
        ("experiments.5.layers", -1, ["experiments.5.layers", "-1", "greater than 0"]),
        ("experiments.5.layers", 1.5, ["experiments.5.layers", "1.5", "integer"]),
        ("experiments.5.layers", "2", ["experiments.5.layers", "'2'", "integer"]),
        ("experiments.5.layers", True, ["experiments.5.layers", "True", "integer"]),
        ("scales.smoke.context", 0, ["scales.smoke.context", "0", "greater than 0"]),
        ("scales.smoke.width", -8, ["scales.smoke.width", "-8", "greater than 0"]),
        ("scales.smoke.batch", 0, ["scales.smoke.batch", "greater than 0"]),
        ("scales.smoke.epochs", 0, ["scales.smoke.epochs", "greater than 0"]),
        ("scales.smoke.tokenizer.vocabulary", 256, ["scales.smoke.tokenizer.vocabulary", "256", "257"]),
        ("scales.smoke.tokenizer.train_share", 0.0, ["scales.smoke.tokenizer.train_share", "greater than 0"]),
        ("scales.smoke.tokenizer.train_share", 1.1, ["scales.smoke.tokenizer.train_share", "1.1", "1"]),
        ("optimizers.sgd.lr", 0, ["optimizers.sgd.lr", "0", "greater than 0"]),
        ("optimizers.sgd.lr", float("nan"), ["optimizers.sgd.lr", "nan", "finite"]),
        ("optimizers.sgd.lr", float("inf"), ["optimizers.sgd.lr", "inf", "finite"]),
        ("optimizers.sgd.weight_decay", -1, ["optimizers.sgd.weight_decay", "-1"]),
        ("optimizers.momentum.momentum", 1.0, ["optimizers.momentum.momentum", "1.0", "less than 1"]),
        ("threads", 0, ["threads", "0", "greater than 0"]),
        # shapes and sets that contradict themselves
        ("scales.laptop.heads", 3, ["scales.laptop", "width 128", "heads 3"]),
        ("experiments.13", {"model": "lstm", "layers": 1, "optimizer": "sgd"}, ["experiments.13", "experiments.3"]),
        ("experiments.13", {"model": "gpt", "layers": 1}, ["experiments.13", "experiments.6", "adamw"]),
        ("seeds", [], ["seeds", "at least 1"]),
        ("seeds", [42, 42], ["seeds", "42"]),
        ("seeds", [-1], ["seeds.0", "-1"]),
        ("seeds", 42, ["seeds", "42", "list"]),
        ("experiments", {}, ["experiments", "at least 1"]),
        ("experiments.5-6", {"model": "gpt", "layers": 3}, ["experiments", "5-6"]),
        ("experiments.a/b", {"model": "gpt", "layers": 3}, ["experiments", "a/b"]),
        ("optimizers.adamw", MISSING, ["adamw"]),
        ("corpus", "", ["corpus"]),
        ("corpus", 7, ["corpus", "7"]),
        # left out
        ("scale", MISSING, ["scale", "missing"]),
        ("scales.laptop.heads", MISSING, ["scales.laptop.heads", "missing"]),
    ],
)
def test_one_line_names_the_key_the_value_and_what_is_allowed(load, params, key, value, named):
    with pytest.raises(StudyError) as error:
        load(put(params, key, value))
    line = str(error.value)
    assert "\n" not in line
    assert "params.yaml" in line
    assert [word for word in named if word not in line] == []


def test_integer_ids_are_answered_with_quotes(load, params):
    experiments = {int(name): each for name, each in params["experiments"].items()}
    with pytest.raises(StudyError, match="quotes"):
        load(params | {"experiments": experiments})


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"corpus: [sotu\nscale: laptop\n", "not YAML at line"),
        (b"\tcorpus: sotu\n", "not YAML"),
        (b"", "mapping"),
        (b"- corpus\n", "mapping"),
        (b"corpus: \xff\xfe\n", "UTF-8"),
    ],
)
def test_a_file_that_is_no_settings(tmp_path, content, named):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=named) as error:
        load_study(path)
    assert "\n" not in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(StudyError, match="no such file"):
        load_study(tmp_path / "params.yaml")


def test_a_repeated_experiment_id_is_refused(tmp_path):
    """YAML keeps the last of two equal keys in silence: an experiment would vanish."""
    text = PARAMS.read_text().replace("\nscales:", "\n  '12': {model: gpt, layers: 3}\n\nscales:", 1)
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(StudyError, match="12"):
        load_study(path)


scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=3), st.just([]))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_nothing_put_anywhere_ends_in_a_traceback(tmp_path_factory, params, data):
    """Any value at any key is taken, or refused with a StudyError of one line."""

    def keys(content: dict, before: str = "") -> list[str]:
        found = []
        for key, value in content.items():
            found.append(before + key)
            if isinstance(value, dict):
                found += keys(value, f"{before}{key}.")
        return found

    path = tmp_path_factory.getbasetemp() / "any.yaml"
    key = data.draw(st.sampled_from(keys(params)))
    path.write_text(yaml.safe_dump(put(params, key, data.draw(scalars))))
    try:
        load_study(path).resolve()
    except StudyError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "named"), [(None, "no such file"), ("{", "not a run configuration"), ("{}", "not a run configuration")]
)
def test_a_configuration_that_is_none(tmp_path, content, named):
    path = tmp_path / "5.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(StudyError, match=named):
        RunConfig.read(path)


def test_an_error_is_one_line_and_status_1(capsys):
    @reported
    def main() -> None:
        raise StudyError("the key, the value")

    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "error: the key, the value\n"
