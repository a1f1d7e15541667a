"""Unit, parity, fault and pipeline tests. ``pytest`` runs them all."""
