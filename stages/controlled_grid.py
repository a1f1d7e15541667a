"""Check the protocol and its plan; write the configuration of every trial whose rate is known beforehand."""

from __future__ import annotations

import argparse

from lm.config.study import load_study
from lm.errors import reported
from lm.protocol.places import trial_config
from lm.protocol.plan import check_pipeline, check_plan
from lm.protocol.protocol import load_protocol


@reported
def main() -> None:
    argparse.ArgumentParser(prog="python -m stages.controlled_grid", description=__doc__).parse_args()
    protocol, study = load_protocol(), load_study()
    check_plan(protocol)
    check_pipeline()
    for name, arm in protocol.arms.items():
        # one at multiples of another's rate is resolved too, at any rate, so that its mistakes show at once
        for point, config in protocol.resolve(study, name, base_rate=1e-3).items():
            if arm.rates is not None:
                path = trial_config(name, point, relative=False)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(config.to_json())


if __name__ == "__main__":
    main()
