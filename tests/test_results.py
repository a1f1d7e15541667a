"""From a run's files to summaries: collecting, states, statistics, the tables that are published."""

from __future__ import annotations

import csv
import json
import math
import statistics
from dataclasses import FrozenInstanceError
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats

from lm.config.study import load_study
from lm.errors import StudyError
from lm.results import schema
from lm.results.collect import collect, loses_text, read_json
from lm.results.load import load_answers, load_results, load_table
from lm.results.locked import load_locked
from lm.results.names import model_name, natural
from lm.results.publish import headline, publish
from lm.results.reference import as_results, load_reference
from lm.results.spread import load_spread
from lm.results.states import CLEARLY, EXPLODED, FALLING, RISE, WIDE_GAP, Kind, State, classify, kind_of
from lm.results.statistics import LEVEL, Estimate, estimate, holm, p_value, t_quantile
from lm.results.summarize import summarize
from lm.results.summary import perplexity
from tests.synthetic import GRID, make_curves, make_results, write

ROOT = Path(__file__).parent.parent
UNIGRAM, UNIFORM = math.log(690.0), math.log(4096)


def course(validation: list[float | None], training: list[float | None] | None = None, **options):
    """Classified, training falling by default."""
    training = training or [4.0 - 0.1 * epoch for epoch in range(len(validation))]
    defaults = {"unigram": UNIGRAM, "uniform": UNIFORM, "epochs": len(validation)}
    return classify(validation, training, [9.0] * len(validation), **(defaults | options))


class TestStatistics:
    @pytest.mark.parametrize("freedom", [1, 2, 4.5, 10, 30])
    def test_quantiles(self, freedom):
        assert t_quantile(freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom))

    def test_an_interval_needs_two_values(self):
        with pytest.raises(ValueError, match="two values"):
            t_quantile(0)

    def test_p_is_that_of_a_paired_test(self):
        first, second = [5.0, 5.2, 5.1, 4.9], [5.1, 5.25, 5.3, 4.95]
        gaps = [a - b for a, b in zip(first, second, strict=True)]
        error = statistics.stdev(gaps) / 2
        assert p_value(statistics.fmean(gaps), error, 3) == pytest.approx(scipy.stats.ttest_rel(first, second).pvalue)
        assert (p_value(0.0, 0.0, 3), p_value(0.1, 0.0, 3)) == (1.0, 0.0)

    def test_holm(self):
        """The example of Holm 1979's procedure: smallest times n, next times n - 1, never falling."""
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm([]) == []
        assert holm([0.9, 0.8]) == [1.0, 1.0]

    def test_estimate(self):
        assert estimate([1.0, 3.0]).half == pytest.approx(12.7062, abs=1e-4)
        assert estimate([1.0, None, math.nan, math.inf]) == Estimate(mean=1.0, half=None, count=1)
        assert estimate([]).mean is None
        assert estimate([1e308, 1e308]).mean is None

    def test_perplexity_of_a_loss_too_large_for_a_float(self):
        assert perplexity(78378.0) == math.inf
        assert perplexity(None) is None


class TestStates:
    @pytest.mark.parametrize(("below", "state"), [(0.9 * CLEARLY, State.PLATEAU), (1.1 * CLEARLY, State.CONVERGED)])
    def test_clearly_below_the_unigram_model(self, below, state):
        found = course([UNIGRAM - below] * 5)
        assert found.state is state
        assert (found.left_plateau is None) == (state is State.PLATEAU)

    @pytest.mark.parametrize(
        ("loss", "state"),
        [
            (UNIFORM + 0.9 * EXPLODED, State.START),
            (UNIFORM, State.START),
            (UNIFORM - 0.9 * CLEARLY, State.START),
            (UNIFORM - 1.1 * CLEARLY, State.ABOVE),
            (UNIGRAM + 1.1 * CLEARLY, State.ABOVE),
            (UNIGRAM + 0.9 * CLEARLY, State.PLATEAU),
        ],
    )
    def test_where_a_run_that_did_not_learn_stayed(self, loss, state):
        assert course([loss] * 5).state is state
        assert not state.learned

    @pytest.mark.parametrize("loss", [UNIFORM + 1.1 * EXPLODED, 78378.0, 1e12])
    def test_exploded(self, loss):
        found = course([5.0, 4.9, loss])
        assert (found.state, found.exploded) == (State.DIVERGED, True)
        assert course([loss, 5.0, 4.9]).state is State.UNDERTRAINED

    def test_diverged(self):
        assert course([5.0, 4.9], diverged=True, diverged_step=7).diverged_step == 7
        assert course([5.0, None]).state is State.DIVERGED
        found = course([])
        assert (found.state, found.best_epoch, found.slope) == (State.DIVERGED, None, None)

    @pytest.mark.parametrize(("rise", "state"), [(0.9 * RISE, State.CONVERGED), (1.1 * RISE, State.OVERFITTING)])
    def test_rise_of_validation(self, rise, state):
        found = course([5.0, 4.8, 4.8 + rise / 2, 4.8 + rise])
        assert (found.state, found.best_epoch) == (state, 1)
        assert found.rise == pytest.approx(rise)

    def test_rising_with_training_is_not_overfitting(self):
        assert course([5.0, 4.5, 4.8, 5.0], [5.0, 4.4, 4.7, 4.9]).state is State.CONVERGED

    def test_running_training_loss_stands_in_for_the_sample_but_gives_no_gap(self):
        running = [5.5, 5.0, 4.5, 4.0]
        found = classify([5.0, 4.5, 4.8, 5.0], [None] * 4, running, unigram=UNIGRAM, uniform=UNIFORM, epochs=4)
        assert (found.state, found.gap) == (State.OVERFITTING, None)

    @pytest.mark.parametrize(("fall", "state"), [(0.9 * FALLING, "converged"), (1.1 * FALLING, "undertrained")])
    def test_falling_at_the_end(self, fall, state):
        found = course([5.0 - fall * epoch for epoch in range(6)])
        assert (found.state, found.falling) == (state, state == "undertrained")

    def test_one_epoch_tells_nothing_of_an_end(self):
        found = course([5.0])
        assert (found.state, found.falling) == (State.SHORT, None)
        assert course([UNIGRAM]).falling is None

    @pytest.mark.parametrize(("gap", "wide"), [(0.99 * WIDE_GAP, False), (1.01 * WIDE_GAP, True)])
    def test_a_gap_of_a_nat_is_wide(self, gap, wide):
        assert course([5.0, 4.8], [4.8, 4.8 - gap]).wide_gap is wide

    def test_kinds(self):
        assert [kind_of(left, 10) for left in (0, 1, 2, 7, None)] == [
            Kind.EARLY,
            Kind.EARLY,
            Kind.LATE,
            Kind.LATE,
            Kind.STUCK,
        ]
        assert kind_of(0, 2) is Kind.EARLY


class TestSpread:
    def rows(self) -> list[dict[str, str]]:
        with (ROOT / "reports" / "reference" / "spread.csv").open() as file:
            return list(csv.DictReader(file))

    def test_laptop_rows_are_the_measured_seeds(self):
        former = [row for row in self.rows() if (row["scale"], row["vocabulary"]) == ("laptop", "4096")]
        assert [float(r["validation_perplexity"]) for r in former] == [548.6, 476.3, 441.5, 363.0, 366.0, 371.7]

    def test_seed_42_of_the_default_study_is_a_repetition_of_the_committed_run(self):
        """The spread was measured on one kind of processor. Another rounds otherwise, and by the rule for two single
        runs cannot be told from a repetition there."""
        runs = pd.read_parquet(ROOT / "reports" / "runs.parquet").set_index("experiment")["validation_perplexity"]
        spread = load_spread(ROOT / "reports" / "reference" / "spread.csv")
        rows = [r for r in self.rows() if (r["vocabulary"], r["run"]) == ("2048", "seed 42")]
        assert len(rows) == 7
        for row in rows:
            off = math.log(runs[row["experiment"]] / float(row["validation_perplexity"]))
            deviation = spread.of("laptop", 2048, Kind(row["kind"]))
            assert p_value(off, math.sqrt(2) * deviation.nats, deviation.freedom) > LEVEL

    def test_reference_rows_are_the_published_ones(self):
        reference = load_reference(ROOT / "reports" / "reference")
        published = [(row.experiment, row.best_val_ppl) for row in reference.results]
        published += [(r.experiment, r.best_val_ppl) for r in reference.replications if r.batch == 16]
        ours = [(r["experiment"], float(r["validation_perplexity"])) for r in self.rows() if r["scale"] == "reference"]
        assert sorted(ours) == sorted(published)

    def test_kinds_are_those_of_the_published_curves(self, original):
        for row in self.rows():
            if row["scale"] == "reference":
                assert original[row["experiment"]].runs[0].course.kind == row["kind"]

    def test_pooled_over_experiments(self):
        found = load_spread(ROOT / "reports" / "reference" / "spread.csv").of("laptop", 4096, Kind.LATE)
        groups = [548.6, 476.3, 441.5], [363.0, 366.0, 371.7]
        variances = [statistics.variance(map(math.log, group)) for group in groups]
        assert found.nats == pytest.approx(math.sqrt(statistics.fmean(variances)))
        assert (found.freedom, found.borrowed) == (4, False)

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "scale\n1\n",
            "scale,vocabulary,kind,exper",
            "scale,vocabulary,kind,experiment,run,validation_perplexity\n",
            "scale,vocabulary,kind,experiment,run,validation_perplexity\na,b",
            "scale,vocabulary,kind,experiment,run,validation_perplexity" + 2 * "\nlaptop,2048,early,5,seed 42,80.5",
        ],
    )
    def test_another_table(self, tmp_path, content):
        path = tmp_path / "spread.csv"
        path.write_text(content)
        with pytest.raises(StudyError, match=r"spread\.csv: not the table"):
            load_spread(path)
        with pytest.raises(StudyError, match="no such file"):
            load_spread(tmp_path / "none.csv")


@pytest.fixture(scope="module")
def original():
    return summarize(*as_results(load_reference(ROOT / "reports" / "reference")))


class TestSummaries:
    def test_order_and_labels(self):
        found = summarize(*make_results()).experiments
        assert [e.id for e in found] == ["1", "2", "3", "4", "9", "10", "5", "6", "7", "8", "11", "12"]
        assert (found[0].model_label, found[0].optimizer_label) == ("LSTM", "Adam")

    def test_means_are_of_seeds_that_did_not_diverge(self):
        summary = summarize(*make_curves({"1": {"curves": {1: [5.0, 4.0], 2: [5.0, 4.2], 3: [5.0, 4000.0]}}}))["1"]
        assert summary.validation_loss.mean == pytest.approx(4.1)
        assert (summary.validation_loss.count, summary.diverged, summary.seeds) == (2, 1, (1, 2, 3))
        assert summary.best_epochs == (0, 1)

    def test_of_equally_many_seeds_the_worse_state_is_told(self):
        curves = {1: [UNIGRAM] * 4, 2: [5.0, 4.8, 4.7, 4.6]}
        assert summarize(*make_curves({"1": {"curves": curves}}))["1"].state is State.PLATEAU

    def test_settings_of_a_run(self):
        settings = summarize(*make_results({"5": GRID["5"]}))["5"].settings
        assert settings.sizes == (("heads", 2), ("mlp", 512))
        assert (settings.norm, settings.beta2, settings.momentum, settings.patience) == ("post", 0.999, None, None)

    @pytest.mark.parametrize(("run", "word"), [(("gru", 1, "adam"), "gru"), (("gpt", 1, "lion"), "lion")])
    def test_a_name_that_no_registry_has_stops_here(self, run, word):
        with pytest.raises(StudyError, match=f"unknown .* '{word}'.*has"):
            summarize(*make_results({"1": run}))

    def test_seeds_on_other_hardware_are_in_no_mean_of_times_and_memory(self):
        runs, epochs = make_results({"1": GRID["1"]}, seeds=(42, 43, 44))
        lone = runs["seed"] == 44
        runs.loc[lone, ["hardware", "train_seconds", "memory_footprint_mb"]] = ["Other", 9e4, 9e4]
        (summary,) = summarize(runs, epochs).experiments
        assert [run.elsewhere for run in summary.runs] == [False, False, True]
        assert summary.train_seconds.mean == pytest.approx(runs[~lone]["train_seconds"].mean())
        assert summary.memory.footprint == pytest.approx(runs[~lone]["memory_footprint_mb"].mean())
        assert summary.validation_loss.mean == pytest.approx(runs["validation_loss"].mean()), "losses compare"

    @pytest.mark.parametrize(
        ("at_once", "seconds", "found"), [((2, 1), 100.0, 1), ((1, 1), 150.0, 1), ((2, 2), 150.0, 2)]
    )
    def test_runs_at_once_are_those_of_the_runs_that_the_time_is_of(self, at_once, seconds, found):
        runs, epochs = make_results({"1": GRID["1"]}, seeds=(42, 43))
        runs["side_by_side"], runs["train_seconds"] = at_once, (200.0, 100.0)
        summary = summarize(runs, epochs)["1"]
        assert summary.train_seconds.mean == pytest.approx(seconds)
        assert (summary.side_by_side, "at once" in summary.hardware) == (found, found > 1)

    def test_hardware_marks(self):
        runs, epochs = make_results({"1": GRID["1"], "2": GRID["2"], "3": GRID["3"]})
        runs.loc[runs["experiment"] == "3", "hardware"] = "Other"
        found = summarize(runs, epochs)
        assert [found[name].hardware_mark for name in "123"] == [0, 0, 1]
        assert found["3"].hardware == "Other, 2 threads"

    def test_frozen(self):
        with pytest.raises(FrozenInstanceError):
            summarize(*make_results({"1": GRID["1"]}))["1"].state = State.START

    def test_names(self):
        assert model_name("gpt") == "GPT-1"
        assert sorted(["12", "2", "a10", "a9"], key=natural) == ["2", "12", "a9", "a10"]


def lay_run(folder: Path, done: int = 2, **metrics) -> None:
    """A run's files."""
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text(
        "epoch,train_loss,train_eval_loss,validation_loss,train_perplexity,train_eval_perplexity,validation_perplexity\n"
        + "".join(f"{e},5.0,4.9,5.1,148.4,134.3,164.0\n" for e in range(done))
    )
    (folder / "timing.csv").write_text(
        "epoch,train_seconds,validation_seconds,tokens_per_second,process_cpu_seconds,other_cpu_seconds\n"
        + "".join(f"{e},2.0,0.5,1000,3.8,0.1\n" for e in range(done))
    )
    learned = {
        "status": "completed",
        "epochs_done": done,
        "stopped_early": False,
        "validation_loss": 5.1,
        "validation_perplexity": 164.0,
        "validation_bits_per_byte": 2.0,
        "test_bits_per_byte": 2.1,
        "train_perplexity": 148.4,
    }
    (folder / "metrics.json").write_text(json.dumps(learned | metrics))
    (folder / "cost.json").write_text(json.dumps({"train_seconds": 4.0, "hardware": "CPU", "threads": 2}))


CARD = {
    "source": "sotu",
    "vocabulary": 512,
    "splits": {
        split: {"predicted_tokens": 9000, "bytes": 30_000, "unigram_perplexity": 200.0, "sha256": split * 8}
        for split in ("train", "validation", "test")
    },
}


@pytest.fixture
def laid(tmp_path):
    """Every run of params.yaml as it stands, invented."""
    study = load_study(ROOT / "params.yaml")
    for name in study.experiments:
        for seed in study.seeds:
            lay_run(tmp_path / f"{name}-{seed}")
    return study, tmp_path


class TestCollect:
    def test_settings_text_and_costs(self, laid):
        runs, epochs = collect(*laid, CARD)
        assert runs.schema.equals(schema.RUNS)
        row = next(row for row in runs.to_pylist() if row["experiment"] == "5")
        assert (row["model"], row["norm"], row["schedule"], row["text"]) == (
            "gpt",
            "post",
            "constant",
            "validation" * 8,
        )
        assert json.loads(row["sizes"]).keys() == {"heads", "mlp"}
        assert row["other_cpu_seconds"] == pytest.approx(0.2)
        assert row["validation_bits_per_byte"] == 2.0
        assert next(r for r in runs.to_pylist() if r["experiment"] == "1")["norm"] is None
        assert epochs.num_rows == 2 * runs.num_rows

    def test_a_run_on_several_processes_is_on_other_hardware(self, laid):
        study, runs = laid
        cost = runs / f"5-{study.seeds[0]}" / "cost.json"
        cost.write_text(json.dumps(json.loads(cost.read_text()) | {"processes": 4}))
        rows = {row["experiment"]: row for row in collect(*laid, CARD)[0].to_pylist()}
        assert (rows["5"]["hardware"], rows["6"]["hardware"]) == ("CPU, 4 processes", "CPU")
        assert (rows["5"]["processes"], rows["5"]["shards"]) == (4, 1)

    def test_tokens_that_lose_text_have_no_bits_per_byte(self, laid):
        lossy = CARD | {"tokenizer": {"kind": "gpt1"}}
        assert loses_text(lossy)
        assert not loses_text(CARD)
        row = collect(*laid, lossy)[0].to_pylist()[0]
        assert (row["validation_bits_per_byte"], row["test_bits_per_byte"]) == (None, None)

    def test_missing_damaged_or_unlike_files(self, laid):
        study, runs = laid
        folder = runs / f"5-{study.seeds[0]}"
        (folder / "timing.csv").write_text("epoch,train_seconds\n0,1.0\n")
        with pytest.raises(StudyError, match="other epochs than history"):
            collect(study, runs, CARD)
        (folder / "timing.csv").write_text("x\n1\n")
        with pytest.raises(StudyError, match="no column 'epoch'"):
            collect(study, runs, CARD)
        (folder / "timing.csv").unlink()
        with pytest.raises(StudyError, match=r"timing\.csv: no such file"):
            collect(study, runs, CARD)
        with pytest.raises(StudyError, match="not a JSON object"):
            (folder / "metrics.json").write_text("[]")
            read_json(folder / "metrics.json")
        with pytest.raises(StudyError, match="can't be read"):
            read_json(folder)

    def test_what_does_not_fit_the_schema(self, laid):
        study, runs = laid
        (runs / f"5-{study.seeds[0]}" / "metrics.json").write_text('{"epochs_done": "many"}')
        with pytest.raises(StudyError, match="don't fit the schema"):
            collect(study, runs, CARD)


class TestPublish:
    def test_files(self, tmp_path):
        runs, epochs = make_results({"5": GRID["5"], "9": GRID["9"]}, epochs=3)
        tables = [
            pa.Table.from_pandas(table, schema=expected, preserve_index=False)
            for table, expected in ((runs, schema.RUNS), (epochs, schema.EPOCHS))
        ]
        publish(*tables, summarize(runs, epochs), tmp_path)
        assert load_table(tmp_path / "runs.parquet", schema.RUNS, "runs").shape == runs.shape
        history = pd.read_csv(tmp_path / "history.csv", dtype={"experiment": str})
        assert list(history.columns) == list(schema.HISTORY)
        assert set(history["label"]) == {"5 GPT-1 1 Adam", "9 LSTM 2 AdamW"}
        assert len(history) == 6

    def test_seeds_have_labels_of_their_own(self, tmp_path):
        runs, epochs = make_results({"5": GRID["5"]}, seeds=(1, 2), epochs=1)
        tables = (pa.Table.from_pandas(t, schema=s) for t, s in ((runs, schema.RUNS), (epochs, schema.EPOCHS)))
        publish(*tables, summarize(runs, epochs), tmp_path)
        assert set(pd.read_csv(tmp_path / "history.csv")["label"]) == {"5 GPT-1 1 Adam (1)", "5 GPT-1 1 Adam (2)"}

    def test_the_headline_praises_only_what_learned(self):
        found = headline(summarize(*make_curves({"1": {"curves": [7.0, 6.6]}, "2": {"curves": [5.0, 78378.0]}})))
        assert (found["experiments"], found["learned"], found["best"]) == (2, 0, None)
        assert found["validation_ppl"] == {"1": pytest.approx(math.exp(6.6), abs=1e-3), "2": None}
        learned = headline(summarize(*make_curves({"1": {"curves": [5.0, 4.5]}, "2": {"curves": [5.0, 4.0]}})))
        assert (learned["best"], learned["learned"]) == ("2", 2)
        assert json.dumps(learned)


class TestLoad:
    def lay(self, folder: Path) -> None:
        write(folder / "reports", *make_results({"5": GRID["5"]}))
        (folder / "params.yaml").write_text("scale: laptop\n")
        (folder / "reports" / "reference").symlink_to(ROOT / "reports" / "reference")

    def test_whole(self, tmp_path):
        self.lay(tmp_path)
        found = load_results(tmp_path)
        assert (found.params, found.locked) == ({"scale": "laptop"}, {})
        assert found.summaries["5"].id == "5"

    def test_what_is_missing_or_wrong_is_named(self, tmp_path):
        with pytest.raises(StudyError, match=r"runs\.parquet: no such file"):
            load_results(tmp_path)
        self.lay(tmp_path)
        (tmp_path / "params.yaml").write_text("a: [")
        with pytest.raises(StudyError, match=r"params\.yaml: not YAML"):
            load_results(tmp_path)
        (tmp_path / "params.yaml").write_text("[" * 2000)
        with pytest.raises(StudyError, match=r"params\.yaml: nested too deeply"):
            load_results(tmp_path)
        runs = pq.read_table(tmp_path / "reports" / "runs.parquet")
        pq.write_table(runs.slice(0, 0), tmp_path / "reports" / "runs.parquet")
        with pytest.raises(StudyError, match="no runs"):
            load_results(tmp_path)
        pq.write_table(runs.drop_columns("lr"), tmp_path / "reports" / "runs.parquet")
        with pytest.raises(StudyError, match=r"missing \['lr'\]"):
            load_results(tmp_path)
        pq.write_table(runs.append_column("lr2", runs["lr"]), tmp_path / "reports" / "runs.parquet")
        with pytest.raises(StudyError, match=r"unknown \['lr2'\]"):
            load_results(tmp_path)
        (tmp_path / "reports" / "runs.parquet").write_text("no Parquet")
        with pytest.raises(StudyError, match="not a Parquet file"):
            load_results(tmp_path)

    def test_the_controlled_studys_answers(self, tmp_path):
        path = tmp_path / "answers.json"
        assert load_answers(path) is None
        content = {"answered": ["untuned"], "corpus": "x", "scale": "laptop", "vocabulary": 2048, "text": "00"}
        path.write_text(json.dumps(content | {"budget": [10, 16, 64, 128], "seeds": 5}))
        answers = load_answers(path)
        assert answers is not None
        assert (answers.answered, answers.budget) == (("untuned",), (10, 16, 64, 128))
        for damaged in (json.dumps(content), "[]", "{"):
            path.write_text(damaged)
            with pytest.raises(StudyError, match=r"answers\.json: not the controlled study's answers"):
                load_answers(path)

    def test_what_an_earlier_schema_had_not_is_null(self, tmp_path):
        self.lay(tmp_path)
        path = tmp_path / "reports" / "runs.parquet"
        older = pq.read_table(path).drop_columns(["shards", "processes"]).replace_schema_metadata({"schema": "3"})
        pq.write_table(older, path)
        found = load_table(path, schema.RUNS, "runs")
        assert list(found.columns) == schema.RUNS.names
        assert found["shards"].isna().all()
        assert load_results(tmp_path).summaries["5"].settings.shards == 1
        pq.write_table(older.append_column("lr2", older["lr"]), path)
        with pytest.raises(StudyError, match=r"missing \[\], unknown \['lr2'\]"):
            load_results(tmp_path)

    def test_locked_hashes(self, tmp_path):
        path = tmp_path / "dvc.lock"
        path.write_text(
            "stages:\n  train@5-42:\n    deps:\n    - {path: configs/5.json, md5: aaaa}\n"
            "    - {path: data/tokens, md5: bbbb.dir}\n    outs:\n"
            "    - {path: runs/5-42/model.safetensors, md5: cccc}\n  report:\n    outs: []\n"
        )
        hashes = {"configuration": "aaaa", "tokens": "bbbb.dir", "weights": "cccc"}
        assert load_locked(path) == {"5-42": hashes}
        assert load_locked(tmp_path / "none") == {}

    def test_schema_is_what_synthetic_results_hold(self):
        runs, epochs = make_results()
        assert list(runs.columns) == schema.RUNS.names
        assert list(epochs.columns) == schema.EPOCHS.names

    def test_every_column_says_what_it_is(self):
        for field in (*schema.RUNS, *schema.EPOCHS):
            assert field.metadata[b"description"]
