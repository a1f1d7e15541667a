"""Say which edge of an arm's grid won, and write the configurations of the trials beyond it."""

from __future__ import annotations

import argparse
import json

from lm.errors import reported
from lm.protocol.places import beyond_config, edge_file
from lm.protocol.protocol import beyond_point, load_protocol, trial_id
from lm.protocol.rates import Edge, at_rate, edge_of, rates_beyond, read_trials


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.controlled_edge", description=__doc__)
    parser.add_argument("arm", metavar="ARM", help="one of the arms in controlled/protocol.yaml")
    name = parser.parse_args().arm
    protocol = load_protocol()
    arm = protocol.arm(name)
    trials = read_trials(name, arm)
    edge = edge_of(trials) if protocol.beyond else Edge.NONE
    edge_file(name).parent.mkdir(parents=True, exist_ok=True)
    edge_file(name).write_text(json.dumps({"edge": edge}) + "\n")
    beyond_config(name, 1).parent.mkdir(parents=True, exist_ok=True)
    for number, rate in enumerate(rates_beyond([trial.rate for trial in trials], edge, protocol.beyond), 1):
        config = at_rate(trials[0].config, rate, trial_id(name, beyond_point(number)))
        beyond_config(name, number).write_text(config.to_json())


if __name__ == "__main__":
    main()
