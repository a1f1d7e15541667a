"""One thin script a stage: parse arguments, call the library, write outputs."""

import gc
import sys

if sys.argv[:1] == ["-m"]:  # what Python has there while it looks for the module of `python -m stages.…`
    # hundreds of modules are read without a search for garbage in between, a fifth of their time; `reported` starts it
    gc.disable()
