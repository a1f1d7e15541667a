"""The controlled study: rates chosen on validation with one seed, what is claimed judged on test with fresh ones."""
