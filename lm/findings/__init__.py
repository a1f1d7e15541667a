"""What the results show: typed verdicts and their numbers, from summaries. No sentence is written here."""
