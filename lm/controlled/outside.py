"""What the controlled study gives to the default one: which open questions are answered, and the spread over seeds.

Neither is a dependency of the default study in DVC, which would start the controlled one with it.
"""

from __future__ import annotations

import csv
import io
import json

from lm.controlled.findings import ControlledFindings
from lm.controlled.results import Controlled
from lm.findings.limits import Topic, budget_of
from lm.results.summary import perplexity


def answers(findings: ControlledFindings) -> str:
    """JSON: the limits of the default report that are answered, and for which text and scale they are."""
    asked = {
        Topic.UNTUNED: any(contrast.decided for ranking in findings.rankings for contrast in ranking.contrasts),
        Topic.SIZES: findings.equal_size and any(match.contrast.decided for match in findings.matches),
        Topic.ONE_SEED: any(effect.deviation is not None for effect in findings.seed_effects),
    }
    text = findings.study.text
    budgets = {budget_of(arm.confirmed) for arm in findings.study.arms if arm.of is None}
    if len(budgets) > 1:  # then there is no study whose questions all of them answer
        asked = dict.fromkeys(asked, False)
    content = {
        "answered": [topic for topic, there in asked.items() if there],
        "corpus": text.corpus,
        "scale": text.scale,
        "vocabulary": text.vocabulary,
        "text": text.fingerprint,
        "budget": min(budgets, default=()),
        "seeds": len(findings.study.seeds),
    }
    return json.dumps(content, indent=2) + "\n"


_OURS = "controlled "
"""What the experiments of the controlled study are called in the table of spreads, before an arm's name."""


def with_spread(table: str, study: Controlled) -> str:
    """The text of ``reports/reference/spread.csv`` with the study's rows in the place of those of a former one.

    There is one row a confirmation of an untreated arm, and an arm is of one kind: else how far its early runs lie from
    its late ones would be in no deviation. A study at another scale, or with another vocabulary, keeps its rows.
    """
    own = [study.text.scale, str(study.text.vocabulary)]
    rows = csv.reader(io.StringIO(table))
    others = [row for row in rows if row[:2] != own or len(row) < 4 or not row[3].startswith(_OURS)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(others)
    for arm in study.arms:
        if arm.of is not None or arm.failed:
            continue
        for run in arm.confirmed.runs:
            loss = perplexity(run.validation_loss)
            if loss is not None:
                writer.writerow([*own, arm.kinds[-1], _OURS + arm.name, run.seed, f"{loss:.4f}"])
    return text.getvalue()
