"""The files of the runs, joined into tables and taken together by experiment."""
