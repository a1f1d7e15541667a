"""Write controlled/plan.yaml, every stage of the controlled study, from controlled/protocol.yaml, and make it DVC's."""

from __future__ import annotations

import argparse

from lm.errors import reported
from lm.protocol.places import ACTIVE, PLAN
from lm.protocol.plan import plan, write_plan
from lm.protocol.protocol import load_protocol


@reported
def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.controlled_plan", description=__doc__).parse_args()
    protocol = load_protocol()
    write_plan(protocol)
    stages = plan(protocol)
    print(
        f"{PLAN}: {len(protocol.arms)} arms, {len(stages['trials'])} trials, at most {len(stages['beyond'])} beyond an "
        f"edge, {len(stages['confirmations'])} confirmations; `dvc repro {ACTIVE}` runs them"
    )


if __name__ == "__main__":
    main()
