"""From a source of text to splits, tokens and windows."""

SPLITS = ("train", "validation", "test")
