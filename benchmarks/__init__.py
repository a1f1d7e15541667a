"""Programs that measure. They are run by hand: a timed test on a shared machine says nothing."""
