"""Check params.yaml and write one resolved configuration an experiment, configs/<experiment>.json.

``device: auto`` and ``precision: auto`` are resolved here, on the machine that will train: a configuration is what DVC
knows a run by, so it must hold what the run used. After a GPU was added or taken out, ``dvc repro -f configure`` writes
the configurations anew, and what they change trains anew. Only PyTorch knows for certain what it can use, so this one
of the stages that do not train imports it; the second that this takes is spent only when params.yaml has changed.

``data/checked.json`` says that the settings were checked and which corpus they name. The stages that read ``corpora/``
and a scale's settings depend on it, so that what is wrong is said here, before DVC looks for what is not there.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pynvml
import torch

from lm.config.run import ComputeConfig, RunConfig
from lm.config.study import PARAMS, load_study
from lm.corpus.catalogue import CORPORA, find_corpus
from lm.errors import StudyError, reported, writing
from lm.training.hardware import choose


def resolved(configurations: dict[str, RunConfig], precision_key: str) -> dict[str, RunConfig]:
    """With the device and precision that ``auto`` comes to here.

    Raises :class:`StudyError` for those that this machine has not.
    """
    found: dict[str, RunConfig] = {}
    for name, run in configurations.items():
        used = choose(run.compute, where=f"params.yaml: {precision_key}")
        content = run.compute.model_dump() | {"device": used.device.type, "precision": used.precision}
        found[name] = run.model_copy(update={"compute": ComputeConfig.model_validate(content)})
    return found


def check_compiler() -> None:
    """Raises :class:`StudyError` where ``torch.compile`` finds no C++ compiler, which it needs on a CPU."""
    from torch._inductor import config, cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        sought = ", ".join(name for name in config.cpp.cxx if name)
        raise StudyError(
            f"params.yaml: compile: true needs a C++ compiler on a CPU, and {sought} is not there; install it "
            f"(Debian: apt-get install g++), name another in the variable CXX, or set compile: false"
        ) from None


def unused_gpus() -> int:
    """NVIDIA GPUs that the driver knows but PyTorch cannot use."""
    if torch.cuda.is_available():
        return 0
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:  # no driver: there is none
        return 0


@reported
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.configure", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--params", type=Path, default=PARAMS, help="the settings (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("configs"), help="folder to write (default: %(default)s)")
    parser.add_argument("--corpora", type=Path, default=CORPORA, help="folder of corpora (default: %(default)s)")
    parser.add_argument(
        "--checked", type=Path, default=Path("data/checked.json"), help="file to write (default: %(default)s)"
    )
    arguments = parser.parse_args()
    study = load_study(arguments.params)
    find_corpus(study.corpus, arguments.corpora)
    configurations = resolved(study.resolve(), f"scales.{study.scale}.precision")
    if study.compile and any(run.compute.device == "cpu" for run in configurations.values()):
        check_compiler()
    if study.device == "auto" and (count := unused_gpus()):
        print(
            f"params.yaml: device: auto comes to the CPU, though there are {count} NVIDIA GPU(s): PyTorch "
            f"{torch.__version__} can't use them; it was built without CUDA, or for a newer one than the driver's",
            file=sys.stderr,
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, run in configurations.items():
        path = arguments.out / f"{name}.json"
        with writing(path):
            path.write_text(run.to_json())
    arguments.checked.parent.mkdir(parents=True, exist_ok=True)
    with writing(arguments.checked):
        arguments.checked.write_text(json.dumps({"corpus": study.corpus}) + "\n")


if __name__ == "__main__":
    main()
