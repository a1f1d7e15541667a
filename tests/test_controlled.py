"""The controlled study: its protocol, the choice of rates, and what is concluded from results whose truth is known."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import binom, fisher_exact

from lm.config.architectures import all_sizes
from lm.config.run import RunConfig
from lm.config.study import load_study
from lm.controlled.claims import Fate, compare, mixed_precisions
from lm.controlled.contrasts import Outcome, Survival, judge
from lm.controlled.findings import ControlledFindings, Setting, Untimed, find, superset_lost
from lm.controlled.outside import with_spread
from lm.controlled.report import write_report
from lm.controlled.results import Controlled, from_tables, load
from lm.controlled.statistics import best_after, improvement, paired, resample_documents, shares_p
from lm.corpus.documents import Corpus, Document, write_corpus
from lm.errors import StudyError
from lm.findings.limits import budget_of
from lm.findings.study import judge_of
from lm.protocol.plan import as_yaml, check_pipeline, check_plan, plan
from lm.protocol.protocol import Arm, load_protocol
from lm.protocol.rates import Edge, Trial, best, chosen, edge_of, half_decades, rates_beyond
from lm.protocol.text import more_text
from lm.report.text import percent
from lm.results.load import load_answers, load_results
from lm.results.spread import load_spread
from lm.results.states import Kind, State
from lm.results.statistics import holm
from lm.results.summarize import summarize
from tests.controlled_synthetic import ADAPTIVE, PLATEAU, SEEDS, Invented, around, curve, study, tables, whole
from tests.reading import read
from tests.synthetic import make_results

ROOT = Path(__file__).parents[1]


class TestStatistics:
    def test_paired_intervals_cover_the_truth_as_often_as_they_say(self):
        rng, truth, inside, trials = np.random.default_rng(1), 0.02, 0, 4000
        for _ in range(trials):
            shared = rng.normal(0, 0.05, 5)  # what both arms owe to the seed
            first = dict(zip(SEEDS, shared + rng.normal(truth, 0.01, 5), strict=True))
            second = dict(zip(SEEDS, shared + rng.normal(0, 0.01, 5), strict=True))
            found = paired(first, second)
            assert found is not None
            inside += found.low <= truth <= found.high
        assert inside / trials == pytest.approx(0.95, abs=0.01)

    def test_pairing_takes_out_what_the_seed_does_to_both(self):
        first = {seed: 4.0 + 0.1 * seed for seed in SEEDS}
        found = paired(first, {seed: loss - 0.01 for seed, loss in first.items()})
        assert found is not None
        assert found.high - found.low < 1e-6

    def test_a_missing_seed_leaves_the_common_ones(self):
        first = {43: 4.0, 44: 4.2, 45: 4.1}
        found = paired(first, {43: 3.9, 45: 4.1, 99: 0.0})
        assert found is not None
        assert (found.seeds, found.difference) == (2, pytest.approx(0.05))
        assert paired(first, {43: 3.9}) is None
        assert paired(first, {}) is None

    def test_holm_keeps_the_error_of_a_whole_family(self):
        """Six true nulls: without correction a quarter of families claim something, with it one in twenty."""
        rng, claimed, naive, families = np.random.default_rng(2), 0, 0, 2000
        for _ in range(families):
            losses = rng.normal(4, 0.01, (12, 5))
            found = [
                paired(dict(enumerate(a)), dict(enumerate(b))) for a, b in zip(losses[::2], losses[1::2], strict=True)
            ]
            values = [each.p for each in found if each]
            claimed += min(holm(values)) < 0.05
            naive += min(values) < 0.05
        assert claimed / families == pytest.approx(0.05, abs=0.015)
        assert naive / families > 0.2

    def test_shares_of_failed_seeds(self):
        assert shares_p(5, 5, 0, 5) == pytest.approx(2 * 0.5**10)
        assert shares_p(4, 5, 0, 5) == pytest.approx(22 * 0.5**10)
        assert shares_p(1, 5, 0, 5) == shares_p(0, 5, 1, 5) == pytest.approx(0.754, abs=1e-3)
        assert shares_p(0, 5, 0, 5) == shares_p(5, 5, 5, 5) == shares_p(3, 5, 3, 5) == 1.0

    def test_shares_that_are_the_same_are_told_apart_as_rarely_as_they_may_be(self):
        """Whatever share of seeds fails; and what Fisher's test tells apart, this one does."""
        found = {(a, b): shares_p(a, 5, b, 5) for a in range(6) for b in range(6)}
        for share in np.linspace(0.01, 0.99, 99):
            wrong = sum(binom.pmf(a, 5, share) * binom.pmf(b, 5, share) for (a, b), p in found.items() if p < 0.05)
            assert wrong <= 0.05
        for (a, b), p in found.items():
            assert p <= fisher_exact([[a, b], [5 - a, 5 - b]]).pvalue + 1e-6

    def test_probability_of_improvement(self):
        assert improvement([1.0, 2.0], [3.0, 4.0]) == 1.0
        assert improvement([1.0, 3.0], [2.0, 3.0]) == (1 + 1 + 0 + 0.5) / 4
        assert improvement([], [1.0]) is None

    def test_documents_are_resampled_together_with_their_sizes(self):
        rng = np.random.default_rng(3)
        tokens = rng.integers(100, 5000, 40).astype(float)
        hard = rng.normal(4, 0.5, 40)
        first, second = (hard + rng.normal(0.02, 0.01, 40)) * tokens, hard * tokens
        found = resample_documents(first, second, tokens)
        assert found is not None
        assert found.low < 0.02 < found.high
        assert found.high - found.low < 0.01  # the documents' difficulty, half a nat, is in both and does not count
        assert found == resample_documents(first, second, tokens)
        assert resample_documents(first[:1], second[:1], tokens[:1]) is None

    def test_documents_cover_the_truth(self):
        rng, inside, trials = np.random.default_rng(4), 0, 300
        for _ in range(trials):
            tokens = rng.integers(500, 1500, 60).astype(float)
            found = resample_documents(rng.normal(0.02, 0.05, 60) * tokens, np.zeros(60), tokens, resamples=500)
            assert found is not None
            inside += found.low <= 0.02 <= found.high
        assert inside / trials == pytest.approx(0.94, abs=0.03)

    def test_best_after_is_the_mean_over_all_ways_to_draw(self):
        losses = [4.5, 4.1, 5.0, 4.3]
        for count in range(1, 5):
            ways = [min(drawn) for drawn in itertools.combinations(losses, count)]
            assert best_after(losses, count) == pytest.approx(sum(ways) / len(ways))
        with pytest.raises(ValueError, match="5 of 4"):
            best_after(losses, 5)


CONFIG = RunConfig.model_validate(
    {
        "experiment": "a",
        "model": {"architecture": "lstm", "layers": 1, "context": 8, "width": 8, "lstm_hidden": 8},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "training": {"batch": 2, "epochs": 1, "train_sample": 1},
        "compute": {"device": "cpu", "precision": "fp32", "threads": 1},
    }
)


def trials(losses: dict[float, float | None]) -> list[Trial]:
    return [Trial(point=f"{rate:g}", rate=rate, loss=loss, config=CONFIG) for rate, loss in losses.items()]


class TestRates:
    @pytest.mark.parametrize(
        ("losses", "rate", "edge"),
        [
            ({0.1: 5.0, 0.3: 4.0, 1.0: 4.5}, 0.3, Edge.NONE),
            ({0.1: 4.0, 0.3: 4.2, 1.0: 4.5}, 0.1, Edge.LOW),
            ({0.1: 5.0, 0.3: 4.2, 1.0: 4.1}, 1.0, Edge.HIGH),
            ({0.1: 4.0, 0.3: 4.0, 1.0: 4.5}, 0.1, Edge.LOW),  # of equals the lower rate
            ({0.1: 5.0, 0.3: 4.2, 1.0: None}, 0.3, Edge.NONE),  # what diverges bounds the grid
            ({0.1: None, 0.3: None}, 0.1, Edge.LOW),  # all fail: smaller rates fail less
        ],
    )
    def test_choice_and_edge(self, losses, rate, edge):
        assert chosen(trials(losses)).rate == rate
        assert edge_of(trials(losses)) is edge

    def test_none_is_best_where_all_failed(self):
        assert best(trials({0.1: None, 0.3: None})) is None

    def test_rates_beyond_an_edge(self):
        assert rates_beyond([0.03, 0.1], Edge.HIGH, 2) == [0.3, 1.0]
        assert rates_beyond([0.003, 0.01], Edge.LOW, 3) == [0.001, 0.0003, 0.0001]
        assert half_decades(30.0, 1) == 100.0
        assert half_decades(0.002, 1) > 0.002

    def test_the_rate_chosen_depends_on_no_test_loss(self):
        """Two arms with the same validation losses choose the same rate, whatever the test split says."""
        arms = {
            name: Invented(
                model="lstm", optimizer="adam", trials=curve(0.01, 4.3, ADAPTIVE["lstm"]), confirmed=around(loss)
            )
            for name, loss in (("a", 4.0), ("b", 6.0))
        }
        first, second = study(arms).arms
        assert first.rate == second.rate == 0.01


def two(**changes: object) -> tuple[Invented, Invented]:
    base = Invented(model="gpt", optimizer="adam", trials=curve(0.003, 4.3, ADAPTIVE["gpt"]), confirmed=around(4.35))
    return base, replace(base, optimizer="momentum", **changes)


def contrast(first: Invented, second: Invented):
    found = study({"first": first, "second": second})
    (verdict,) = judge([(found.arms[0], found.arms[1])])
    return verdict


class TestVerdicts:
    def test_a_planted_effect_is_found(self):
        verdict = contrast(*two(confirmed=around(4.45)))
        assert verdict.outcome is Outcome.LOWER
        assert verdict.ratio == pytest.approx(math.expm1(-0.1), abs=0.02)
        assert (verdict.p, verdict.improvement, verdict.family) == (pytest.approx(0, abs=0.01), 1.0, 1)

    def test_a_planted_null_is_claimed_once_in_twenty_at_most(self):
        base, _ = two()
        arms = {f"a{i}": replace(base, confirmed=around(4.35, seed=i)) for i in range(40)}
        found = study(arms).arms
        alone = [judge([pair])[0].outcome for pair in zip(found[::2], found[1::2], strict=True)]
        assert sum(outcome in (Outcome.LOWER, Outcome.HIGHER) for outcome in alone) <= 2
        family = judge(zip(found[::2], found[1::2], strict=True))
        assert not any(each.outcome in (Outcome.LOWER, Outcome.HIGHER) for each in family)

    def test_alike_needs_a_narrow_interval_not_a_wide_one(self):
        narrow = dict.fromkeys(SEEDS, 4.0) | {43: 4.001}
        base, other = two()
        assert (
            contrast(replace(base, confirmed=narrow), replace(other, confirmed=dict.fromkeys(SEEDS, 4.0))).outcome
            is Outcome.ALIKE
        )
        wide = contrast(replace(base, confirmed=around(4.35, 0.05)), replace(other, confirmed=around(4.351, 0.05, 1)))
        assert wide.outcome is Outcome.UNDECIDED

    def test_the_correction_can_take_a_difference_away(self):
        base, _ = two()
        arms = {f"a{i}": replace(base, confirmed=around(4.35 + 0.03 * (i == 1), 0.012, i)) for i in range(24)}
        found = study(arms).arms
        pairs = list(zip(found[::2], found[1::2], strict=True))
        alone, corrected = judge(pairs[:1])[0], judge(pairs)[0]
        assert alone.outcome is Outcome.LOWER
        assert corrected.outcome is Outcome.UNDECIDED
        assert corrected.corrected_away
        assert not any(each.corrected_away for each in (alone, *judge(pairs[1:])))

    @pytest.mark.parametrize(
        ("failing", "outcome"),
        [((44,), Outcome.SHARES), ((43, 44, 45, 46, 47), Outcome.SECOND_FAILS)],
    )
    @pytest.mark.parametrize("how", [PLATEAU + 0.05, None])
    def test_failed_seeds_are_told_by_their_share_not_by_a_mean(self, failing, outcome, how):
        base, other = two()
        verdict = contrast(base, replace(other, confirmed=around(4.1) | dict.fromkeys(failing, how)))
        assert verdict.outcome is outcome
        assert verdict.paired is None
        assert verdict.documents is None
        assert len(verdict.second.failed) == len(failing)
        left = list(verdict.second.losses.values())
        assert verdict.first_loss == pytest.approx(np.mean(list(verdict.first.losses.values())))
        assert verdict.second_loss == (pytest.approx(np.mean(left)) if left else None)

    def test_missing_seeds(self):
        base, other = two()
        assert contrast(base, replace(other, confirmed={43: 4.4, 44: 4.5, 45: 4.4})).paired.seeds == 3
        assert contrast(base, replace(other, confirmed={43: 4.4})).outcome is Outcome.TOO_FEW

    def test_second_best_rates(self):
        base, other = two(confirmed=around(4.5))
        assert contrast(base, other).second_best is Survival.TURNS  # the trials of both are the same
        worse = replace(other, trials=curve(0.003, 4.4, ADAPTIVE["gpt"]))
        assert contrast(base, worse).second_best is Survival.HOLDS
        single = replace(other, trials={0.003: 4.4, 0.01: None})
        assert contrast(base, single).second_best is Survival.UNKNOWN

    def test_multiples_of_a_rate_are_compared_at_the_same_rate(self):
        """The untreated does well at a third of its best rate, which no treatment tries, badly at three times it."""
        untreated = Invented(
            model="gpt", optimizer="adam", trials={0.001: 4.32, 0.003: 4.3, 0.009: 4.9}, confirmed=around(4.35)
        )
        treated = replace(
            untreated, trials={0.003: 4.2, 0.009: 4.6}, confirmed=around(4.25), of="first", relative=True
        )  # fmt: skip
        for trials, survival, rate in (
            (treated.trials, Survival.HOLDS, 0.009),
            ({0.003: 4.2, 0.009: 5.0}, Survival.TURNS, 0.009),
            ({0.003: 4.2, 0.0045: 4.6}, Survival.UNKNOWN, None),  # which the untreated has not tried
            ({0.003: 4.2, 0.0045: 4.6, 0.009: 4.7}, Survival.HOLDS, 0.009),
            ({0.003: 4.2, 0.009: None}, Survival.UNKNOWN, None),
        ):
            found = study({"first": untreated, "second": replace(treated, trials=trials)})
            (verdict,) = judge([(found.arms[1], found.arms[0])])
            assert verdict.outcome is Outcome.LOWER
            assert (verdict.second_best, verdict.other_rate) == (survival, rate)

    def test_a_treatment_with_a_grid_of_its_own_is_compared_at_one_rate_too(self):
        """Its second-best rate lies above the best, the untreated's below: each at its own, the order would turn."""
        untreated = Invented(
            model="gpt", optimizer="adam", trials={0.0003: 4.4, 0.001: 4.3, 0.003: 4.9}, confirmed=around(4.35)
        )
        treated = replace(
            untreated, trials={0.0003: 4.7, 0.001: 4.25, 0.003: 4.5}, confirmed=around(4.25), of="first"
        )  # fmt: skip
        found = study({"first": untreated, "second": treated, "third": replace(treated, of=None)}).arms
        verdict = judge([(found[1], found[0])])[0]
        assert (verdict.second_best, verdict.other_rate) == (Survival.HOLDS, 0.003)
        assert [trial.loss for trial in verdict.other] == [4.5, 4.9]
        apart = judge([(found[2], found[0])])[0]
        assert (apart.second_best, apart.other_rate) == (Survival.TURNS, None)


CHANGES = {
    "model": ("lstm", ["lstm"], "architecture LSTM"),
    "optimizer": ("sgd", ["sgd"], "under AdamW, SGD"),
    "layers": (4, [4], "4 layers"),
    "sizes": ('{"heads": 4, "mlp": 512}', ["heads 4"], "under AdamW, heads 4: "),
    "weight_decay": (None, [None], "no weight decay"),
    "momentum": (0.9, [0.9], "momentum 0.9"),
    "beta2": (None, [None], "no beta2"),
    "text_times": (10, [10], "10 times the text"),
    "epochs": (1, [1], "1 epoch"),
    "norm": ("pre", ["pre"], "pre-norm"),
    "warmup": (0.1, [0.1], "warm-up 0.1"),
    "schedule": ("cosine", ["cosine"], "cosine schedule"),
    "clip": (None, [None], "no clipping"),
    "dropout": (0.1, [0.1], "dropout 0.1"),
    "label_smoothing": (0.1, [0.1], "label smoothing 0.1"),
    "patience": (None, [None], "no patience"),
    "shards": (2, [2], "shards 2"),
}
"""By the column in which an arm differs from what it treats: its value, what is found of it, the report's words."""


@pytest.fixture(scope="module")
def found() -> ControlledFindings:
    return find(study(whole()))


class TestFindings:
    def test_the_leader_is_chosen_on_validation(self):
        first, second = two(confirmed=around(3.0))  # far better on test, worse on validation
        second = replace(second, trials=curve(0.003, 4.5, ADAPTIVE["gpt"]))
        (ranking,) = find(study({"a": first, "b": second})).rankings
        assert ranking.leader.name == "a"
        assert ranking.contrasts[0].outcome is Outcome.HIGHER
        assert ranking.adaptive is ranking.contrasts[0]

    def test_families_are_questions(self, found):
        sizes = {question: {c.family for q, c in found.contrasts if q == question} for question, _ in found.contrasts}
        assert sizes == {"optimizers": {6}, "settings": {5}, "architectures": {3}, "depth": {4}, "remedies": {8}}

    def test_settings(self, found):
        asked = [(answer.setting, answer.value, answer.contrast.first.name) for answer in found.settings]
        assert (Setting.MOMENTUM, 0.9, "gpt_momentum") in asked
        assert (Setting.DECAY, 0.0005, "lstm_adamw") in asked
        assert (Setting.STRONG_DECAY, 0.1, "gpt_decay") in asked

    def test_one_layer_of_the_depth_comes_from_the_rates(self, found):
        assert [match.layers for match in found.matches] == [1, 2, 4]
        assert found.matches[0].contrast.second.name == "gpt_adamw"
        assert [[arm.name for arm in series.arms] for series in found.series] == [
            ["wide_lstm_1", "wide_lstm_2", "wide_lstm_4"],
            ["gpt_adamw", "gpt_2", "gpt_4"],
        ]

    def test_what_depth_gives_once_it_can_be_trained(self, found, tmp_path):
        (cured,) = found.cured
        assert cured.arm.failed
        assert [arm.name for arm in cured.treated] == ["wide_lstm_4_dropout"]
        assert [arm.name for arm in cured.shallower] == ["wide_lstm_1", "wide_lstm_2"]
        write_report(found, (), ROOT / "reports" / "templates", tmp_path)
        page = (tmp_path / "report.md").read_text()
        reached = [math.exp(np.mean(list(arm.losses.values()))) for arm in (*cured.treated, *cured.shallower)]
        assert (
            "LSTM with 4 layers, treated so that no seed fails, reaches {:.1f} (dropout 0.1); untreated, 1 layer "
            "reaches {:.1f} and 2 layers reach {:.1f}. No verdict rests on this".format(*reached)
        ) in page

    def test_a_treatment_that_fails_too_cures_nothing(self):
        arms = whole()
        failing = replace(arms["wide_lstm_4_dropout"], confirmed=arms["wide_lstm_4"].confirmed)
        assert find(study(arms | {"wide_lstm_4_dropout": failing})).cured == ()

    def test_the_largest_trainable_rate(self, found):
        post, pre = found.trainable
        assert (post.arm.name, post.rate, post.at_least, post.failed) == ("gpt_4", 0.001, False, 0)
        assert (pre.arm.name, pre.rate, pre.at_least, pre.failed) == ("gpt_4_pre", 0.01, True, None)
        assert [each.loss for each in (post, pre)] == [
            next(trial.loss for trial in each.arm.trials if trial.rate == each.rate) for each in (post, pre)
        ]

    def test_the_largest_trainable_rate_of_each_searched_remedy(self, tmp_path):
        arms = whole()
        four = (0.0003, 0.001, 0.003, 0.01)
        arms["gpt_4"] = replace(arms["gpt_4"], confirmed=around(4.2) | {44: PLATEAU})
        arms["gpt_4_warmup"] = replace(arms["gpt_4_warmup"], relative=False, trials=curve(0.001, 4.12, four, 0.01))
        post, warm, pre = find(study(arms)).trainable
        assert (post.failed, warm.rate, warm.at_least, warm.failed) == (1, 0.003, False, None)
        write_report(find(study(arms)), (), ROOT / "reports" / "templates", tmp_path)
        page = (tmp_path / "report.md").read_text()
        assert "is 0.001 untreated (post-norm), where it reaches" in page
        assert "but fails on 1 of 5 seeds that are fresh; 0.003 with warm-up 0.1, where it reaches" in page
        assert "0.01 or more with pre-norm" in page
        assert pre.at_least

    @pytest.mark.parametrize("column", CHANGES)
    def test_each_setting_that_a_treatment_changes_is_told(self, column, tmp_path):
        value, told, words = CHANGES[column]
        untreated, treated = whole()["gpt_2"], {"part": "remedies", "of": "a"}
        untreated = replace(untreated, columns={"clip": 0.5, "patience": 4})
        own = {column: value} if hasattr(untreated, column) else {"columns": {**untreated.columns, column: value}}
        found = find(study({"a": untreated, "b": replace(untreated, **treated, **own)}))
        assert [each for key, each in found.study["b"].changed if key == column] == told
        write_report(found, (), ROOT / "reports" / "templates", tmp_path)
        page = (tmp_path / "report.md").read_text()
        assert words in page
        assert "None" not in page

    def test_what_an_arms_line_may_hold_is_told(self):
        apart = {"part", "of", "rates", "times", "lr"}
        names = {"text": "text_times", **dict.fromkeys(all_sizes(), "sizes")}
        assert {names.get(key, key) for key in Arm.known_keys()} - apart == set(CHANGES)

    def test_a_weight_decay_with_another_size_is_not_the_decays_effect(self):
        arms = {name: arm for name, arm in whole().items() if name in ("gpt_adam", "gpt_adamw", "gpt_decay")}
        alone = find(study(arms))
        assert Setting.STRONG_DECAY in {answer.setting for answer in alone.settings}
        assert alone.treatments == ()
        columns = {"weight_decay": 0.1, "sizes": '{"heads": 2, "mlp": 2048}'}
        both = find(study(arms | {"gpt_decay": replace(arms["gpt_decay"], columns=columns)}))
        assert Setting.STRONG_DECAY not in {answer.setting for answer in both.settings}
        assert [each.contrast.first.worded for each in both.treatments] == [
            (("sizes", "mlp 2048"), ("weight_decay", "0.1"))
        ]

    def test_all_together_is_told_from_one_remedy(self, found):
        assert [t.contrast.first.name for t in found.treatments if t.together] == ["gpt_4_modern"]

    def test_equal_training_time_is_the_faster_ones(self, found):
        match = found.matches[1]
        seconds = [arm.confirmed.train_seconds.mean for arm in (match.contrast.first, match.contrast.second)]
        assert match.time == min(seconds)
        assert match.second_then > match.contrast.second.confirmed.validation_loss.mean + 0.01  # not yet done by then
        assert match.first_then == pytest.approx(match.contrast.first.confirmed.validation_loss.mean, abs=1e-3)

    def test_equal_training_time_leaves_disturbed_runs_out(self, found):
        """One seed of the slower arm took ten times as long for another's work: nothing changes."""
        runs, epochs, documents = tables(whole())
        confirmed = (runs["arm"] == "gpt_2") & (runs["role"] == "confirmation")
        one = confirmed & (runs["seed"] == 44)
        runs.loc[one, ["train_seconds", "other_cpu_seconds"]] = 1e3, 1e6
        epochs.loc[(epochs["experiment"] == "gpt_2") & (epochs["seed"] == 44), "train_seconds"] = 200.0
        match, before = find(from_tables(runs, epochs, documents)).matches[1], found.matches[1]
        undisturbed = [run.validation_loss for run in before.contrast.second.confirmed.runs if run.seed != 44]
        whole_runs = before.contrast.second.confirmed.validation_loss.mean
        assert match.time == before.time
        shift = match.second_then - before.second_then
        assert shift == pytest.approx(np.mean(undisturbed) - whole_runs, abs=2e-4)
        runs.loc[confirmed, "other_cpu_seconds"] = 1e6
        assert find(from_tables(runs, epochs, documents)).matches[1].untimed is Untimed.DISTURBED

    @pytest.mark.parametrize(
        ("columns", "why", "words"),
        [
            ({"other_cpu_seconds": 1e6}, Untimed.DISTURBED, "other processes took a share of the processor"),
            ({"hardware": "abacus"}, Untimed.HARDWARE, "the runs were made on unlike hardware"),
            ({"train_seconds": None}, Untimed.UNKNOWN, "the times are not known"),
        ],
    )
    def test_why_there_is_no_equal_training_time_is_told(self, columns, why, words, tmp_path):
        arms = whole()
        found = find(study(arms | {"gpt_2": replace(arms["gpt_2"], columns=columns)}))
        assert [match.untimed for match in found.matches] == [None, why, Untimed.FAILED]
        assert found.matches[1].time is found.matches[1].first_then is None
        write_report(found, (), ROOT / "reports" / "templates", tmp_path)
        page = (tmp_path / "report.md").read_text()
        assert f"At equal training time 2 layers cannot be judged: {words}" in page
        assert "At equal training time 4 layers cannot be judged, for seeds fail." in page

    def test_what_a_finer_grid_would_find_is_the_lowest_point_of_a_parabola(self):
        rates = (0.001, 0.003, 0.01)
        arm = Invented(model="gpt", optimizer="adam", trials=curve(0.004, 4.3, rates), confirmed=around(4.35))
        (search,) = find(study({"a": arm})).searches
        assert arm.chosen == 0.003
        assert search.finer == pytest.approx(0.35 * math.log10(0.003 / 0.004) ** 2)
        assert search.runner_up == pytest.approx(
            0.35 * (math.log10(0.01 / 0.004) ** 2 - math.log10(0.003 / 0.004) ** 2)
        )
        for trials in (
            {0.001: 4.4, 0.003: 4.3, 0.01: 4.8},
            {0.001: 4.4, 0.003: 4.3, 0.01: None},
            {0.001: 4.3, 0.003: 4.4},
        ):
            assert find(study({"a": replace(arm, trials=trials)})).searches[0].finer is None

    def test_a_verdict_that_a_finer_grid_could_turn(self, tmp_path):
        """The second arm's optimum lies between two rates, 0.02 below; the first, on its optimum, leads by 0.01."""
        rates = (0.001, 0.003, 0.01)
        first = Invented(model="gpt", optimizer="adam", trials=curve(0.003, 4.3, rates), confirmed=around(4.35, 0.0005))
        second = replace(
            first, optimizer="adamw", trials=curve(0.0052, 4.301, rates), confirmed=around(4.36, 0.0005)
        )  # fmt: skip
        found = find(study({"a": first, "b": second}))
        assert [(c.first.name, c.second.name) for c in found.hang_on_the_grid] == [("a", "b"), ("b", "a")]
        write_report(found, (), ROOT / "reports" / "templates", tmp_path)
        assert "That could turn `a` against `b`" in (tmp_path / "report.md").read_text()
        sure = find(study({"a": first, "b": replace(second, confirmed=around(4.5, 0.0005))}))
        assert sure.hang_on_the_grid == ()

    def test_arms_that_were_still_improving(self, found, tmp_path):
        assert {arm.name for arm in found.improving} == {
            arm.name for arm in found.study.arms if all(run.state is State.UNDERTRAINED for run in arm.confirmed.runs)
        }
        assert {arm.name for arm in found.improving} < {arm.name for arm in found.study.arms}
        write_report(found, (), ROOT / "reports" / "templates", tmp_path)
        page = (tmp_path / "report.md").read_text()
        listed = page.partition("With every seed, ")[2].partition(" still improving")[0]
        assert re.findall("`(.*?)`", listed) == [arm.name for arm in found.improving]

    @pytest.mark.parametrize(("families", "fewest"), [(1, 4), (8, 5), (40, None)])
    def test_the_fewest_failed_seeds_that_can_be_told(self, families, fewest):
        arm, _ = two()
        base = replace(arm, part="depth", layers=1)
        deeper = {f"b{layers}": replace(base, layers=layers) for layers in range(2, families + 2)}
        found = find(study({"a": base, **deeper}))
        assert found.fewest_failed == fewest
        if fewest is not None:
            shares = [around(4.1) | dict.fromkeys(SEEDS[:count]) for count in (fewest - 1, fewest)]
            for failing, told in zip(shares, (False, True), strict=True):
                failed = find(study({"a": base, **deeper, "b2": replace(base, layers=2, confirmed=failing)}))
                assert (failed.series[0].steps[0].outcome is Outcome.FIRST_FAILS) is told

    def test_what_is_undecided_is_told_once(self, tmp_path):
        first, second = two()
        found = find(study({"a": first, "b": replace(second, optimizer="adamw", confirmed=around(4.35, 0.05, 3))}))
        assert len(found.contrasts) == 2, "as an optimizer and as a setting"
        assert len(found.undecided) == 1
        write_report(found, (), ROOT / "reports" / "templates", tmp_path)
        assert "- What these seeds do not tell: `a` against `b`.\n" in (tmp_path / "report.md").read_text()
        assert json.loads((tmp_path / "answers.json").read_text())["answered"] == ["one_seed"], "nothing is decided"

    def test_forgiving_rates_lie_next_to_the_best(self):
        losses = {0.1: 4.31, 0.3: 4.5, 1.0: 4.30, 3.0: 4.31, 10.0: None}
        arm = Invented(model="lstm", optimizer="sgd", trials=losses, confirmed=around(4.35))
        assert study({"a": arm}).arms[0].forgiving() == (1.0, 3.0)

    def test_a_rate_at_the_edge_of_all_that_was_tried(self):
        arm = Invented(
            model="lstm", optimizer="sgd", trials={1.0: 5.0, 3.0: 4.5, 10.0: 4.2}, confirmed=around(4.3), beyond=(10.0,)
        )  # fmt: skip
        assert find(study({"a": arm})).searches[0].edge is Edge.HIGH

    def test_a_superset_that_loses_to_its_subset(self):
        base = Invented(model="gpt", optimizer="sgd", trials=curve(0.3, 4.3, (0.1, 0.3, 1.0)), confirmed=around(4.35))
        found = find(study({"sgd": base, "momentum": replace(base, optimizer="momentum", confirmed=around(4.6))}))
        assert [each.first.name for each in superset_lost(found)] == ["momentum"]

    def test_spread_is_pooled_over_arms_that_do_not_fail(self, found):
        (pooled,) = found.pooled
        assert (pooled.arms, pooled.freedom) == (21, 84)
        effects = [e for e in found.seed_effects if not e.failed]
        assert pooled.deviation == pytest.approx(math.sqrt(sum(e.deviation**2 for e in effects) / len(effects)))
        assert pooled.steady.deviation == min(e.deviation for e in effects)
        assert pooled.unsteady.deviation == max(e.deviation for e in effects)

    def test_an_arm_whose_seeds_leave_the_plateau_at_different_times_is_of_the_later_kind(self, tmp_path):
        slow = Invented(
            model="lstm",
            optimizer="adam",
            trials={0.001: 6.0, 0.003: 5.6, 0.01: 6.0},
            confirmed={43: 5.2, 44: 5.3, 45: 5.9, 46: 5.8, 47: PLATEAU + 0.01},
        )
        steady = replace(slow, confirmed=around(5.2))
        found = find(
            study({"slow": slow, "uneven": replace(slow, confirmed=slow.confirmed | {47: 5.2}), "steady": steady})
        )
        assert [arm.kinds for arm in found.study.arms] == [
            (Kind.EARLY, Kind.LATE), (Kind.EARLY, Kind.LATE), (Kind.EARLY,),
        ]  # fmt: skip
        assert [(each.kind, each.arms, each.freedom) for each in found.pooled] == [
            (Kind.EARLY, 1, 4),
            (Kind.LATE, 1, 4),
        ]
        write_report(found, (), ROOT / "reports" / "templates", tmp_path)
        page = (tmp_path / "report.md").read_text()
        assert "for runs that learn late, of `uneven` alone (4 degrees of freedom)" in page
        assert "Of `uneven` some seeds learn later than others; it counts with the later kind." in page
        assert page.count("| differs by seed |") == 2
        kinds = {row.split(",")[3]: row.split(",")[2] for row in with_spread("", found.study).splitlines()}
        assert kinds == {"controlled uneven": "late", "controlled steady": "early"}

    @pytest.mark.parametrize(("luck", "unlike"), [(0.0, False), (-0.02, False), (-0.04, True), (0.04, True)])
    def test_a_tuning_seed_that_was_lucky(self, luck, unlike, tmp_path):
        """Five seeds with a deviation of 0.01: one more lies within 0.0304 of their mean in 19 of 20 cases."""
        fresh = dict(zip(SEEDS, 4.35 + 0.01 * np.sqrt(0.4) * np.array([-2, -1, 0, 1, 2]), strict=True))
        trials = {0.001: 4.6, 0.003: 4.3 + luck, 0.01: 4.6}  # test loss is 0.05 above
        found = find(study({"a": Invented(model="gpt", optimizer="adam", trials=trials, confirmed=fresh)}))
        (effect,) = found.seed_effects
        assert effect.deviation == pytest.approx(0.01)
        assert effect.tuning == pytest.approx(luck, abs=1e-9)
        assert effect.unlike is unlike
        write_report(found, (), ROOT / "reports" / "templates", tmp_path)
        page = (tmp_path / "report.md").read_text()
        assert ("in 1 of 1 arm, where chance alone makes one in twenty: `a` (" in page) == unlike
        assert ("by a lucky run" in page) == (unlike and luck < 0)
        assert ("ends inside the 95 % prediction interval of the fresh ones" in page) == (not unlike)

    def test_where_a_seed_fails_the_tuning_seed_is_not_compared(self, found):
        failed = [effect for effect in found.seed_effects if effect.failed]
        assert failed
        assert all(effect.tuning is None and not effect.unlike for effect in failed)

    def test_claims_of_the_default_study(self, found):
        default = summarize(*make_results())
        claims = compare(found, default, judge_of(default, load_spread(ROOT / "reports/reference/spread.csv")))
        fates = {(c.contrast.first.name, c.contrast.second.name): c.fate for c in claims}
        assert fates["gpt_4", "gpt_adamw"] is Fate.OVERTURNED
        assert fates["lstm_adam", "lstm_sgd"] is Fate.CONFIRMED
        other = summarize(*make_results(text="00" * 32))
        assert compare(found, other, judge_of(other, load_spread(ROOT / "reports/reference/spread.csv"))) == ()


class TestReport:
    def test_every_part_is_told(self, found, tmp_path):
        write_report(found, (), ROOT / "reports" / "templates", tmp_path)
        page = (tmp_path / "report.md").read_text()
        for word in ("None", "nan", "Outcome.", "{{", "–%"):
            assert word not in page
        assert {path.stem for path in (tmp_path / "figures").glob("*.svg")} == {
            "rates", "confirmed", "search", "depth", "remedies",
        }  # fmt: skip
        assert "the advantage of adapting the rate of each weight survives tuning" in page
        assert (tmp_path / "report.tex").read_text().count("includegraphics") == 5
        assert (tmp_path / "report.html").read_text().count('<figure class="chart"') == 5
        answered = json.loads((tmp_path / "answers.json").read_text())
        assert answered["answered"] == ["untuned", "sizes", "one_seed"]
        assert (answered["scale"], answered["vocabulary"], answered["seeds"]) == ("laptop", 4096, 5)
        read = load_answers(tmp_path / "answers.json")
        assert read is not None
        assert read.budget == budget_of(found.study["gpt_2"].confirmed)

    @pytest.mark.parametrize(
        ("share", "equal"), [(0.981, True), (1.019, True), (0.97, False), (1.03, False), (None, False)]
    )
    def test_size_is_answered_where_it_is_equal_at_every_depth(self, share, equal, tmp_path):
        arms, default = whole(), summarize(*make_results())
        body = study(arms)["gpt_4"].body
        assert body is not None
        parameters = None if share is None else 4096 * 128 + round(share * body)
        columns = {**arms["wide_lstm_4"].columns, "parameters": parameters}
        found = find(study(arms | {"wide_lstm_4": replace(arms["wide_lstm_4"], columns=columns)}))
        claims = compare(found, default, judge_of(default, load_spread(ROOT / "reports/reference/spread.csv")))
        write_report(found, claims, ROOT / "reports" / "templates", tmp_path)
        page = (tmp_path / "report.md").read_text()
        assert ("sizes" in json.loads((tmp_path / "answers.json").read_text())["answered"]) is equal
        assert ("at equal parameters of the body?" in page) is equal
        assert (
            "LSTM with 4 layers under AdamW against GPT-1 with 4 layers under AdamW: the default study has it" in page
        )
        assert ("and the bodies of equal size," in page) is equal

    def test_no_question_of_size_is_answered_without_architectures(self, tmp_path):
        first, second = two()
        write_report(find(study({"a": first, "b": second})), (), ROOT / "reports" / "templates", tmp_path)
        assert "sizes" not in json.loads((tmp_path / "answers.json").read_text())["answered"]

    @pytest.mark.parametrize(
        ("chosen", "deviation", "words"),
        [
            (0.003, 0.05, "; at 0.003 against 0.001; with both at 0.001, trials reach 78.3 against 73.7 on validation"),
            (0.001, 0.05, None),
            (0.003, 0.0, "the other way round with both at 0.001, where trials reach 78.3 against 73.7 on validation"),
        ],
    )
    def test_where_rates_differ_both_are_told_at_one(self, chosen, deviation, words, tmp_path):
        """What a treatment comes to at the rate that its trials did not choose, whether it is told apart or not."""
        trials = {0.0003: 5.0, 0.001: 4.3, 0.003: 4.6}
        untreated = Invented(model="gpt", optimizer="adamw", trials=trials, confirmed=around(4.35, 0.001))
        own = {0.0003: 5.0, 0.001: 4.36, 0.003: 4.25 if chosen == 0.003 else 4.6}
        noise = dict(zip(SEEDS, deviation * np.array([-2.0, 1.5, -1.0, 1.5, 0.0]), strict=True))
        confirmed = {seed: 4.3 + noise[seed] for seed in SEEDS}
        treated = replace(
            untreated, trials=own, confirmed=confirmed, of="a", part="remedies", columns={"warmup": 0.1}
        )  # fmt: skip
        found = find(study({"a": untreated, "b": treated}))
        write_report(found, (), ROOT / "reports" / "templates", tmp_path)
        page = (tmp_path / "report.md").read_text()
        assert ("with both at" in page) == (words is not None)
        assert words is None or words in page

    def test_a_remedy_at_the_highest_rate_that_was_tried_is_told(self, tmp_path):
        arms = whole()
        higher = {0.001: 4.2, 0.003: 4.1}
        arms["gpt_4_clip"] = replace(arms["gpt_4_clip"], trials=higher, confirmed=around(4.4))
        arms["gpt_4_dropout"] = replace(arms["gpt_4_dropout"], trials=higher, confirmed=around(4.0))  # helps as it is
        found = find(study(arms))
        write_report(found, (), ROOT / "reports" / "templates", tmp_path)
        page = (tmp_path / "report.md").read_text()
        assert page.count("; of 0.001 and 0.003, which were tried for it, the highest was the best") == 1
        assert "each, so that a better one may lie beyond: the lowest is chosen for" in page
        assert "the highest for `gpt_4_clip` and `gpt_4_dropout`." in page
        for arm in (treated.contrast.first for treated in found.treatments):
            assert (arm.edge is Edge.HIGH) == all(trial.rate <= arm.rate for trial in arm.trials)

    def test_what_becomes_of_each_claim_is_told(self, found, tmp_path):
        default = summarize(*make_results())
        claims = compare(found, default, judge_of(default, load_spread(ROOT / "reports/reference/spread.csv")))
        write_report(found, claims, ROOT / "reports" / "templates", tmp_path)
        page = (tmp_path / "report.md").read_text()
        fates = Counter(claim.fate for claim in claims)
        assert f"settled here: {fates[Fate.SETTLED]}; open in both: {fates[Fate.OPEN]}." in page
        assert sum(fates.values()) == len(claims)
        fallen = fates[Fate.OVERTURNED] + fates[Fate.NOT_SUPPORTED]
        assert fallen > 0
        assert page.count("the default study has it ") == fallen
        (sgd,) = [c for c in claims if (c.contrast.first.name, c.contrast.second.name) == ("lstm_adam", "lstm_sgd")]
        assert 0 < sgd.shrunk == 1 - sgd.difference / sgd.default_difference
        assert f"for the LSTM, Adam against SGD, {percent(sgd.shrunk)}" in page

    def test_other_number_formats_are_told(self, found, tmp_path):
        runs, epochs = make_results()
        for table, mixed in ((runs, None), (runs.assign(precision="tf32"), (("tf32",), ("bf16", "fp32")))):
            default = summarize(table, epochs)
            claims = compare(found, default, judge_of(default, load_spread(ROOT / "reports/reference/spread.csv")))
            assert mixed_precisions(claims) == mixed
            write_report(found, claims, ROOT / "reports" / "templates", tmp_path)
            page = (tmp_path / "report.md").read_text()
            assert ("runs multiply in tf32, these in bf16 and fp32" in page) is (mixed is not None)
            assert "with products in bf16 and fp32." in page

    def test_a_claim_that_falls_at_the_same_rates_is_not_laid_to_them(self, found, tmp_path):
        default = summarize(*make_results())
        claims = compare(found, default, judge_of(default, load_spread(ROOT / "reports/reference/spread.csv")))
        claim = next(claim for claim in claims if claim.fate is Fate.OVERTURNED)
        pairs = ((claim.default_first, claim.contrast.first), (claim.default_second, claim.contrast.second))
        first, second = (replace(each, settings=replace(each.settings, lr=arm.rate)) for each, arm in pairs)
        same = replace(claim, default_first=first, default_second=second)
        assert (claim.same_rates, same.same_rates) == (False, True)
        for each, words, other in (
            (claim, "; each at its own rate", "; at the same rates, over other seeds"),
            (same, "; at the same rates, over other seeds", "; each at its own rate"),
        ):
            write_report(found, [each], ROOT / "reports" / "templates", tmp_path)
            page = (tmp_path / "report.md").read_text()
            assert words in page
            assert other not in page

    def test_the_spread_becomes_the_default_studys(self, found, tmp_path):
        own = (ROOT / "reports" / "reference" / "spread.csv").read_text()
        assert "laptop,2048,early,controlled gpt_2,48," in own
        table = with_spread(own, found.study)
        before = len(own.splitlines())
        assert table.splitlines()[:before] == own.splitlines(), "those of another vocabulary stay"
        assert len(table.splitlines()) == before + 5 * 12
        assert with_spread(table, found.study) == table, "putting them there twice is no more"
        fewer = with_spread(table, replace(found.study, arms=found.study.arms[:2]))
        assert len(fewer.splitlines()) == before + 5 * 2, "those of the study before are gone"
        smaller = replace(found.study, text=replace(found.study.text, scale="smoke"))
        both = with_spread(table, smaller)
        assert both.splitlines()[: before + 5 * 12] == table.splitlines(), "those of another scale stay"
        assert with_spread(with_spread(both, found.study), smaller) == both
        path = tmp_path / "spread.csv"
        path.write_text(both)
        deviation = load_spread(path).of("laptop", 4096, Kind.EARLY)
        assert deviation is not None
        assert not deviation.borrowed
        assert deviation.freedom == 4 * 12  # untreated arms of which no seed failed
        assert "laptop,4096,early,controlled wide_lstm_4" not in both

    @pytest.mark.parametrize(
        ("confirmed", "words"),
        [
            (around(4.45), "is worse: the leader’s perplexity is"),
            (around(4.2), "is better on test"),
            (dict.fromkeys(SEEDS, 4.35), "cannot be told apart from it (95 %"),
            (dict.fromkeys(SEEDS), "fails on more seeds (leader 0 of 5 seeds against 5 of 5 seeds"),
            (around(4.35) | {43: None}, "cannot be judged, for seeds fail (leader 0 of 5 seeds against 1 of 5 seeds"),
            (around(4.35) | {43: None}, "; the seeds that do not fail reach 77."),
            ({43: 4.3}, "has too few seeds in common"),
        ],
    )
    def test_each_outcome_has_its_words(self, confirmed, words, tmp_path):
        first, second = two(trials=curve(0.003, 4.5, ADAPTIVE["gpt"]), confirmed=confirmed)
        write_report(find(study({"a": first, "b": second})), (), ROOT / "reports" / "templates", tmp_path)
        assert words in (tmp_path / "report.md").read_text()

    def test_what_the_correction_takes_away_is_told(self, found, tmp_path):
        words = "without the correction they would be told apart"
        write_report(found, (), ROOT / "reports" / "templates", tmp_path)
        told = [contrast for _, contrast in found.contrasts if contrast.corrected_away]
        assert (tmp_path / "report.md").read_text().count(words) == len(told)
        treated = next(each for each in found.treatments if each.contrast.paired is not None)
        contrast = replace(treated.contrast, paired=replace(treated.contrast.paired, p=0.03), p=0.12)
        taken = replace(treated, contrast=replace(contrast, outcome=Outcome.UNDECIDED, second_best=Survival.UNKNOWN))
        write_report(replace(found, treatments=(taken,)), (), ROOT / "reports" / "templates", tmp_path)
        assert (
            f"p 0.120 after correction for {taken.contrast.family} comparisons; {words})"
            in (tmp_path / "report.md").read_text()
        )

    def test_what_time_is_stands_below_a_table_that_has_it(self, found, tmp_path):
        for treatments in (found.treatments, tuple(replace(each, slower=None) for each in found.treatments)):
            write_report(replace(found, treatments=treatments), (), ROOT / "reports" / "templates", tmp_path)
            page = (tmp_path / "report.md").read_text()
            timed = any(each.slower is not None for each in treatments)
            assert timed is (treatments is found.treatments)
            assert ("Time (%)" in page) is ("Time is training time." in page) is timed

    def test_a_small_p_is_told_as_a_bound(self, found, tmp_path):
        write_report(found, (), ROOT / "reports" / "templates", tmp_path)
        assert any(contrast.p is not None and contrast.p < 0.0005 for _, contrast in found.contrasts)
        assert "&lt;0.001" in {row["p"] for row in read((tmp_path / "report.md").read_text()).table("Every comparison")}
        assert r"{\textless{}0.001}" in (tmp_path / "report.tex").read_text()


def test_the_committed_report_is_what_its_results_come_to(tmp_path):
    """And its results are those of the protocol: every arm, every seed."""
    committed = ROOT / "reports" / "controlled"
    study, protocol = load(committed), load_protocol(ROOT / "controlled" / "protocol.yaml")
    assert {arm.name for arm in study.arms} == set(protocol.arms)
    assert study.seeds == tuple(protocol.seeds)
    assert all(len(arm.confirmed.runs) == len(protocol.seeds) for arm in study.arms)
    default = load_results(ROOT)
    findings = find(study)
    claims = compare(findings, default.summaries, judge_of(default.summaries, default.reference.spread))
    write_report(findings, claims, ROOT / "reports" / "templates", tmp_path)
    for name in ("report.md", "report.tex", "answers.json"):
        assert (tmp_path / name).read_text() == (committed / name).read_text(), name


PROTOCOL = """
tuning_seed: 7
seeds: [43, 44]
beyond: 1
threads: 1
arms:
  a: {part: rates, model: lstm, layers: 1, optimizer: adam, rates: [0.001, 0.01]}
  b: {part: remedies, of: a, times: [1, 3], dropout: 0.1}
"""


class TestProtocol:
    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("tuning_seed: 7", "tuning_seed: 43", "seeds: 43 is the tuning seed"),
            ("[43, 44]", "[43, 43]", "holds a seed twice"),
            ("[43, 44]", "[43]", "seeds"),
            ("beyond: 1", "beyond: -1", "beyond: -1"),
            ("beyond: 1", "beyond: 1\nsteps: 2", "steps: unknown key"),
            ("part: rates", "part: rate", "arms.a.part"),
            ("model: lstm", "model: lstn", "did you mean 'lstm'?"),
            ("optimizer: adam,", "", "arms.a.optimizer: missing"),
            ("[0.001, 0.01]", "[0.01, 0.001]", "arms.a.rates: [0.01, 0.001]: should be ascending"),
            ("[0.001, 0.01]", "[0.01]", "arms.a.rates"),
            ("[0.001, 0.01]", "[0.001, -0.01]", "arms.a.rates"),
            ("rates: [0.001, 0.01]", "lr: 0.1", "name either rates or times"),
            ("rates: [0.001, 0.01]", "times: [1, 3]", "arms.a.times: multiples of another arm's rate"),
            ("rates: [0.001, 0.01]", "rates: [0.001, 0.01], lr: 0.1", "arms.a.lr: an arm has none"),
            ("of: a", "of: c", "arms.b.of: no arm 'c'"),
            ("dropout: 0.1}", "dropout: 0.1}\n  c: {part: remedies, of: b, times: [1, 2]}", "arms.c.of: 'b' is itself"),
            ("of: a", "of: [a]", "arms.b.of: no arm '['a']'; allowed: a, b"),
            ("of: a", "of: {a: 1}", "arms.b.of: no arm"),
            ("optimizer: adam", "optimizer: null", "arms.a.optimizer: missing"),
            ("[0.001, 0.01]", "[0.12345678, 0.12345679]", "arms.a.rates: [0.12345678, 0.12345679]: should differ in"),
            ("times: [1, 3]", "times: [1, 1.0000001]", "arms.b.times: [1.0, 1.0000001]: should differ in"),
            (
                "[0.001, 0.01]",
                "[1.0, 2.0]}\n  a_2: {of: a, part: depth, rates: [0.1, 0.2]",
                "arms.a_2: a trial of arm a ",
            ),
            ("  b:", "  a_beyond1:", "arms.a_beyond1: a trial of arm a is called so; rename one of them"),
            (
                "dropout: 0.1}",
                "dropout: 0.1}\n  b_x3: {part: remedies, of: a, times: [1]}",
                "arms.b_x3: a trial of arm b ",
            ),
            ("dropout: 0.1", "dropuot: 0.1", "did you mean 'dropout'?"),
            ("  b:", "  B-1:", "name 'B-1' is not allowed"),
        ],
    )
    def test_mistakes_are_one_line(self, tmp_path, old, new, message):
        path = tmp_path / "protocol.yaml"
        path.write_text(PROTOCOL.replace(old, new))
        with pytest.raises(StudyError) as caught:
            load_protocol(path)
        assert message in str(caught.value)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)

    def test_a_line_that_contradicts_itself_names_the_arm(self, tmp_path):
        path = tmp_path / "protocol.yaml"
        path.write_text(PROTOCOL.replace("dropout: 0.1", "norm: pre"))
        with pytest.raises(StudyError, match=r"arms\.b\.norm: lstm has none"):
            load_protocol(path).resolve(load_study(ROOT / "params.yaml"), "b", 0.01)

    def test_a_rate_that_none_may_have_names_the_arm(self, tmp_path):
        """The trial's name, ``b_x10``, begins with another's, ``b_x1``."""
        path = tmp_path / "protocol.yaml"
        path.write_text(PROTOCOL.replace("[1, 3]", "[1, 10]"))
        with pytest.raises(StudyError, match=r"arms\.b\.lr: 2000"):
            load_protocol(path).resolve(load_study(ROOT / "params.yaml"), "b", 200.0)

    def test_names_that_no_trial_has_are_allowed(self, tmp_path):
        """Multiples of another arm's rate have no edges, and one trial beyond an edge is not two."""
        path = tmp_path / "protocol.yaml"
        path.write_text(
            PROTOCOL
            + "  b_beyond1: {part: remedies, of: a, times: [1]}\n  a_beyond2: {part: remedies, of: a, times: [1]}\n"
        )
        assert set(load_protocol(path).arms) == {"a", "b", "b_beyond1", "a_beyond2"}

    def test_multiples_of_the_rate_that_was_chosen(self, tmp_path):
        path = tmp_path / "protocol.yaml"
        path.write_text(PROTOCOL)
        found = load_protocol(path).resolve(load_study(ROOT / "params.yaml"), "b", 0.03)
        assert {point: config.optimizer.lr for point, config in found.items()} == {"x1": 0.03, "x3": 0.09}
        assert {config.experiment for config in found.values()} == {"b_x1", "b_x3"}
        assert all(config.model.dropout == 0.1 and config.compute.threads == 1 for config in found.values())

    def test_the_committed_plan_is_that_of_the_committed_protocol(self):
        protocol = load_protocol(ROOT / "controlled" / "protocol.yaml")
        check_plan(protocol, ROOT / "controlled" / "plan.yaml")
        for name in protocol.arms:
            protocol.resolve(load_study(ROOT / "params.yaml"), name, 0.001)

    def test_more_text_takes_as_many_steps(self):
        """So many times the text in as many times fewer epochs, at the scale that the study is for."""
        params = load_study(ROOT / "params.yaml").model_copy(update={"scale": "laptop"})
        protocol, scale = load_protocol(ROOT / "controlled" / "protocol.yaml"), params.scales["laptop"]
        more = {name: arm for name, arm in protocol.arms.items() if arm.text > 1}
        assert more
        for name, arm in more.items():
            configs = protocol.resolve(params, name, 0.001).values()
            assert {arm.text * config.training.epochs for config in configs} == {scale.epochs}
            assert arm.text * scale.tokenizer.train_share <= 1

    def test_a_stale_plan_is_refused(self, tmp_path):
        (tmp_path / "protocol.yaml").write_text(PROTOCOL)
        protocol = load_protocol(tmp_path / "protocol.yaml")
        (tmp_path / "plan.yaml").write_text(as_yaml(protocol).replace("a_0.01", "a_0.02"))
        with pytest.raises(StudyError, match=r"run `python -m stages\.controlled_plan`"):
            check_plan(protocol, tmp_path / "plan.yaml")

    def test_another_versions_pipeline_is_refused(self, tmp_path):
        (tmp_path / "pipeline.yaml").write_text("stages: {}\n")
        for content in (None, "stages: {grid: {}}\n"):
            if content:
                (tmp_path / "dvc.yaml").write_text(content)
            with pytest.raises(StudyError, match=r"run `python -m stages\.controlled_plan`"):
                check_pipeline(tmp_path / "dvc.yaml", tmp_path / "pipeline.yaml")
        (tmp_path / "dvc.yaml").write_text("stages: {}\n")
        check_pipeline(tmp_path / "dvc.yaml", tmp_path / "pipeline.yaml")

    def test_stages(self, tmp_path):
        (tmp_path / "protocol.yaml").write_text(PROTOCOL)
        stages = plan(load_protocol(tmp_path / "protocol.yaml"))
        assert set(stages["trials"]) == {"a_0.001", "a_0.01", "b_x1", "b_x3"}
        assert set(stages["beyond"]) == {"a_beyond1"}
        assert set(stages["grids"]) == {"a"}
        assert stages["after"] == {"b": {"tuned": "controlled/configs/tuned/a.json"}}
        assert set(stages["confirmations"]) == {"a-43", "a-44", "b-43", "b-44"}

    def test_the_wide_lstm_has_the_gpts_body(self):
        """Within 1 % at the laptop scale, at each depth."""
        from lm.models.build import build_model, count_parameters

        protocol, params = load_protocol(ROOT / "controlled" / "protocol.yaml"), load_study(ROOT / "params.yaml")
        params = params.model_copy(update={"scale": "laptop"})
        vocabulary = params.scales["laptop"].tokenizer.vocabulary
        bodies = {}
        for name in ("wide_lstm_1", "wide_lstm_2", "wide_lstm_4", "gpt_adamw", "gpt_2", "gpt_4"):
            config = next(iter(protocol.resolve(params, name).values()))
            counts = count_parameters(build_model(config.model, vocabulary))
            bodies[name] = counts["parameters"] - counts["embedding_parameters"]
        for lstm, gpt in (("wide_lstm_1", "gpt_adamw"), ("wide_lstm_2", "gpt_2"), ("wide_lstm_4", "gpt_4")):
            assert bodies[lstm] == pytest.approx(bodies[gpt], rel=0.01)


class TestMoreText:
    @pytest.fixture
    def laptop(self):
        return load_study(ROOT / "params.yaml").model_copy(update={"scale": "laptop"})

    @pytest.mark.parametrize("content", [None, "", "{", "[]", '{"kind": "ids"}'])
    def test_of_a_damaged_corpus(self, laptop, tmp_path, content):
        if content is not None:
            (tmp_path / "card.json").write_text(content)
        with pytest.raises(StudyError, match=r"card\.json: .*; run `dvc repro -f corpus`"):
            more_text(laptop, 2, tmp_path, tmp_path, tmp_path / "out")

    def test_of_token_ids(self, laptop, tmp_path):
        documents = [Document("a", "words")]
        write_corpus(Corpus("toy", "1", "none", dict.fromkeys(("train", "validation", "test"), documents)), tmp_path)
        card = json.loads((tmp_path / "card.json").read_text())
        (tmp_path / "card.json").write_text(json.dumps(card | {"kind": "ids"}))
        with pytest.raises(StudyError, match="text 2: needs documents"):
            more_text(laptop, 2, tmp_path, tmp_path, tmp_path / "out")


def test_no_output_of_it_lies_where_the_default_study_looks():
    pipeline = yaml.safe_load((ROOT / "controlled" / "pipeline.yaml").read_text())["stages"]
    outs = [out for stage in pipeline.values() for out in stage.get("do", stage)["outs"]]
    paths = [next(iter(out)) if isinstance(out, dict) else out for out in outs]
    assert all(path.startswith(("controlled/", "reports/controlled/", "${item.run}")) for path in paths)


def test_results_of_an_arm_that_was_never_confirmed_are_refused():
    arms = whole()
    incomplete = {"a": replace(arms["gpt_adam"], confirmed={}), "b": arms["lstm_adam"]}
    with pytest.raises(StudyError, match="arm a lacks trials or confirmations"):
        study(incomplete)


def test_study_is_indexed_by_arm(found):
    assert isinstance(found.study, Controlled)
    with pytest.raises(KeyError):
        found.study["nobody"]
