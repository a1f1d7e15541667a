"""Invented results of a controlled study, with a truth that is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lm.controlled.results import Controlled, from_tables
from lm.controlled.schema import RUNS
from tests.synthetic import UNIGRAM, make_results

SEEDS = (43, 44, 45, 46, 47)
EPOCHS = 5
PLATEAU = math.log(UNIGRAM)
DOCUMENTS = 12


@dataclass(frozen=True, kw_only=True)
class Invented:
    """An arm: validation loss by rate and test loss by seed; None: diverges, ``PLATEAU``: never learns."""

    model: str
    optimizer: str
    trials: Mapping[float, float | None]
    confirmed: Mapping[int, float | None]
    layers: int = 1
    part: str = "rates"
    of: str | None = None
    text_times: int = 1
    rate: float | None = None
    relative: bool = False
    beyond: Sequence[float] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def chosen(self) -> float:
        if self.rate is not None:
            return self.rate
        finite = {rate: loss for rate, loss in self.trials.items() if loss is not None}
        return min(finite, key=lambda rate: finite[rate]) if finite else min(self.trials)


def study(arms: Mapping[str, Invented]) -> Controlled:
    return from_tables(*tables(arms))


def tables(arms: Mapping[str, Invented]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rows, epochs, documents = [], [], []
    for name, arm in arms.items():
        for rate, loss in arm.trials.items():
            role = "beyond" if rate in arm.beyond else "trial"
            point = f"x{rate / min(arm.trials):.3g}" if arm.relative else f"{rate:g}"
            row, history = _run(arm, f"{name}_{point}", 7, rate, loss)
            rows.append(row | {"arm": name, "role": role, "point": point})
            epochs.append(history)
        for seed, loss in arm.confirmed.items():
            row, history = _run(arm, name, seed, arm.chosen, None if loss is None else loss - 0.05)
            rows.append(row | {"arm": name, "role": "confirmation", "point": None})
            epochs.append(history)
            documents.append(_documents(name, seed, 5.0 if loss is None else loss))
    return pd.DataFrame(rows)[RUNS.names], pd.concat(epochs, ignore_index=True), pd.concat(documents, ignore_index=True)


def _run(
    arm: Invented, experiment: str, seed: int, rate: float, loss: float | None
) -> tuple[dict[str, Any], pd.DataFrame]:
    runs, epochs = make_results(
        {experiment: (arm.model, arm.layers, arm.optimizer)}, (seed,), EPOCHS, (experiment,) if loss is None else ()
    )
    row = runs.iloc[0].to_dict() | {"lr": rate, "part": arm.part, "of": arm.of, "text_times": arm.text_times}
    row |= {"status": "completed", **arm.columns}
    if loss is None:
        return row | {"status": "diverged", "diverged_step": 30, "validation_loss": None, "test_loss": None}, epochs
    falling = [loss + 0.8 * 2.0**-epoch - 0.8 * 2.0 ** -(EPOCHS - 1) for epoch in range(EPOCHS)]
    course = falling if loss < PLATEAU - 0.1 else [loss] * EPOCHS
    epochs = epochs.assign(validation_loss=course, validation_perplexity=np.exp(course))
    epochs = epochs.assign(train_eval_loss=epochs["validation_loss"] - 0.1, train_loss=epochs["validation_loss"])
    row |= {"validation_loss": loss, "validation_perplexity": math.exp(loss)}
    row |= {"test_loss": loss + 0.05, "test_perplexity": math.exp(loss + 0.05)}
    return row, epochs


def _documents(arm: str, seed: int, loss: float) -> pd.DataFrame:
    """Documents whose difficulty is their own and whose mean is the test loss."""
    tokens = np.arange(1, DOCUMENTS + 1) * 1000
    hard = np.linspace(-0.3, 0.3, DOCUMENTS)
    hard -= (hard * tokens).sum() / tokens.sum()
    return pd.DataFrame(
        {
            "arm": arm,
            "seed": seed,
            "document": range(DOCUMENTS),
            "predicted_tokens": tokens,
            "nll": (loss + hard) * tokens,
        }
    )


def around(
    loss: float, deviation: float = 0.008, seed: int = 0, seeds: Sequence[int] = SEEDS
) -> dict[int, float | None]:
    """Test losses by seed, drawn around a mean."""
    draws = np.random.default_rng([seed, round(1000 * loss)]).normal(loss, deviation, len(seeds))
    return dict(zip(seeds, map(float, draws), strict=True))


def curve(best: float, loss: float, rates: Sequence[float], fails_from: float = math.inf) -> dict[float, float | None]:
    """A bowl over the logarithm of the rate, lowest at ``best``; from ``fails_from`` on trials diverge."""
    return {
        rate: None if rate >= fails_from else min(loss + 0.35 * math.log10(rate / best) ** 2, PLATEAU + 0.2)
        for rate in rates
    }


ADAPTIVE = {"lstm": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1), "gpt": (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)}


def whole() -> dict[str, Invented]:
    """All parts, with results such as the real study may have."""
    lstm, gpt = ADAPTIVE["lstm"], ADAPTIVE["gpt"]
    deep = {"weight_decay": 0.0005, "optimizer": "adamw"}
    four = (0.0003, 0.001, 0.003, 0.01)

    def wide(layers: int) -> dict[str, Any]:
        """An LSTM whose body is the GPT's within 1 %."""
        return {"sizes": '{"lstm_hidden": 156}', "parameters": 4096 * 128 + 195_936 * layers}

    def remedy(of: str, model: str, loss: float, base: float, seed: int, **columns: Any) -> Invented:
        rates = {base: loss, 3 * base: loss + 0.04}
        return Invented(
            model=model,
            layers=4,
            optimizer="adamw",
            part="remedies",
            of=of,
            relative=True,
            trials=rates,
            confirmed=around(loss + 0.05, seed=seed),
            text_times=columns.pop("text_times", 1),
            columns=columns,
        )

    bistable = around(4.55, 0.02) | {44: PLATEAU + 0.01, 47: None}
    return {
        "lstm_adam": Invented(
            model="lstm", optimizer="adam", trials=curve(0.01, 4.36, lstm), confirmed=around(4.41, seed=1)
        ),
        "lstm_adamw": Invented(
            model="lstm", optimizer="adamw", trials=curve(0.01, 4.361, lstm), confirmed=around(4.411, seed=1)
        ),
        "lstm_sgd": Invented(
            model="lstm",
            optimizer="sgd",
            trials=curve(3.0, 5.6, (0.1, 0.3, 1.0, 3.0, 10.0, 30.0), 10.0),
            confirmed=around(5.65, 0.05),
        ),
        "lstm_momentum": Invented(
            model="lstm",
            optimizer="momentum",
            trials=curve(30.0, 4.7, (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)),
            confirmed=around(4.75, seed=2),
            beyond=(30.0, 100.0),
        ),
        "gpt_adam": Invented(
            model="gpt", optimizer="adam", trials=curve(0.003, 4.34, gpt), confirmed=around(4.39, seed=3)
        ),
        "gpt_adamw": Invented(
            model="gpt", optimizer="adamw", trials=curve(0.003, 4.345, gpt), confirmed=around(4.395, seed=3)
        ),
        "gpt_sgd": Invented(
            model="gpt",
            optimizer="sgd",
            trials=curve(0.3, 5.4, (0.01, 0.03, 0.1, 0.3, 1.0, 3.0), 1.0),
            confirmed=around(5.45, 0.04),
        ),
        "gpt_momentum": Invented(
            model="gpt",
            optimizer="momentum",
            trials=curve(0.1, 4.66, (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), 1.0),
            confirmed=around(4.7),
        ),
        "wide_lstm_1": Invented(
            model="lstm",
            optimizer="adamw",
            part="depth",
            trials=curve(0.01, 4.33, lstm[1:5]),
            confirmed=around(4.38),
            columns=wide(1),
        ),
        "wide_lstm_2": Invented(
            model="lstm",
            layers=2,
            optimizer="adamw",
            part="depth",
            trials=curve(0.01, 4.35, lstm[1:5]),
            confirmed=around(4.4, seed=5),
            columns=wide(2),
        ),
        "wide_lstm_4": Invented(
            model="lstm",
            layers=4,
            optimizer="adamw",
            part="depth",
            trials=curve(0.003, 4.5, lstm[1:5]),
            confirmed=bistable,
            columns=wide(4),
        ),
        "gpt_2": Invented(
            model="gpt",
            layers=2,
            optimizer="adamw",
            part="depth",
            trials=curve(0.001, 4.2, four, 0.01),
            confirmed=around(4.25),
        ),
        "gpt_4": Invented(
            model="gpt",
            layers=4,
            optimizer="adamw",
            part="depth",
            trials=curve(0.001, 4.15, four, 0.003),
            confirmed=around(4.2),
        ),
        "gpt_4_warmup": remedy("gpt_4", "gpt", 4.12, 0.001, 6, **deep, warmup=0.1),
        "gpt_4_pre": Invented(
            model="gpt",
            layers=4,
            optimizer="adamw",
            part="remedies",
            of="gpt_4",
            trials=curve(0.003, 4.1, four),
            confirmed=around(4.15, seed=9),
            columns=deep | {"norm": "pre"},
        ),
        "gpt_4_clip": remedy("gpt_4", "gpt", 4.151, 0.001, 7, **deep, clip=1.0),
        "gpt_4_cosine": remedy("gpt_4", "gpt", 4.1, 0.001, 8, **deep, schedule="cosine"),
        "gpt_4_dropout": remedy("gpt_4", "gpt", 4.19, 0.001, 10, **deep, dropout=0.1),
        "gpt_4_text": remedy("gpt_4", "gpt", 4.0, 0.001, 11, **deep, text_times=5, epochs=1),
        "gpt_4_modern": remedy(
            "gpt_4",
            "gpt",
            4.0,
            0.001,
            12,
            norm="pre",
            warmup=0.1,
            schedule="cosine",
            clip=1.0,
            dropout=0.1,
            weight_decay=0.1,
        ),
        "wide_lstm_4_dropout": remedy("wide_lstm_4", "lstm", 4.5, 0.003, 13, **wide(4), dropout=0.1),
        "gpt_decay": Invented(
            model="gpt",
            optimizer="adamw",
            part="remedies",
            of="gpt_adamw",
            relative=True,
            trials={0.003: 4.341, 0.009: 4.4},
            confirmed=around(4.391, seed=14),
            columns={"weight_decay": 0.1},
        ),
    }
