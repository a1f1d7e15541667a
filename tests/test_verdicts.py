"""The engine of verdicts: each rule on both sides of its threshold, and each wrong conclusion that it must not draw."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lm.findings.architectures import architectures
from lm.findings.cost import Choice, wall_clock
from lm.findings.depth import Deeper, depth
from lm.findings.judge import TRIFLE, Judge, judge_versions
from lm.findings.optimizers import Effect, Question, optimizers
from lm.findings.quality import Standing, quality
from lm.findings.stopping import stopping
from lm.findings.times import LEAST_NOISE, judge_times, measure_noise
from lm.findings.verdicts import Ground, Learned, Order, Reason
from lm.results.spread import WIDENED, Deviation, Spread, load_spread
from lm.results.states import Kind, State
from lm.results.statistics import t_quantile
from lm.results.summarize import summarize
from lm.results.summary import Summaries
from tests.synthetic import make_curves

ROOT = Path(__file__).parent.parent
MEASURED = load_spread(ROOT / "reports" / "reference" / "spread.csv")
DEVIATION = 0.01
SPREAD = Spread(
    measured={
        ("laptop", 4096, Kind.EARLY): Deviation(nats=DEVIATION, freedom=20),
        ("laptop", 4096, Kind.LATE): Deviation(nats=10 * DEVIATION, freedom=20),
        ("laptop", 4096, Kind.STUCK): Deviation(nats=DEVIATION, freedom=20),
    }
)
BOUND = t_quantile(40) * math.sqrt(2) * DEVIATION
UNIGRAM, UNIFORM = math.log(690.0), math.log(4096)
LEARNING = [5.5, 5.2, 5.0, 4.9, 4.85]


def down_to(loss: float) -> list[float]:
    """A run that learned from the start and ends at a loss."""
    return [loss + 0.6, loss + 0.3, loss + 0.1, loss + 0.05, loss]


def late_to(loss: float) -> list[float]:
    """A run that left the plateau in its fourth epoch."""
    return [UNIGRAM, UNIGRAM, UNIGRAM - 0.01, loss + 0.1, loss]


def study(experiments: dict[str, dict]) -> Summaries:
    return summarize(*make_curves(experiments))


def judged(experiments: dict[str, dict], spread: Spread = SPREAD, families=()) -> Judge:
    return Judge(study(experiments), spread, families)


def verdict(first: dict, second: dict, spread: Spread = SPREAD):
    judge = judged({"1": first, "2": second}, spread)
    return judge.loss(judge.summaries["1"], judge.summaries["2"])


class TestSingleRuns:
    @pytest.mark.parametrize(
        ("gap", "order"), [(0.98, Order.ALIKE), (1.02, Order.HIGHER), (-1.02, Order.LOWER), (0.0, Order.ALIKE)]
    )
    def test_a_difference_must_exceed_what_repetitions_differ_by(self, gap, order):
        found = verdict({"curves": down_to(4.8 + gap * BOUND)}, {"curves": down_to(4.8)})
        assert (found.order, found.ground) == (order, Ground.SPREAD)
        assert found.bound == pytest.approx(BOUND)

    def test_late_leavers_of_the_plateau_lie_far_wider_apart(self):
        """Seeds 42 and 44 of one configuration: perplexity 548.6 and 441.5. No bound of 2 % holds for such runs."""
        pair = {"curves": late_to(math.log(548.6))}, {"curves": late_to(math.log(441.5))}
        assert verdict(*pair, MEASURED).order is Order.ALIKE
        gap = math.log(548.6 / 441.5)
        assert verdict({"curves": down_to(5.0 + gap)}, {"curves": down_to(5.0)}).order is Order.HIGHER

    def test_a_scale_without_a_measured_spread_claims_less(self):
        pair = {"curves": down_to(4.8 + 1.5 * BOUND)}, {"curves": down_to(4.8)}
        assert verdict(*pair).order is Order.HIGHER
        elsewhere = [each | {"scale": "own"} for each in pair]
        found = verdict(*elsewhere)
        assert (found.order, found.ground) == (Order.ALIKE, Ground.BORROWED)
        assert found.bound == pytest.approx(WIDENED * BOUND)

    def test_another_vocabulary_is_another_scale(self):
        pair = [{"curves": down_to(loss), "vocabulary": 1024} for loss in (4.9, 4.8)]
        assert verdict(*pair).ground is Ground.BORROWED

    def test_where_nothing_is_known_nothing_is_claimed(self):
        found = verdict({"curves": down_to(5.0)}, {"curves": down_to(4.0)}, Spread(measured={}))
        assert (found.order, found.reason) == (Order.NOT_COMPARABLE, Reason.NO_SPREAD)


class TestSeveralSeeds:
    def test_the_paired_interval_decides(self):
        base = {1: 5.0, 2: 5.2, 3: 5.4}
        better = {"curves": {seed: down_to(loss - 0.02 - 0.001 * seed) for seed, loss in base.items()}}
        noisy = {"curves": {seed: down_to(loss + (0.1, -0.1, 0.05)[seed - 1]) for seed, loss in base.items()}}
        plain = {"curves": {seed: down_to(loss) for seed, loss in base.items()}}
        found = verdict(better, plain)
        assert (found.order, found.ground, found.seeds) == (Order.LOWER, Ground.INTERVAL, 3)
        assert verdict(noisy, plain).order is Order.ALIKE

    def test_sure_but_too_small_to_matter(self):
        """Weight decay does not hurt from 156.00 to 156.01, however sure the interval is."""
        first = {"curves": {seed: down_to(5.0 + 0.5 * TRIFLE + 1e-6 * seed) for seed in (1, 2, 3)}}
        second = {"curves": {seed: down_to(5.0) for seed in (1, 2, 3)}}
        found = verdict(first, second)
        assert found.low > 0
        assert (found.order, found.ground) == (Order.ALIKE, Ground.TRIFLE)

    def test_figures_are_those_of_the_seeds_that_were_compared(self):
        judge = judged(
            {
                "1": {"curves": {1: down_to(5.0), 2: down_to(5.1), 3: down_to(4.0)}},
                "2": {"curves": {1: down_to(5.3), 2: down_to(5.5)}},
            }
        )
        found = judge.compare(judge.summaries["1"], judge.summaries["2"])
        assert found.verdict.seeds == 2
        assert found.first_loss == pytest.approx(5.05)
        assert found.verdict.difference == pytest.approx(found.first_loss - found.second_loss)

    def test_seeds_in_common_do_not_overturn_the_means_that_tables_show(self):
        """Else the experiment of lowest mean would be called best, and another one lower than it."""
        first = {"curves": {1: down_to(5.0), 2: down_to(5.1), 3: down_to(4.0)}}
        second = {"curves": {1: down_to(4.8), 2: down_to(4.9001)}}
        found = verdict(first, second)
        assert found.low > 0
        assert (found.order, found.ground) == (Order.ALIKE, Ground.SEEDS)

    def test_no_common_seed_is_no_divergence(self):
        found = verdict({"curves": {1: down_to(5.0)}}, {"curves": {2: down_to(5.0)}})
        assert (found.order, found.reason) == (Order.NOT_COMPARABLE, Reason.NO_COMMON_SEED)

    def test_a_seed_that_diverged_is_counted(self):
        some = {1: down_to(5.0), 2: down_to(5.0), 3: [5.0, 78378.0]}
        found = verdict({"curves": some}, {"curves": {seed: down_to(5.5) for seed in some}})
        assert (found.seeds, found.dropped) == (2, 1)

    def test_many_comparisons_at_once_are_corrected(self):
        """Twelve arms that differ by chance alone: the one that seems better is not called so."""
        plain = {"curves": {seed: down_to(5.0 + 0.1 * seed) for seed in (1, 2, 3, 4)}}
        lucky = {"curves": {seed: down_to(5.0 + 0.1 * seed - 0.03 + 0.012 * (-1) ** seed) for seed in (1, 2, 3, 4)}}
        noise = {"curves": {seed: down_to(5.0 + 0.1 * seed + 0.05 * (-1) ** seed) for seed in (1, 2, 3, 4)}}
        arms = {"0": plain, "1": lucky, **{str(arm): noise for arm in range(2, 12)}}
        alone = judged(arms, families=[[("1", "0")]])
        assert alone.loss(alone.summaries["1"], alone.summaries["0"]).order is Order.LOWER
        asked = judged(arms, families=[[(arm, "0") for arm in arms if arm != "0"]])
        found = asked.loss(asked.summaries["1"], asked.summaries["0"])
        assert (found.order, found.ground, found.family) == (Order.ALIKE, Ground.FAMILY, 11)

    def test_one_aggregate_everywhere(self):
        """Mean of losses, never of perplexities: those can have another winner."""
        summaries = study(
            {
                "1": {"curves": {1: down_to(4.0), 2: down_to(6.0)}},
                "2": {"curves": {1: down_to(5.1), 2: down_to(5.1)}},
            }
        )
        assert math.exp(4.0) + math.exp(6.0) > 2 * math.exp(5.1)
        assert quality(Judge(summaries, SPREAD)).best.id == "1"

    def test_the_sentence_is_about_a_seed_in_the_verdicts_state(self):
        summary = study({"1": {"curves": {1: [UNIGRAM] * 5, 2: LEARNING, 3: LEARNING}}})["1"]
        assert summary.state is State.UNDERTRAINED
        assert summary.representative.seed != 1
        assert summary.states == ((State.UNDERTRAINED, (2, 3)), (State.PLATEAU, (1,)))

    def test_the_last_epoch_is_judged_by_run(self):
        """One of two seeds ends 4 % higher: the mean of 2 % must not hide it."""
        found = quality(judged({"1": {"curves": {1: [5.0, 4.8, 4.84], 2: [5.0, 4.9, 4.8]}}}))
        assert [(entry.seed, round(entry.cost, 3)) for entry in found.costly] == [(1, 0.041)]


class TestDivergence:
    @pytest.mark.parametrize("loss", [78378.0, 1e300, math.inf])
    def test_an_exploded_run_counts_as_diverged(self, loss):
        experiments = {"1": {"curves": [5.0, 4.9, loss]}, "2": {"curves": LEARNING}}
        judge = judged(experiments)
        assert judge.summaries["1"].state is State.DIVERGED
        assert judge.summaries["1"].validation_loss.mean is None
        found = judge.loss(judge.summaries["1"], judge.summaries["2"])
        assert found.reason is Reason.FIRST_DIVERGED
        assert quality(judge).best.id == "2"

    def test_both(self):
        pair = {"curves": [5.0, math.inf]}, {"curves": [5.0, math.inf]}
        assert verdict(*pair).reason is Reason.BOTH_DIVERGED


class TestOtherText:
    def test_another_corpus_vocabulary_or_split_does_not_compare(self):
        for other in ({"corpus": "b"}, {"vocabulary": 2048}, {"validation_tokens": 9}, {"text": "ab" * 32}):
            found = verdict({"curves": LEARNING}, {"curves": LEARNING, **other})
            assert found.reason is Reason.OTHER_TEXT

    def versions(self, first: dict, second: dict):
        one, other = (study({"1": each})["1"] for each in (first, second))
        return judge_versions([(one, other)], SPREAD)[0]

    def test_two_tokenizers_of_one_text_compare_by_bytes(self):
        """Half the tokens, twice the loss a token: the same model of the text, though its perplexity is squared."""
        coarse = {"curves": down_to(5.0), "vocabulary": 8192, "text": "cd" * 32, "validation_tokens": 55_000}
        found = self.versions({"curves": down_to(2.5)}, coarse)
        assert found.order is Order.ALIKE
        assert found.difference == pytest.approx(0.0)

    def test_tokens_that_lose_text_do_not(self):
        lossy = {"curves": down_to(5.0), "text": "cd" * 32, "validation_bits_per_byte": None}
        assert self.versions({"curves": down_to(2.5)}, lossy).reason is Reason.OTHER_TEXT

    def test_another_corpus_never_does(self):
        assert self.versions({"curves": LEARNING}, {"curves": LEARNING, "corpus": "b"}).reason is Reason.OTHER_TEXT


class TestTimes:
    def times(self, **seconds: float):
        optimizers_of = {"1": "adam", "2": "adamw", "3": "sgd", "5": "adam"}
        models = {"5": "gpt"}
        return judged(
            {
                name.lstrip("e"): {
                    "curves": LEARNING,
                    "seconds": each,
                    "run": (models.get(name.lstrip("e"), "lstm"), 1, optimizers_of[name.lstrip("e")]),
                }
                for name, each in seconds.items()
            }
        )

    def test_pairs_that_do_the_same_work_are_the_noise_floor(self):
        """Adam 18.5 s and AdamW 25.0 s for the same work: a run 30 % slower than another cannot be told from it."""
        judge = self.times(e1=1.85, e2=2.50, e5=2.40)
        assert judge.noise.same_work == pytest.approx(2.50 / 1.85 - 1)
        assert judge.noise.pairs == 1
        one, five = (judge.summaries[name] for name in "15")
        assert judge.time(one, five).order is Order.ALIKE
        quiet = self.times(e1=1.85, e2=1.86, e5=2.40)
        assert quiet.time(quiet.summaries["1"], quiet.summaries["5"]).order is Order.LOWER

    def test_a_seed_on_other_hardware_is_no_noise_and_no_time(self):
        curves = {1: LEARNING, 2: LEARNING, 3: LEARNING}
        runs, epochs = make_curves({name: {"curves": curves} for name in ("1", "2")})
        runs.loc[(runs["experiment"] == "1") & (runs["seed"] == 3), ["hardware", "train_seconds"]] = ["Other", 9e4]
        summaries = summarize(runs, epochs)
        noise = measure_noise(summaries.experiments)
        assert noise.bound == LEAST_NOISE
        assert judge_times(*summaries.experiments, noise).seeds == 2

    def test_seeds_of_one_experiment_do_the_same_work(self):
        curves = {1: LEARNING, 2: LEARNING}
        noise = measure_noise(study({"1": {"curves": curves, "seconds": {1: 2.0, 2: 2.6}}}).experiments)
        assert (noise.pairs, noise.same_work) == (1, pytest.approx(0.3))

    def test_never_below_the_least(self):
        assert self.times(e1=2.0).noise.bound == LEAST_NOISE

    def test_a_run_that_others_disturbed_has_no_time_that_counts(self):
        disturbed = {"process_cpu_seconds": 10.0, "other_cpu_seconds": 4.0}
        judge = judged({"1": {"curves": LEARNING, **disturbed}, "3": {"curves": LEARNING, "run": ("lstm", 1, "sgd")}})
        one, three = judge.summaries["1"], judge.summaries["3"]
        assert judge.time(one, three).reason is Reason.DISTURBED
        clock = wall_clock(judge)
        assert ([e.id for e in clock.disturbed], clock.fastest.id) == (["1"], "3")
        assert judge.loss(one, three).order is Order.ALIKE

    def test_runs_started_beside_it_on_purpose_do_not_disturb(self):
        beside = {"process_cpu_seconds": 10.0, "other_cpu_seconds": 10.2, "side_by_side": 2}
        assert not study({"1": {"curves": LEARNING, **beside}})["1"].disturbed

    def test_one_disturbed_seed_is_left_out_of_the_time(self):
        curves = {1: LEARNING, 2: LEARNING}
        runs, epochs = make_curves({"1": {"curves": curves, "seconds": {1: 2.0, 2: 8.0}}})
        runs.loc[runs["seed"] == 2, "other_cpu_seconds"] = runs["process_cpu_seconds"]
        summary = summarize(runs, epochs)["1"]
        assert summary.train_seconds.mean == pytest.approx(10.0)
        assert not summary.disturbed

    def test_other_hardware(self):
        judge = judged({"1": {"curves": LEARNING}, "2": {"curves": LEARNING, "hardware": "Other"}})
        one, two = judge.summaries["1"], judge.summaries["2"]
        assert judge.time(one, two).reason is Reason.OTHER_HARDWARE
        at_once = judged({"1": {"curves": LEARNING}, "2": {"curves": LEARNING, "side_by_side": 2}})
        assert at_once.time(*at_once.summaries.experiments).reason is Reason.OTHER_HARDWARE


class TestPraise:
    def test_a_model_that_learned_nothing_is_not_best_picked_or_on_the_front(self):
        stuck = {"curves": [UNIGRAM + 0.01] * 5, "seconds": 0.1}
        judge = judged({"1": stuck, "2": stuck | {"run": ("lstm", 1, "sgd")}})
        assert quality(judge).standing is Standing.NONE_LEARNED
        assert quality(judge).best is None
        clock = wall_clock(judge)
        assert (clock.best, clock.pick, clock.front, clock.choice) == (None, None, (), Choice.NOTHING)
        one_learned = judged({"1": stuck, "2": {"curves": down_to(UNIGRAM - 0.11), "run": ("gpt", 1, "adam")}})
        assert wall_clock(one_learned).pick.experiment.id == "2"

    def test_the_best_stays_on_the_front_though_alike_is_not_transitive(self):
        """5 is clearly faster than 6, 6 than 12; each is alike in loss to the next; 12 is best."""
        step = 0.8 * BOUND
        judge = judged(
            {
                "5": {"curves": down_to(4.8 + 2 * step), "run": ("gpt", 1, "adamw"), "seconds": 2.0},
                "6": {"curves": down_to(4.8 + step), "run": ("gpt", 2, "adamw"), "seconds": 4.0},
                "12": {"curves": down_to(4.8), "run": ("gpt", 4, "adamw"), "seconds": 8.0},
            }
        )
        clock = wall_clock(judge)
        assert [experiment.id for experiment in clock.front] == ["5", "6", "12"]

    def test_what_is_no_better_and_clearly_slower_is_off_the_front(self):
        judge = judged(
            {
                "5": {"curves": down_to(4.8), "seconds": 2.0},
                "6": {"curves": down_to(4.81), "run": ("gpt", 2, "adamw"), "seconds": 4.0},
            }
        )
        assert [experiment.id for experiment in wall_clock(judge).front] == ["5"]

    def test_a_pick_is_clearly_faster_and_close(self):
        def pick(loss: float, seconds: float):
            judge = judged(
                {
                    "1": {"curves": down_to(loss), "seconds": seconds},
                    "5": {"curves": down_to(4.8), "run": ("gpt", 1, "sgd"), "seconds": 4.0},
                }
            )
            return wall_clock(judge).pick

        assert pick(4.88, 2.0).experiment.id == "1"
        assert pick(4.88, 3.9).experiment.id == "5"
        assert pick(4.95, 2.0).experiment.id == "5"
        assert pick(4.80 + 0.5 * BOUND, 2.0).loss.order is Order.ALIKE


class TestEffects:
    def test_learned_less_needs_a_higher_training_loss(self):
        """Worse on validation with a lower training loss is not 'had learned less'."""

        def effect(training: float | None):
            base = {"curves": down_to(4.8), "run": ("gpt", 1, "adamw"), "training": [4.5, 4.4, 4.3, 4.2, 4.15]}
            deep = {"curves": down_to(5.0), "run": ("gpt", 4, "adamw"), "training": [training] * 5}
            return depth(judged({"6": base, "12": deep})).series[0].steps[0].effect

        assert effect(3.98) is Deeper.OVERFITS
        assert effect(4.6) is Deeper.LEARNED_LESS
        assert effect(4.15) is Deeper.WORSE

    def test_training_that_was_not_recorded_gives_no_reason(self):
        runs, epochs = make_curves(
            {
                "6": {"curves": down_to(4.8), "run": ("gpt", 1, "adamw")},
                "12": {"curves": down_to(5.0), "run": ("gpt", 4, "adamw")},
            }
        )
        judge = Judge(summarize(runs, epochs.assign(train_eval_loss=math.nan)), SPREAD)
        assert depth(judge).series[0].steps[0].effect is Deeper.WORSE

    def test_the_bases_own_failure_is_said(self):
        stuck = {"curves": [UNIGRAM] * 5}
        judge = judged({str(n): stuck | {"run": ("lstm", n, "adamw")} for n in (1, 2, 4)})
        series = depth(judge).series[0]
        assert not series.base_learned
        assert [step.effect for step in series.steps] == [Deeper.FAILED, Deeper.FAILED]
        assert series.steps[0].comparison.learned is Learned.NEITHER

    def test_one_that_learned_where_the_base_did_not_is_no_help_of_depth(self):
        learned = {"run": ("lstm", 2, "adamw"), "curves": LEARNING}
        judge = judged({"1": {"run": ("lstm", 1, "adamw"), "curves": [UNIGRAM] * 5}, "2": learned})
        assert [step.effect for step in depth(judge).series[0].steps] == [Deeper.ALONE]

    def test_a_run_that_still_falls_has_not_failed(self):
        falling = {"curves": [8.0, 7.6, 7.2, 6.9, 6.8], "run": ("lstm", 2, "adamw")}
        judge = judged({"2": {"curves": LEARNING, "run": ("lstm", 1, "adamw")}, "9": falling})
        assert depth(judge).series[0].steps[0].effect is Deeper.NOT_YET

    def test_a_question_that_no_run_answers(self):
        stuck = {"curves": [UNIGRAM + 1] * 5}
        runs = {
            "1": {"curves": LEARNING, "run": ("lstm", 1, "adam")},
            "3": stuck | {"run": ("lstm", 1, "sgd")},
            "4": {"curves": [UNIGRAM + 0.5] * 5, "run": ("lstm", 1, "momentum")},
        }
        answers = {answer.question: answer.effect for answer in optimizers(judged(runs)).answers}
        assert answers == {Question.MOMENTUM: Effect.NONE_LEARNED, Question.ADAPTIVITY: Effect.HELPS}

    def test_effects_over_architectures(self):
        def effect(lstm: float, gpt: float):
            runs = {
                "1": {"curves": down_to(5.0), "run": ("lstm", 1, "adam")},
                "2": {"curves": down_to(5.0 + lstm), "run": ("lstm", 1, "adamw")},
                "5": {"curves": down_to(5.0), "run": ("gpt", 1, "adam")},
                "6": {"curves": down_to(5.0 + gpt), "run": ("gpt", 1, "adamw")},
            }
            return optimizers(judged(runs)).answers[0].effect

        assert effect(-0.5, -0.5) is Effect.HELPS
        assert effect(-0.5, 0.0) is Effect.PARTLY_HELPS
        assert effect(-0.5, 0.5) is Effect.MIXED
        assert effect(0.0, 0.0) is Effect.ALIKE
        assert effect(0.5, 0.5) is Effect.HURTS

    def test_early_stopping_that_cuts_nothing_changes_no_verdict(self):
        """The same losses, held to the same standard: a difference that did not outlast correction still does not."""
        names = ("adam", "adamw", "sgd", "momentum")
        runs = {f"l{name}": {"curves": down_to(4.8), "run": ("lstm", 1, name)} for name in names}
        runs |= {f"g{name}": {"curves": down_to(4.8), "run": ("gpt", 1, name)} for name in names}
        runs["gadam"]["curves"] = down_to(4.8 + 1.1 * BOUND)
        judge = judged(runs, families=[[(f"l{name}", f"g{name}") for name in names]])
        tally = architectures(judge, stopping(judge.summaries)).tallies[0]
        assert tally.matches[0].comparison.verdict.ground is Ground.FAMILY
        assert (tally.stopped, tally.changed) == (4, 0)
