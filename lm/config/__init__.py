"""params.yaml, validated and resolved into one configuration a run."""
