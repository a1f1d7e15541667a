"""Write the configurations of an arm that is tried at multiples of the rate chosen for another."""

from __future__ import annotations

import argparse

from lm.config.run import RunConfig
from lm.config.study import load_study
from lm.errors import StudyError, reported
from lm.protocol.places import trial_config, tuned_config
from lm.protocol.protocol import PROTOCOL, load_protocol


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.controlled_after", description=__doc__)
    parser.add_argument("arm", metavar="ARM", help="one of the arms in controlled/protocol.yaml")
    name = parser.parse_args().arm
    protocol = load_protocol()
    arm = protocol.arm(name)
    if arm.of is None or arm.times is None:
        raise StudyError(f"{PROTOCOL}: arms.{name}: has no `times`; its rates are known beforehand (controlled_grid)")
    rate = RunConfig.read(tuned_config(arm.of)).optimizer.lr
    for point, config in protocol.resolve(load_study(), name, rate).items():
        path = trial_config(name, point, relative=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config.to_json())


if __name__ == "__main__":
    main()
