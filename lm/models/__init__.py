"""The two architectures. Each maps token ids to features; the tied vocabulary projection follows outside.

Shape suffixes: B batch, T time (tokens of a window), D width, H heads, K width of a head, V vocabulary.
"""
