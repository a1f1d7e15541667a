"""Runs of a pipeline side by side: planned from what DVC sees, trained by ``dvc repro``, on Ray or SLURM.

DVC stays the only record of what is done. What is here decides which runs to train, in which order, on how many cores,
and shows how far they are; each run is one ``dvc repro --single-item <run>``, by way of ``lm/launch/dvc.py``.
"""
