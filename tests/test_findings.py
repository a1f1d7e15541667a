"""The findings on invented results, on both sides of every threshold, and on the original study's own figures."""

from __future__ import annotations

import copy
import math
import shlex
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from lm.results.findings import Findings, find
from lm.results.findings.architectures import architectures
from lm.results.findings.comparison import compare
from lm.results.findings.cost import GOOD_ENOUGH, Reach, describe_reach, pareto, wall_clock
from lm.results.findings.depth import depth
from lm.results.findings.learning import CLEARLY, FALLING, RISE, classify, learning
from lm.results.findings.memory import memory
from lm.results.findings.optimizers import optimizers
from lm.results.findings.quality import generalization, last_epoch_claim
from lm.results.findings.remedies import lookup, remedies
from lm.results.findings.replication import replication
from lm.results.findings.stopping import stop_after, stopping

from lm.config.study import load_study
from lm.results.reference import VALIDATION_TOKENS, Reference, as_results, load_reference
from lm.results.statistics import ONE_SEED_BOUND, difference, estimate, t95, time_bound
from tests.synthetic import GRID, make_results

ROOT = Path(__file__).parent.parent
UNIGRAM = math.log(690.0)
BOUND = 0.05
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.fixture(scope="module")
def reference() -> Reference:
    return load_reference(ROOT / "reports" / "reference")


@pytest.fixture(scope="module")
def original(reference) -> Findings:
    return find(*as_results(reference), PARAMS)


def run_of(validation: list[float], training: list[float] | None = None, status: str = "completed"):
    """A run and its epochs with these losses; training falls by default."""
    training = training or [4.0 - 0.1 * epoch for epoch in range(len(validation))]
    epochs = pd.DataFrame(
        {
            "experiment": "x",
            "seed": 1,
            "epoch": range(len(validation)),
            "validation_loss": validation,
            "train_eval_loss": training,
            "train_loss": [9.0] * len(validation),
            "train_seconds": 2.0,
            "validation_seconds": 1.0,
        }
    )
    run = pd.Series(
        {
            "experiment": "x",
            "seed": 1,
            "status": status,
            "diverged_step": 421 if status == "diverged" else np.nan,
            "unigram_validation_perplexity": 690.0,
        }
    )
    return run, epochs


def set_losses(runs: pd.DataFrame, losses: dict[str, float]) -> pd.DataFrame:
    runs = runs.copy()
    for experiment, loss in losses.items():
        runs.loc[runs["experiment"] == experiment, ["validation_loss", "validation_perplexity"]] = loss, math.exp(loss)
    return runs


class TestStatistics:
    @pytest.mark.parametrize(
        ("freedom", "expected"), [(1, 12.7062), (4, 2.7764), (10, 2.2281), (11, 2.2010), (30, 2.0423)]
    )
    def test_quantiles(self, freedom, expected):
        assert t95(freedom) == pytest.approx(expected, abs=2e-4)

    def test_estimate_of_two_and_of_one(self):
        assert estimate([1.0, 3.0]).half == pytest.approx(12.7062)
        assert estimate([1.0, None, math.nan]).half is None
        assert estimate([]).mean is None

    @pytest.mark.parametrize(("gap", "order"), [(0.99, "indistinguishable"), (1.01, "higher"), (-1.01, "lower")])
    def test_one_seed_claims_nothing_within_the_bound(self, gap, order):
        first, second = pd.Series({1: 5.0 + gap * ONE_SEED_BOUND}), pd.Series({1: 5.0})
        assert difference(first, second).order == order

    def test_several_seeds_use_the_paired_interval(self):
        base = pd.Series({1: 5.0, 2: 5.5, 3: 6.0})
        assert (
            difference(base - 0.005, base).order == "lower"
        )  # far smaller than the spread, but the same for each seed
        assert difference(base + pd.Series({1: 0.1, 2: -0.1, 3: 0.05}), base).order == "indistinguishable"

    def test_only_seeds_of_both_count(self):
        assert difference(pd.Series({1: 5.0}), pd.Series({2: 4.0})).order == "unknown"
        assert difference(pd.Series({1: 5.0, 2: 1.0}), pd.Series({1: 5.0})).seeds == 1

    def test_the_bound_covers_what_replications_differ_by(self, reference):
        """1.96 sqrt(2) standard deviations of the original's trained runs, pooled: what two single runs differ by."""
        ours = reference.results.assign(batch=16)[["experiment", "batch", "best_val_ppl"]]
        every = pd.concat([ours, reference.replications])
        trained = every[(every["batch"] == 16) & every["experiment"].isin(["1", "2", "5", "6", "9", "10"])]
        pooled = math.sqrt(np.log(trained["best_val_ppl"]).groupby(trained["experiment"]).var().mean())
        assert 0.8 * ONE_SEED_BOUND < 1.96 * math.sqrt(2) * pooled <= ONE_SEED_BOUND

    def test_noisy_epochs_widen_the_bound_on_time(self):
        _, epochs = make_results()
        assert time_bound(epochs) == 0.05
        epochs.loc[epochs["epoch"] % 2 == 0, "train_seconds"] *= 1.2
        assert time_bound(epochs) > 0.15


class TestLearning:
    @pytest.mark.parametrize(("below", "state"), [(0.9 * CLEARLY, "plateau"), (1.1 * CLEARLY, "converged")])
    def test_clearly_below_the_unigram_model(self, below, state):
        found = classify(*run_of([UNIGRAM - below] * 5))
        assert found.state == state
        assert (found.left_plateau is None) == (state == "plateau")

    @pytest.mark.parametrize(("rise", "state"), [(0.9 * RISE, "converged"), (1.1 * RISE, "overfitting")])
    def test_rise_of_validation(self, rise, state):
        found = classify(*run_of([5.0, 4.8, 4.8 + rise / 2, 4.8 + rise]))
        assert found.state == state
        assert found.rise == pytest.approx(rise)

    def test_rising_with_training_is_not_overfitting(self):
        assert classify(*run_of([5.0, 4.5, 4.8, 5.0], [5.0, 4.4, 4.7, 4.9])).state == "converged"

    @pytest.mark.parametrize(("fall", "state"), [(0.9 * FALLING, "converged"), (1.1 * FALLING, "undertrained")])
    def test_falling_at_the_end(self, fall, state):
        assert classify(*run_of([5.0 - fall * epoch for epoch in range(6)])).state == state

    def test_since_when(self):
        found = classify(*run_of([UNIGRAM, UNIGRAM, 5.0, 4.8, 5.0, 5.2]))
        assert (found.state, found.left_plateau, found.best_epoch) == ("overfitting", 2, 3)
        assert "overfits from epoch 4 on" in found.claim
        assert "only in epoch 2" in found.claim

    def test_the_gap_is_on_the_same_weights(self):
        assert classify(*run_of([5.0, 4.8, 5.0])).gap == pytest.approx(5.0 - 3.8)

    def test_without_evaluated_training_there_is_no_gap(self):
        run, epochs = run_of([5.0, 4.8, 5.0])
        epochs["train_loss"], epochs["train_eval_loss"] = epochs["train_eval_loss"], math.nan
        found = classify(run, epochs)
        assert (found.state, found.gap) == ("overfitting", None)

    @pytest.mark.parametrize("losses", [[], [6.0, 5.9]])
    def test_diverged(self, losses):
        found = classify(*run_of(losses, status="diverged"))
        assert found.state == "diverged"
        assert "step 421" in found.claim

    def test_one_epoch(self):
        assert classify(*run_of([5.0])).state == "converged"

    def test_most_seeds_decide_and_of_equals_the_worse(self):
        runs, epochs = make_results({"5": GRID["5"]}, seeds=(1, 2))
        runs.loc[0, "status"] = "diverged"
        assert learning(runs, epochs).state("5") == "diverged"

    def test_all_learned(self):
        assert learning(*make_results({"5": GRID["5"]})).verdict == "all learned"
        assert learning(*make_results({"7": GRID["7"]})).verdict == "none learned"

    def test_frozen(self):
        with pytest.raises(FrozenInstanceError):
            classify(*run_of([5.0])).state = "plateau"


class TestWallClock:
    @pytest.mark.parametrize(
        ("seconds", "losses", "front"),
        [
            ((10, 20, 30), (5.0, 5.2, 4.8), ("1", "3")),
            ((10, 20, None), (5.0, 5.2, 1.0), ("1",)),
            ((10, 10 * (1 + 0.9 * BOUND), 30), (5.0, 4.8, 4.79), ("2",)),  # 1 is no faster, 3 no better, than 2
            ((10, 10 * (1 + 1.1 * BOUND), 30), (5.0, 4.8, 4.77), ("1", "2", "3")),
        ],
    )
    def test_front(self, seconds, losses, front):
        runs, _ = make_results({key: GRID[key] for key in "123"})
        runs["train_seconds"] = pd.Series(seconds, dtype=float)
        assert pareto(set_losses(runs, dict(zip("123", losses, strict=True))), BOUND) == front

    @pytest.mark.parametrize(("gap", "pick"), [(0.9 * GOOD_ENOUGH, "1"), (1.1 * GOOD_ENOUGH, "9")])
    def test_the_pick_is_fast_and_nearly_best(self, gap, pick):
        runs, epochs = make_results({"1": GRID["1"], "9": GRID["9"]})
        found = wall_clock(set_losses(runs, {"9": 4.5, "1": 4.5 + gap}), epochs, BOUND)
        assert (found.best, found.pick) == ("9", pick)
        assert found.verdict == ("a faster one is good enough" if pick == "1" else "best is the pick")

    @pytest.mark.parametrize(("factor", "alike"), [(1.04, ("2",)), (1.06, ())])
    def test_fastest_within_the_bound_is_not_told_apart(self, factor, alike):
        runs, epochs = make_results({"1": GRID["1"], "2": GRID["2"]})
        runs["train_seconds"] = [100.0, 100.0 * factor]
        assert wall_clock(runs, epochs, BOUND).alike == alike

    def test_time_to_reach(self):
        runs, epochs = make_results({"5": GRID["5"], "7": GRID["7"]})
        reaches = wall_clock(runs, epochs, BOUND).reaches
        assert all(reach.target < 690 and reach.seconds["7"] is None for reach in reaches)
        times = [reach.seconds["5"] for reach in reaches]
        assert times == sorted(times)
        assert "first experiment 5" in describe_reach(reaches[0])
        assert "no run" in describe_reach(Reach(100.0, {"5": None}, ()))

    @pytest.mark.parametrize(("factor", "first"), [(1.06, ("5", "6")), (1.2, ("5",))])
    def test_first_is_who_can_be_told_from_the_next(self, factor, first):
        """A few epochs average out less than all ten: 6 % apart after five are within 5 % of a whole run's time."""
        runs, epochs = make_results({"5": GRID["5"], "6": GRID["6"]})
        other = epochs["experiment"] == "6"
        same = epochs.loc[~other, ["validation_loss", "train_seconds"]].to_numpy()
        epochs.loc[other, ["validation_loss", "train_seconds"]] = same * [1, factor]
        reach = wall_clock(runs, epochs, BOUND).reaches[-1]
        assert reach.first == first

    def test_other_hardware_is_left_out(self):
        runs, epochs = make_results()
        runs.loc[runs["experiment"] == "3", ["hardware", "train_seconds"]] = "a faster machine", 1.0
        found = wall_clock(runs, epochs, BOUND)
        assert found.fastest != "3"
        assert "other hardware: 3" in found.claim

    def test_nothing_completed(self):
        runs, epochs = make_results({"5": GRID["5"]}, diverged=("5",))
        assert wall_clock(runs, epochs, BOUND).verdict == "nothing to compare"


class TestGeneralization:
    def test_one_best_or_several(self):
        runs, _ = make_results({"1": GRID["1"], "5": GRID["5"]})
        assert generalization(set_losses(runs, {"1": 4.0, "5": 4.1})).verdict == "one best"
        assert generalization(set_losses(runs, {"1": 4.0, "5": 4.01})).alike == ("5",)

    def test_test_split_may_disagree(self):
        runs, _ = make_results({"1": GRID["1"], "5": GRID["5"]})
        runs.loc[runs["experiment"] == "1", ["test_loss", "test_perplexity"]] = 4.0, math.exp(4.0)
        found = generalization(runs)
        assert (found.best, found.test_agrees) == ("5", False)
        assert "experiment 1 has less there" in found.claim

    def test_last_epoch(self):
        assert "experiments 5" in last_epoch_claim(generalization(make_results({"5": GRID["5"]})[0]))
        assert "no run more than" in last_epoch_claim(generalization(make_results({"3": GRID["3"]})[0]))

    def test_none_completed(self):
        assert generalization(make_results({"5": GRID["5"]}, diverged=("5",))[0]).verdict == "none completed"


class TestComparisons:
    def test_sgd_may_win(self):
        runs, epochs = make_results()
        runs["unigram_validation_perplexity"] = 1e6  # everyone learns
        losses = {"1": 5.0, "2": 5.0, "3": 4.0, "4": 4.5, "5": 5.0, "6": 5.0, "7": 4.0, "8": 4.5}
        found = optimizers(set_losses(runs, losses), learning(runs, epochs))
        assert found.verdict == {"weight decay": "not distinguishable", "momentum": "hurts", "adaptivity": "hurts"}
        assert "no learning rate was tuned" in found.tuning

    def test_where_neither_learned_momentum_is_not_judged(self):
        runs, epochs = make_results(unigram_validation_perplexity=1.0)
        found = optimizers(runs, learning(runs, epochs))
        assert found.verdict["momentum"] == "none learned"
        assert "no run with or without it learned" in found.claim

    @pytest.mark.parametrize(
        ("factor", "told"), [(1.04, "1 would take about as long"), (2, "LSTM would be done sooner in 1")]
    )
    def test_times_under_early_stopping_go_by_the_bound(self, factor, told):
        runs, epochs = make_results({"1": GRID["1"], "5": GRID["5"]})
        epochs[["train_seconds", "validation_seconds"]] = 1.0
        stops = stopping(epochs)
        ratio = factor * stops.of("1", 2)[0].seconds / stops.of("5", 2)[0].seconds
        epochs.loc[epochs["experiment"] == "5", ["train_seconds", "validation_seconds"]] = ratio
        assert told in architectures(runs, learning(runs, epochs), stopping(epochs), BOUND).stopped_claim

    def test_architectures_may_differ_in_the_effect(self):
        runs, epochs = make_results()
        found = optimizers(set_losses(runs, {"1": 5.0, "2": 4.0, "5": 4.0, "6": 5.0}), learning(runs, epochs))
        assert found.verdict["weight decay"] == "depends on the architecture"

    def test_different_rates_are_named(self):
        runs, epochs = make_results()
        runs.loc[runs["optimizer"] == "sgd", "lr"] = 0.1
        assert "SGD ran at 0.1" in optimizers(runs, learning(runs, epochs)).tuning

    def test_nothing_to_compare(self):
        found = find(*make_results({"5": GRID["5"]}), PARAMS)
        assert (found.optimizers, found.architectures, found.depth) == (None, None, None)

    @pytest.mark.parametrize("better", ["lstm", "gpt"])
    def test_architecture_that_wins(self, better):
        runs, epochs = make_results({"1": GRID["1"], "5": GRID["5"]})
        runs = set_losses(runs, {"1": 4.0, "5": 5.0} if better == "lstm" else {"1": 5.0, "5": 4.0})
        found = find(runs, epochs, PARAMS).architectures
        assert (found.verdict, found.winner) == ("one wins", better)

    def test_pairs_where_neither_learned_do_not_count(self):
        found = find(*make_results({"3": GRID["3"], "7": GRID["7"]}), PARAMS).architectures
        assert found.winner is None
        assert "In no matched pair" in found.claim

    def test_diverged_is_not_compared(self):
        runs, _ = make_results({"1": GRID["1"], "5": GRID["5"]}, diverged=("5",))
        assert compare(runs, "1", "5").difference.order == "unknown"

    def test_depth_may_help(self):
        runs, epochs = make_results({key: GRID[key] for key in ("2", "9", "10")})
        found = depth(set_losses(runs, {"2": 5.0, "9": 4.5, "10": 4.0}), learning(runs, epochs))
        assert found.verdict == {"lstm": ("helps", "helps")}

    def test_depth_tells_overfitting_from_failing(self):
        runs, epochs = make_results({key: GRID[key] for key in ("6", "11", "12")})
        found = depth(runs, learning(runs, epochs))
        assert found.verdict == {"gpt": ("overfits", "failed to train")}

    def test_ids_are_anything(self):
        grid = {"tiny & odd_id": ("lstm", 1, "adam"), "b|2": ("gpt", 1, "adam")}
        found = find(*make_results(grid, seeds=(1, 2, 3)), PARAMS)
        assert found.architectures.matches[0].comparison.first == "tiny & odd_id"


class TestMemory:
    @pytest.mark.parametrize(
        ("gap", "state", "verdict"),
        [
            (10, 10, "optimizer state"),
            (100, 10, "not optimizer state"),
            (-50, 10, "not optimizer state"),
            (1, 1, "too small to see"),
            (3, 1, "too small to see"),
        ],
    )
    def test_what_the_state_explains(self, gap, state, verdict):
        runs, _ = make_results({"5": GRID["5"], "7": GRID["7"]})
        runs["memory_footprint_mb"] = [200.0 + gap, 200.0]
        runs["model_optimizer_mb"] = [float(state), 0.0]
        found = memory(runs).gaps[0]
        assert found.verdict == verdict
        if gap < 0:
            assert "logits" not in found.claim

    @pytest.mark.parametrize(("adamw", "verdict"), [(210.0, "optimizer state"), (225.0, "too small to see")])
    def test_what_like_runs_differ_by_is_not_explained(self, adamw, verdict):
        runs, _ = make_results({key: GRID[key] for key in "567"})
        runs["memory_footprint_mb"], runs["model_optimizer_mb"] = [210.0, adamw, 200.0], [10.0, 10.0, 0.0]
        assert memory(runs).gaps[0].verdict == verdict

    def test_parts_are_added_up(self):
        found = memory(make_results({"5": GRID["5"]})[0])
        assert found.accounts[0].modelled == pytest.approx(sum(found.accounts[0].parts.values()))
        assert found.verdict == "partly explained"

    def test_unmeasured(self):
        runs, _ = make_results({"5": GRID["5"]}, memory_footprint_mb=None, memory_mean_mb=None)
        assert memory(runs).verdict == "not measured"


class TestStopping:
    @pytest.mark.parametrize(("patience", "last"), [(1, 2), (2, 5), (3, 6)])
    def test_when(self, patience, last):
        assert stop_after([5.0, 4.0, 4.1, 3.9, 4.0, 4.0, 4.0], patience) == last

    def test_saved_and_lost(self):
        _, epochs = run_of([5.0, 4.0, 4.1, 3.0, 3.5, 3.6])
        stop = stopping(epochs).of("x", 1)[0]
        assert (stop.epoch, stop.seconds, stop.saved) == (2, 9.0, 9.0)
        assert stop.lost == pytest.approx(1.0)

    def test_verdicts(self):
        assert stopping(run_of([5.0, 4.0, 3.0])[1]).verdict == "saves nothing"
        assert stopping(run_of([5.0, 4.0, 4.1, 4.2])[1]).verdict == "saves"
        assert stopping(run_of([5.0, 5.1, 5.2, 5.3, 1.0, 2.0])[1]).verdict == "costs quality"

    def test_smallest_harmless_patience(self):
        assert stopping(run_of([5.0, 4.0, 4.1, 3.0, 3.1, 3.2])[1]).recommended == 2


class TestRemedies:
    def commands(self, experiment: str, params: dict = PARAMS, **options) -> list[str]:
        runs, epochs = make_results({experiment: GRID[experiment]}, **options)
        return [remedy.command for remedy in remedies(runs, learning(runs, epochs), params)]

    def test_by_cause(self):
        assert self.commands("7") == ["dvc exp run -S optimizers.sgd.lr=0.1"]
        assert self.commands("12") == ["dvc exp run -S optimizers.adamw.lr=0.0003"]
        assert self.commands("5", diverged=("5",)) == ["dvc exp run -S optimizers.adam.lr=0.0001"]
        assert self.commands("10") == [
            f"dvc exp run -S scales.laptop.epochs={2 * PARAMS['scales']['laptop']['epochs']}"
        ]

    def test_a_plateau_that_still_falls_wants_time(self):
        runs, epochs = make_results({"1": GRID["1"]}, unigram_validation_perplexity=10.0)
        epochs["validation_loss"] = 7.0 - 0.1 * epochs["epoch"]
        assert remedies(runs, learning(runs, epochs), PARAMS)[0].command.startswith(
            "dvc exp run -S scales.laptop.epochs="
        )

    def test_only_keys_that_exist(self):
        assert self.commands("12", params={}) == []
        every = [c for e in GRID for c in self.commands(e)]
        keys = {command.split("-S ")[1].split("=")[0] for command in every}
        assert all(lookup(PARAMS, key) is not None for key in keys)

    def test_every_line_passes_dvcs_parser_and_the_check_of_params(self, tmp_path):
        """Each kind of remedy, whatever the figures: its setting, written as DVC writes it, makes a valid study."""
        every = {c for e in GRID for c in self.commands(e)} | {
            c for e in "1357" for c in self.commands(e, diverged=(e,))
        }
        whole = copy.deepcopy(PARAMS)
        whole["scales"]["laptop"]["tokenizer"]["train_share"] = 1.0
        small = copy.deepcopy(PARAMS)
        small["scales"]["laptop"]["tokenizer"]["train_share"] = 0.5
        for name, params in (("whole", whole), ("small", small), ("own", PARAMS)):
            commands = every if params is PARAMS else set(self.commands("5", params=params))
            assert commands
            for command in commands:
                *start, setting = shlex.split(command)
                assert start == ["dvc", "exp", "run", "-S"]
                path = tmp_path / f"{name}.yaml"
                path.write_text(yaml.safe_dump(params))
                before = load_study(path)
                apply_overrides(path, [setting])
                after = load_study(path)
                assert after != before
                key, value = setting.split("=")
                assert lookup(after.model_dump(), key) == pytest.approx(float(value))

    def test_overfitting_stops_earlier_once_all_text_is_used(self):
        params = {"scales": {"laptop": {"epochs": 10, "tokenizer": {"train_share": 1.0}}}}
        assert self.commands("5", params=params) == ["dvc exp run -S scales.laptop.epochs=5"]


class TestReplication:
    def test_only_at_its_scale_and_on_its_tokens(self, reference):
        assert replication(make_results()[0], reference) is None
        other = replication(make_results(scale="reference")[0], reference)
        assert (other.verdict, other.places) == ("not comparable", {})

    @pytest.mark.parametrize(
        ("ours", "place"), [(144.1, "within"), (141.3, "within"), (148.5, "within"), (140.9, "lower"), (149, "higher")]
    )
    def test_the_spread_and_the_bound(self, reference, ours, place):
        """The study has 144.23 for experiment 1, its replications 144.02 to 145.81."""
        runs, _ = make_results({"1": GRID["1"]}, scale="reference", validation_tokens=VALIDATION_TOKENS + 1)
        runs["study_validation_perplexity"] = ours
        found = replication(runs, reference)
        assert found.places == {"1": place}
        assert found.verdict == ("replicated" if place == "within" else "partly replicated")

    def test_the_originals_own_configuration_is_asked(self, reference):
        grid = {"1": ("lstm", 2, "adam")}
        assert replication(make_results(grid, scale="reference")[0], reference) is None


class TestOriginal:
    """What the original's answer sheet got wrong, our findings must get right from its own figures."""

    def test_states(self, original):
        learned = original.learning
        assert learned.state("12") == "plateau"
        assert learned.state("11") == "undertrained"
        assert learned.of("11")[0].left_plateau == 2
        for experiment in ("5", "6"):
            assert learned.state(experiment) == "overfitting"
            assert "overfits from epoch 5 on" in learned.of(experiment)[0].claim

    def test_sgd_memory_is_not_optimizer_state(self, original):
        assert {gap.verdict for gap in original.memory.gaps} == {"not optimizer state"}
        assert all("logits" in gap.claim for gap in original.memory.gaps)

    def test_one_percent_of_time_is_not_claimed(self, original):
        assert set(original.wall_clock.alike) == {"1", "2", "4", "5", "6", "7", "8"}

    def test_depth(self, original):
        assert original.depth.verdict["gpt"] == ("learned less", "failed to train")

    def test_optimizers_hold_for_this_rate_only(self, original):
        assert original.optimizers.verdict["adaptivity"] == "helps"
        assert original.optimizers.verdict["weight decay"] == "not distinguishable"
        assert "0.001" in original.optimizers.tuning

    def test_figures_are_corrected(self, reference):
        runs, _ = as_results(reference)
        first = runs.set_index("experiment").loc["1"]
        assert first["validation_perplexity"] == pytest.approx(math.exp(math.log(144.22962) / 0.99709), rel=1e-4)
        assert first["train_seconds"] == pytest.approx(392.5, abs=0.1)
