"""The files of the runs that params.yaml names, joined into tables."""
