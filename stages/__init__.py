"""One thin script a stage: parse arguments, call the library, write outputs."""
