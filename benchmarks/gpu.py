"""What to run when a GPU is at hand for a few minutes: tests, step times, compiled steps, the study.

`--prepare FOLDER` collects what is needed where there is a network: packages (`pip download`, some GB), the corpus as
tokens of the scale, and GPT-1's embeddings, without which the study's models learn theirs. Take that folder and this
checkout to the machine with the GPU, which needs no network, and run the command with `--kit FOLDER`. In this order
come:

- the CUDA tests, in 15 % of the minutes at most;
- step times and memory against the plain way, in four number formats, both models, 1, 2 and 4 layers: 30 %;
- the same steps compiled: 20 %;
- the study's runs in the time that is left, shortest first, and the report of those that are finished.

A part that fails or runs out of time stops no other. With the same `--out`, the study goes on where it was stopped, and
what parts that are not run again have found is kept.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import kit, parts, summary
from benchmarks.arguments import at_least_one, check_most
from benchmarks.attend import Minutes
from lm.errors import StudyError, reported

SHARES = {"tests": 0.15, "steps": 0.3, "compiled": 0.2}
"""Of the minutes, what a part may take at most; the study has what is left but for the report's."""
_REPORT_SECONDS = 45.0
_REPORT_SHARE = 0.1


@reported
def main() -> None:
    arguments = _parse()
    if arguments.prepare:
        for line in kit.prepare(arguments.prepare, arguments.scale, wheels=arguments.wheels):
            print(line)
        return
    kit.check(arguments.kit)
    _have_packages(arguments.kit)
    _check_layers(arguments.layers)
    if arguments.cell:
        _cell(arguments)
        return
    _check_device(arguments.device, arguments.scale)
    _measure(arguments)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--prepare", type=Path, metavar="FOLDER", help="make the folder that --kit names, and measure nothing")
    add("--without-wheels", dest="wheels", action="store_false", help="with --prepare: no packages")
    add("--kit", type=Path, default=Path("kit"), help="the prepared folder (default: %(default)s)")
    add("--minutes", type=_minutes, default=10.0, help="in all (default: %(default)s)")
    add("--out", type=Path, default=Path("gpu"), help="folder to write (default: %(default)s)")
    add("--scale", default="reference", help="a scale of params.yaml (default: %(default)s)")
    add(
        "--device", choices=["cuda", "cpu"], default="cuda", help="cpu: a trial, with --scale smoke alone (%(default)s)"
    )
    add("--parts", nargs="+", choices=[*SHARES, "study"], default=[*SHARES, "study"], help="which (default: all)")
    add("--models", nargs="+", choices=parts.MODELS, default=list(parts.MODELS), help="of steps (default: both)")
    add("--layers", nargs="+", type=at_least_one, default=list(parts.DEPTHS), help="of steps (default: 1 2 4)")
    add(
        "--precisions",
        nargs="+",
        choices=parts.PRECISIONS,
        default=list(parts.PRECISIONS),
        help="of steps (default: all)",
    )
    add(
        "--cell",
        choices=parts.CONTENDERS,
        help="time the steps of the first of --models and --layers alone, in this process, and print JSON",
    )
    return parser.parse_args()


def _minutes(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"{text}; allowed: a number above 0")
    return found


def _have_packages(folder: Path) -> None:
    """Go on in an environment with the kit's packages where this Python lacks any of them."""
    missing = kit.missing_packages()
    if not missing:
        return
    place = folder.resolve() / "environment"
    if (folder / kit.WHEELS).is_dir() and Path(sys.prefix).resolve() != place:
        python = kit.environment(folder.resolve())
        os.execv(python, [str(python), "-m", "benchmarks.gpu", *sys.argv[1:]])
    if "torch" in missing:
        raise StudyError(
            f"torch is not installed, and {folder / kit.WHEELS} is not there; prepare the kit with packages"
        )
    print(f"not installed, so that parts may fail: {', '.join(missing)}", file=sys.stderr)


def _check_layers(layers: list[int]) -> None:
    from lm.config.run import Layers

    check_most("--layers", layers, Layers)


def _check_device(device: str, scale: str) -> None:
    if device == "cpu":
        if scale != "smoke":
            raise StudyError(
                f"--device: 'cpu' with --scale {scale}; allowed: cuda, or cpu with --scale smoke as a trial"
            )
        return
    import torch

    if not torch.cuda.is_available():
        build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a build for CPUs"
        driver = (
            "; nvidia-smi is here: see whether its driver is new enough for it" if shutil.which("nvidia-smi") else ""
        )
        raise StudyError(
            f"--device: PyTorch {torch.__version__}, {build}, finds no GPU{driver}; "
            "allowed: a machine with one, or --device cpu --scale smoke as a trial"
        )


def _cell(arguments: argparse.Namespace) -> None:
    """A line of JSON for the machine, and one a contender as soon as its precision is done."""
    from benchmarks import cells
    from benchmarks.sizes import open_scale

    study = open_scale(arguments.scale, "--scale", arguments.kit / "params.yaml")
    contenders = parts.CONTENDERS[arguments.cell]
    print(json.dumps({"machine": cells.machine(arguments.device, study.threads)}), flush=True)
    model, layers = arguments.models[0], arguments.layers[0]
    for precision in arguments.precisions:
        for row in cells.measure(study, model, layers, precision, contenders, arguments.device, study.threads):
            print(json.dumps(row), flush=True)


def _measure(arguments: argparse.Namespace) -> None:
    from benchmarks.sizes import open_scale, scale_of
    from lm.config.study import load_study

    params = arguments.kit / "params.yaml"
    study = open_scale(arguments.scale, "--scale", params)
    written = load_study(params).scale
    if written != arguments.scale:
        raise StudyError(f"{params}: scale: '{written}', but --scale is '{arguments.scale}'; prepare a kit of that")
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    new = parts.Measures(
        scale=arguments.scale,
        device=arguments.device,
        embeddings=scale_of(study).embeddings,
        minutes=arguments.minutes,
    )
    known = summary.begin(new, out)
    session = parts.Session(
        kit=arguments.kit.resolve(),
        out=out,
        minutes=Minutes(arguments.minutes),
        scale=arguments.scale,
        device=arguments.device,
        models=arguments.models,
        layers=arguments.layers,
        precisions=arguments.precisions,
        known=known,
        write=lambda: summary.write(known, out),
    )
    work = {
        "tests": parts.cuda_tests,
        "steps": parts.eager_steps,
        "compiled": parts.compiled_steps,
        "study": parts.study,
    }
    for name in [name for name in work if name in arguments.parts]:
        _do(session, name, _limit(session, name), work[name])
    if "study" in arguments.parts:
        _do(session, "report", max(session.minutes.left, _REPORT_SECONDS), parts.report)
    print(out / "summary.md")
    ran = {*arguments.parts, *(["report"] if "study" in arguments.parts else [])}
    failed = [part.part for part in known.parts if part.part in ran and part.status == "failed"]
    if failed:
        raise StudyError(f"{out / 'summary.md'}: failed: {', '.join(failed)}; the logs are in {out / 'logs'}")


def _limit(session: parts.Session, name: str) -> float:
    """Seconds that a part may take."""
    minutes = session.minutes
    if name in SHARES:
        return min(SHARES[name] * minutes.whole, minutes.left)
    return minutes.left - min(_REPORT_SECONDS, _REPORT_SHARE * minutes.whole)


def _do(session: parts.Session, name: str, limit: float, work: Callable[[parts.Session, parts.Part], None]) -> None:
    """One part; whatever happens in it is its own."""
    minutes, part = session.minutes, parts.Part(part=name, limit=max(0.0, limit))
    session.known.begin(part)
    minutes.say(f"{name}: {part.limit:.0f} s at most")
    began = minutes.gone
    try:
        work(session, part)
    except Exception as error:
        part.failed(f"{type(error).__name__}: {' '.join(str(error).splitlines())}")
    part.seconds = minutes.gone - began
    if part.status != "failed":
        part.status = "out of time" if part.left_out else "done"
    minutes.say(f"{name}: {part.status} {part.why}".rstrip())
    session.write()


if __name__ == "__main__":
    main()
