"""The parts of ``benchmarks.gpu``: the CUDA tests, step times, compiled steps, the study. Each in child processes."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.attend import Ended, Minutes, attend, last_line
from benchmarks.kit import ROOT, write_params

if TYPE_CHECKING:
    from lm.config.run import RunConfig

PRECISIONS = ("bf16", "fp32", "tf32", "fp16")
MODELS = ("gpt", "lstm")
DEPTHS = (1, 2, 4)
CONTENDERS = {"eager": ("plain", "ours"), "compiled": ("ours", "ours-compiled", "plain-compiled")}
ABSENT = "not on this device"
_NEEDS_A_GPU = "skipif(not torch.cuda.is_available()"
NAMED = "gpu"
"""What the names of all tests have in them that need one."""
ORDER = ("tests", "steps", "compiled", "study", "report")
"""Of the parts."""
_LEAST_SECONDS = 1.0


@dataclass(kw_only=True)
class Row:
    """What is known of one contender; a figure that was not measured is None, and ``status`` says why.

    ``step_ms`` is the median over turns, with its quartiles. ``memory_mib`` is the peak of a step above the level
    before the model was built, by PyTorch's allocator; on a CPU, whose contenders share a process, it is not measured.
    ``first_step_s`` of a compiled contender holds its compilation, with an empty cache.
    """

    model: str
    layers: int
    precision: str
    contender: str
    status: str = "measured"
    step_ms: float | None = None
    step_ms_quartile_1: float | None = None
    step_ms_quartile_3: float | None = None
    tokens_per_second: float | None = None
    tflop_per_second: float | None = None
    memory_mib: float | None = None
    first_step_s: float | None = None
    turns: int | None = None
    steps_a_turn: int | None = None


@dataclass(kw_only=True)
class Part:
    """What became of a part. ``status``: done, out of time, or failed; ``left_out`` names what did not fit."""

    part: str
    limit: float
    status: str = "not begun"
    seconds: float = 0.0
    why: str = ""
    left_out: list[str] = field(default_factory=list)

    def failed(self, why: str) -> None:
        self.status = "failed"
        self.why = "; ".join(filter(None, [self.why, why]))


@dataclass(kw_only=True)
class Measures:
    """All that has been found out so far."""

    scale: str
    device: str
    embeddings: str
    minutes: float
    machine: dict[str, Any] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    tests: list[dict[str, str]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, part: Part) -> None:
        """Put a part in its place among the others, and that of an earlier time away."""
        others = [each for each in self.parts if each.part != part.part]
        self.parts = sorted([*others, part], key=lambda each: ORDER.index(each.part))


@dataclass(frozen=True, kw_only=True)
class Session:
    """What the parts share: places, time, what is asked for, what is known, and ``write``, which keeps that."""

    kit: Path
    out: Path
    minutes: Minutes
    scale: str
    device: str
    models: list[str]
    layers: list[int]
    precisions: list[str]
    known: Measures
    write: Callable[[], None]

    def attend(self, words: list[str], log: str, limit: float, name: str) -> Ended:
        return attend(words, self.out / "logs" / f"{log}.log", self.minutes, limit, name)


def cuda_tests(session: Session, part: Part) -> None:
    """The tests that are skipped where there is no GPU."""
    files = [path for path in sorted((ROOT / "tests").glob("test_*.py")) if _NEEDS_A_GPU in path.read_text()]
    told = session.out / "logs" / "tests.xml"
    told.unlink(missing_ok=True)
    words = ["-m", "pytest", "-n0", "-p", "no:cacheprovider", "-k", NAMED, f"--junit-xml={told}", *map(str, files)]
    ended = session.attend(words, "tests", part.limit, "tests")
    if not told.exists():
        part.failed(ended.why())
        return
    session.known.tests = []
    for case in ET.parse(told).iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        session.known.tests.append({"test": case.get("name", ""), "outcome": min(kinds, default="passed")})
    outcomes = [test["outcome"] for test in session.known.tests]
    counts = [
        f"{outcomes.count(kind)} {kind}" for kind in ("passed", "failure", "error", "skipped") if kind in outcomes
    ]
    part.why = ", ".join(counts)
    if ended.status != 0:
        part.failed("see logs/tests.log")


def eager_steps(session: Session, part: Part) -> None:
    """Ours and the plain way in turns, every precision of a model in one process."""
    cells = [(model, layers, session.precisions) for layers in session.layers for model in session.models]
    _cells(session, part, cells, "eager")


def compiled_steps(session: Session, part: Part) -> None:
    """Both ways compiled, and ours as it is, in turns; a process for each, which begins with nothing compiled."""
    cells = [
        (model, layers, [precision])
        for precision in session.precisions
        for layers in session.layers
        for model in session.models
    ]
    _cells(session, part, cells, "compiled")


def _cells(session: Session, part: Part, cells: list[tuple[str, int, list[str]]], kind: str) -> None:
    """The rows of an earlier time give way, unless nothing is measured, or not where the other part's rows were."""
    known = session.known
    before, others = known.steps, [row for row in known.steps if row["compared_in"] != part.part]
    known.steps = [*others]
    ends = session.minutes.gone + part.limit
    for number, (model, layers, precisions) in enumerate(cells, 1):
        absent = {row["precision"]: row["status"] for row in known.steps if row["status"].startswith(ABSENT)}
        for precision in [precision for precision in precisions if precision in absent]:
            told = {"status": absent[precision], "compared_in": part.part}
            known.steps += [
                asdict(Row(model=model, layers=layers, precision=precision, contender=name)) | told
                for name in CONTENDERS[kind]
            ]
        left = [precision for precision in precisions if precision not in absent]
        while left:
            limit = ends - session.minutes.gone
            name = f"{part.part} {number} of {len(cells)}: {_shape(model, layers)}, {' '.join(left)}"
            if limit < _LEAST_SECONDS:
                part.left_out.append(f"{_shape(model, layers)}, {' '.join(left)}")
                break
            session.minutes.say(name)
            words = ["-m", "benchmarks.gpu", "--kit", str(session.kit), "--scale", session.scale]
            words += ["--device", session.device, "--cell", kind]
            words += ["--models", model, "--layers", str(layers), "--precisions", *left]
            log = f"{part.part}-{model}-{layers}-{left[0]}"
            ended = session.attend(words, log, limit, name)
            found = _json_lines(session.out / "logs" / f"{log}.log")
            machine = next((each["machine"] for each in found if "machine" in each), known.machine)
            if others and (differs := [key for key in machine if machine[key] != known.machine.get(key)]):
                known.steps = before
                now = f"{differs[0]} '{known.machine.get(differs[0])}', and now '{machine[differs[0]]}'"
                part.failed(f"other steps were measured with {now}; name another --out")
                return
            known.machine = machine
            rows = [each | {"compared_in": part.part} for each in found if "contender" in each]
            known.steps += rows
            session.write()
            left = [precision for precision in left if precision not in {row["precision"] for row in rows}]
            if ended.stopped:
                part.left_out.append(f"{_shape(model, layers)}, {' '.join(left)}")
                break
            if left:  # the process is gone, and what it had not begun has not failed
                part.failed(f"{_shape(model, layers)}, {left.pop(0)}: {ended.why()}")
    if len(known.steps) == len(others):
        known.steps = before


def _shape(model: str, layers: int) -> str:
    return f"{model}, {layers} layer{'s' * (layers > 1)}"


def _json_lines(log: Path) -> list[dict[str, Any]]:
    found = []
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found


def study(session: Session, part: Part) -> None:
    """The study's runs one after another, the shortest first, and the report of those that are finished."""
    from benchmarks.sizes import open_scale
    from lm.config.run import RunConfig
    from lm.corpus.windows import read_card
    from lm.prediction.run import predict_run

    folder = session.out / "study"
    folder.mkdir(parents=True, exist_ok=True)
    params, configs, tokens = folder / "params.yaml", folder / "configs", session.kit / "tokens"
    write_params(session.kit / "params.yaml", params, device=session.device)
    words = ["-m", "stages.configure", "--params", str(params), "--out", str(configs)]
    ended = session.attend([*words, "--checked", str(folder / "checked.json")], "configure", part.limit, "configure")
    if not ended.done:
        part.failed(ended.why())
        return
    opened, card = open_scale(session.scale, "--scale", params), read_card(tokens)
    predicted = card["splits"]["train"]["predicted_tokens"]
    work = {
        name: config.training.epochs
        * predict_run(config, card["vocabulary"], predicted, "cpu", "fp32").epoch_operations
        for name, config in opened.resolve().items()
    }
    ends = session.minutes.gone + part.limit - ended.seconds
    session.known.runs = []
    for seed in opened.seeds:
        for name in sorted(work, key=lambda each: work[each]):
            run, limit = f"{name}-{seed}", ends - session.minutes.gone
            config = RunConfig.read(configs / f"{name}.json")
            row: dict[str, Any] = {
                "run": run,
                "experiment": name,
                "model": config.model.architecture,
                "layers": config.model.layers,
                "optimizer": config.optimizer.name,
                "status": "begun",
                "operations": work[name],
                "expected_seconds": _expected(session.known, config, work[name]),
            }
            session.known.runs.append(row)
            if limit < _LEAST_SECONDS:
                row["status"] = "not begun: out of time"
                part.left_out.append(run)
                continue
            expected = f", about {row['expected_seconds'] / 60:.1f} min" if row["expected_seconds"] else ""
            session.minutes.say(f"study: {run}, {_shape(row['model'], row['layers'])}, {row['optimizer']}{expected}")
            words = ["-m", "stages.train", "--config", str(configs / f"{name}.json"), "--seed", str(seed)]
            words += ["--tokens", str(tokens), "--embeddings", str(session.kit / "embeddings")]
            words += ["--out", str(folder / "runs" / run), "--checkpoints", str(folder / ".checkpoints")]
            ended = session.attend(words, f"study-{run}", limit, run)
            row["seconds"] = ended.seconds
            row["status"] = "trained" if ended.done else ended.why()
            if ended.done:
                row |= _learned(folder / "runs" / run)
            elif ended.stopped:
                part.left_out.append(f"{run}, begun: {last_line(session.out / 'logs' / f'study-{run}.log')}")
            else:
                part.failed(f"{run}: {ended.why()}")
            session.write()


def _expected(known: Measures, config: RunConfig, operations: float) -> float | None:
    """Seconds of a run's training steps by those of the runs of its architecture, else by its steps as measured."""
    model, layers = config.model.architecture, config.model.layers
    trained = [run for run in known.runs if run["model"] == model and run.get("status") == "trained"]
    if trained:
        return operations * sum(run["train_seconds"] for run in trained) / sum(run["operations"] for run in trained)
    kind = "ours", model, config.compute.precision
    rates = {
        row["layers"]: row["tflop_per_second"] * 1e12
        for row in known.steps
        if (row["contender"], row["model"], row["precision"]) == kind and row["tflop_per_second"]
    }
    rate = rates.get(layers) or max(rates.values(), default=None)
    return operations / rate if rate else None


def _learned(run: Path) -> dict[str, Any]:
    metrics, cost = (json.loads((run / name).read_text()) for name in ("metrics.json", "cost.json"))
    keys = ("train_seconds", "tokens_per_second", "memory_footprint_mb", "precision")
    return {"validation_perplexity": metrics["validation_perplexity"]} | {key: cost[key] for key in keys}


def report(session: Session, part: Part) -> None:
    """``stages.aggregate`` and ``stages.report`` over the experiments whose runs are all finished."""
    from benchmarks.sizes import open_scale

    folder, runs = session.out / "study", session.known.runs
    unfinished = {run["experiment"] for run in runs if run["status"] != "trained"}
    finished = [name for name in dict.fromkeys(run["experiment"] for run in runs) if name not in unfinished]
    lines = open_scale(session.scale, "--scale", session.kit / "params.yaml").experiments

    def stands(name: str) -> bool:
        of = lines[name].of
        return of is None or (of in finished and stands(of))

    part.left_out += [
        f"{name}: {lines[name].of}, which it is of, is not finished" for name in finished if not stands(name)
    ]
    finished = [name for name in finished if stands(name)]
    if not finished:
        part.left_out.append("no experiment is finished")
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_params(session.kit / "params.yaml", folder / "params.yaml", device=session.device, experiments=finished)
    for name in ("templates", "reference"):
        shutil.copytree(ROOT / "reports" / name, folder / "reports" / name, dirs_exist_ok=True)
    aggregate = ["--params", str(folder / "params.yaml"), "--runs", str(folder / "runs")]
    aggregate += ["--tokens", str(session.kit / "tokens"), "--corpus", str(session.kit / "corpus")]
    aggregate += ["--out", str(folder / "reports")]
    for stage, words in (("aggregate", aggregate), ("report", ["--root", str(folder)])):
        session.minutes.say(f"report: {stage} of experiments {', '.join(finished)}")
        ended = session.attend(["-m", f"stages.{stage}", *words], stage, part.limit, stage)
        if not ended.done:
            part.failed(f"{stage}: {ended.why()}")
            return
