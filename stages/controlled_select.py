"""Choose an arm's rate by validation loss; write the configuration that is confirmed with fresh seeds."""

from __future__ import annotations

import argparse

from lm.errors import reported
from lm.protocol.places import tuned_config
from lm.protocol.protocol import load_protocol
from lm.protocol.rates import at_rate, chosen, read_beyond, read_trials


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.controlled_select", description=__doc__)
    parser.add_argument("arm", metavar="ARM", help="one of the arms in controlled/protocol.yaml")
    name = parser.parse_args().arm
    protocol = load_protocol()
    arm = protocol.arm(name)
    trial = chosen(read_trials(name, arm) + read_beyond(name, arm, protocol.beyond))
    tuned_config(name).parent.mkdir(parents=True, exist_ok=True)
    tuned_config(name).write_text(at_rate(trial.config, trial.rate, name).to_json())


if __name__ == "__main__":
    main()
