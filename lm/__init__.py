"""The library behind the study: configuration, corpora, models, training, results.

Data flows one way: ``config`` and ``corpus`` feed ``models`` and ``training``, whose files feed ``results``.
"""
