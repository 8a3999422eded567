"""One prepared run for a machine with one large GPU, nine minutes at most, in stages by value: is
the GPU path right, how fast is it, a larger net trained on it, does the host wait. Each stage
is a process with its own time limit, and each result is a line of records.jsonl as soon as it is
there: what fails or takes too long does not stop the next.

    python -m tools.gpu_run pack windows photos64.zip      # data/gpu, 35 MB, ignored by git
    python -m tools.gpu_run run --rehearsal                # all of it, tiny, on the CPU
    python -m tools.gpu_run run
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
from torch import Tensor

from benchmarks import backbone, memory, roofline, step
from benchmarks.record import device, environment
from benchmarks.runs import Run, open_recipe
from benchmarks.timing import synchronize
from dinolite.checkpointer import checkpoints, load_checkpoint
from dinolite.config import Config, load_config
from dinolite.data.datasets import load_pictures
from dinolite.eval.features import extract_features
from dinolite.metrics import peak_memory
from dinolite.models.pretrained import save_backbone
from dinolite.run_folder import commit
from dinolite.train.early_end import NonFiniteError, RunStopped
from dinolite.train.train import make_state, train, train_step

ROOT = Path(__file__).resolve().parents[1]
DATA, OUT = Path("data/gpu"), Path("benchmarks/records/gpu")
TRAIN, FEW = "train.zip", "few.zip"
RECORDS, LOG, WEIGHTS, TRACE = "records.jsonl", "log.txt", "weights.safetensors", "trace.json.gz"
MEGA = 1e6
MAX_WEIGHTS = 12 * MEGA  # bytes
MAX_TRACE = 15 * MEGA
GRACE = 15  # seconds between the request to end and the end
RESERVE = 40  # seconds of training's stage for all but the steps
LARGER = (
    *("student.embed_dim=192", "student.depth=12", "student.num_heads=3", "student.ffn_ratio=4.0"),
    *("student.drop_path_rate=0.1", "train.batch_size_per_gpu=512", "train.compile=false"),
    *("dino.head_n_prototypes=1024", "dino.head_hidden_dim=512", "dino.head_bottleneck_dim=128"),
    *("ibot.head_n_prototypes=4096", "ibot.head_bottleneck_dim=128", "crops.local_crops_number=6"),
    *("crops.color_jitter_prob=0.8", "crops.grayscale_prob=0.3", "teacher.temp={peak=0.04}"),
    'teacher.momentum={kind="cosine", peak=0.99, end=1.0}',
)
"""Changes of the recipe: 5.4 million numbers, 10.8 MB in float16. Not compiled: in so short a run
compiling might not pay."""
PEAK = 1.5e-3  # of the larger net's learning rate
TINY = (
    *("student.embed_dim=16", "student.depth=1", "student.num_heads=1"),
    *("dino.head_n_prototypes=16", "ibot.head_n_prototypes=16", "dino.head_hidden_dim=16"),
    *("ibot.head_hidden_dim=16", "train.batch_size_per_gpu=4", "crops.local_crops_number=2"),
    *("crops.global_crops_size=32", "crops.local_crops_size=16", "evaluation.dataset=none"),
)


class Sizes(NamedTuple):
    """How much is measured."""

    steps: int
    rounds: int
    side: int
    nets: dict[str, int]
    """Named sizes, and pictures in a batch."""
    iterations: int | None
    """Of training; None = as many as there is time for."""
    more: tuple[str, ...]
    """Changes of every recipe."""


FULL = Sizes(20, 8, 224, {"vit_small": 128, "vit_large": 64}, None, ())
REHEARSAL = Sizes(2, 2, 32, {"vit_small": 1}, 3, TINY)


@dataclass
class Job:
    """What a stage is to do."""

    out: Path
    data: Path
    until: float
    """When it must have ended, in seconds as `time.time` counts them."""
    recipe: str
    changes: list[str]
    sizes: Sizes
    on_the_cpu: list[float] = field(default_factory=list)
    """The losses of the steps to compare with, once they are known."""

    def overrides(self, *more: str, file: str = FEW) -> list[str]:
        """Settings for a recipe on the packed pictures."""
        place = json.dumps(f"folder:{self.data / file}")
        pictures = f"data.dataset={place}", "data.image_size=none", "evaluation.dataset=none"
        return [*pictures, *more, *self.changes, *self.sizes.more]

    def open(self, *more: str) -> Run:
        """The recipe at its first step, on the GPU."""
        return open_recipe(self.recipe, self.overrides(*more))


Result = dict[str, Any]


def write(out: Path, stage: str, what: str, **values: Any) -> None:
    """One line more in records.jsonl, at once on the disk."""
    with open(out / RECORDS, "a", encoding="utf8") as file:
        file.write(json.dumps({"stage": stage, "what": what, **values}) + "\n")
        file.flush()
        os.fsync(file.fileno())


# --- (a) is the GPU path right? ---


def losses(job: Job, to: torch.device, *more: str) -> Result:
    """The total loss and the seconds of each step, and the most memory; no dropped samples, which a
    GPU would draw otherwise."""
    run = open_recipe(job.recipe, job.overrides("student.drop_path_rate=0.0", *more), to)
    found, seconds = [], []
    if to.type == "cuda":
        torch.cuda.reset_peak_memory_stats(to)
    for _ in range(job.sizes.steps):
        start = time.perf_counter()
        values = train_step(run.state, next(run.batches))
        found.append(values["total_loss"].item())  # waits for the GPU
        seconds.append(time.perf_counter() - start)
    return {"losses": found, "seconds": seconds, **peak_memory(to)}


def beside_the_cpu(job: Job, *more: str) -> Result:
    """The same steps on the GPU and, in float32, on the CPU: relative differences of the losses."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    alike = "train.compile=false", "train.precision=float32"
    job.on_the_cpu = job.on_the_cpu or losses(job, torch.device("cpu"), *alike)["losses"]
    here = losses(job, device(), *alike, *more)
    pairs = zip(here["losses"], job.on_the_cpu, strict=True)
    apart = [abs(a - b) / abs(b) for a, b in pairs]
    return {"first_step_apart": apart[0], "most_apart": max(apart), "cpu": job.on_the_cpu, **here}


def bfloat16(job: Job) -> Result:
    """The same in bfloat16."""
    return beside_the_cpu(job, "train.precision=bfloat16")


def compiled(job: Job) -> Result:
    """The same in bfloat16, compiled; the first steps' seconds are those of the compiler."""
    found = beside_the_cpu(job, "train.precision=bfloat16", "train.compile=true")
    counted = torch._dynamo.utils.counters
    return found | {"graphs": dict(counted["stats"]), "breaks": dict(counted["graph_break"])}


def not_a_number(job: Job) -> Result:
    """A NaN in a batch: no weight of the student changes, and the run stops."""
    run, stopped = job.open("train.compile=false"), ""
    train_step(run.state, next(run.batches))
    before = [p.detach().clone() for p in run.state.model.student.parameters()]
    batch = next(run.batches)
    batch.global_crops[0] = float("nan")
    try:
        train_step(run.state, batch)
        run.state.guard.check()
    except NonFiniteError as error:
        stopped = str(error)
    after = run.state.model.student.parameters()
    same = all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    return {"stopped": stopped, "weights_unchanged": same}


def features(job: Job) -> Result:
    """Features of the same net on the CPU and on the GPU."""
    state = job.open("train.compile=false").state
    net = state.model.teacher["backbone"]
    pictures = load_pictures(f"folder:{job.data / FEW}").pictures(range(8))
    size = 4 * state.config.student.patch_size
    here = extract_features(net, pictures, size=size).joined().cpu()
    there = extract_features(net.cpu(), pictures, size=size).joined()
    return {"most_apart": (here - there).abs().max().item(), "largest": there.abs().max().item()}


# --- (b) how fast is it? ---


def pretraining(job: Job, net: str, *more: str) -> list[str]:
    """Changes of the official recipe that make its net `net`."""
    s = job.sizes
    arch = f"student.arch={net}", f"train.batch_size_per_gpu={s.nets[net]}"
    return job.overrides(*arch, *more)


def rates(job: Job, net: str) -> Result:
    """A whole step beside the chip's measured rates; not compiled, or its operations could not be
    counted."""
    changes = pretraining(job, net, "train.compile=false")
    return asdict(roofline.measure("official_vitl_im1k", changes, job.sizes.rounds))


def parts(job: Job, net: str) -> Result:
    """Where the time of a compiled step goes."""
    changes = pretraining(job, net, "train.compile=true")
    return asdict(step.measure("official_vitl_im1k", changes, job.sizes.rounds))


def beside_timm(job: Job, net: str) -> Result:
    s = job.sizes
    return asdict(backbone.measure(net, s.nets[net], s.side, s.rounds, ("timm",)))


def kept(job: Job, net: str) -> Result:
    """Memory of a pass."""
    return asdict(memory.measure(net, min(4, job.sizes.nets[net]), job.sizes.side, ("timm",)))


# --- (c) a larger net ---


def training(job: Job) -> Result:
    """Train for the time that there is, and save the teacher in float16; if the time was not
    enough, as it was when the request to end came."""
    seconds = seconds_a_step(job.open(*LARGER))
    n = job.sizes.iterations or int((job.until - time.time() - RESERVE) / seconds)
    with tempfile.TemporaryDirectory() as place:
        config = config_of_training(job, n, place)
        try:
            train(config, show="lines")
        except RunStopped as stop:
            print(stop)
        shutil.copy(Path(place) / "metrics.jsonl", job.out / "train.jsonl")
        shutil.copy(Path(place) / "config.toml", job.out / "train.toml")
        state = make_state(config)
        done = load_checkpoint(checkpoints(Path(place))[-1], state.model, state.optimizer)
    colours = {"rgb_mean": config.crops.rgb_mean, "rgb_std": config.crops.rgb_std}
    facts = {"iterations": done["iteration"], "planned": n, "recipe": job.recipe, **colours}
    words = {name: json.dumps(value) for name, value in facts.items()} | {"commit": commit()}
    net, path = state.model.teacher["backbone"], job.out / WEIGHTS
    save_backbone(net, config.student, path, words, dtype=torch.float16)
    size = path.stat().st_size
    if size > MAX_WEIGHTS:
        raise ValueError(f"{path.name} has {size} bytes; allowed: {MAX_WEIGHTS:.0f}")
    return {"seconds_a_step": seconds, "bytes": size, **facts, "metrics": last_of(job.out)}


def seconds_a_step(run: Run, warm_up: int = 5) -> float:
    """With data; the first steps do not count."""
    steps = 3 * warm_up
    for i in range(warm_up + steps):
        if i == warm_up:
            synchronize()
            start = time.perf_counter()
        train_step(run.state, next(run.batches))
    synchronize()
    return (time.perf_counter() - start) / steps


def config_of_training(job: Job, iterations: int, folder: str) -> Config:
    """The larger net on all pictures, with k-NN on windows of the photographs it never sees."""
    warm = iterations // 20
    more = (
        f'optim.lr={{kind="warmup_cosine", peak={PEAK}, end=0.0, warmup={warm}}}',
        *(f"train.iterations={iterations}", f"train.output_dir={json.dumps(folder)}"),
        *(f"checkpointing.period={iterations}", "evaluation.dataset=windows"),
        f"evaluation.eval_period_iterations={-(-iterations // 4)}",
    )
    return load_config(job.recipe, job.overrides(*LARGER, *more, file=TRAIN))


def last_of(out: Path) -> Result:
    """The last value of everything that training logged, and every k-NN."""
    lines = [json.loads(line) for line in (out / "train.jsonl").read_text("utf8").splitlines()]
    last = {name: value for line in lines for name, value in line.items()}
    return last | {"knn": {str(x["iteration"]): x["knn"] for x in lines if "knn" in x}}


# --- (d) does the host wait? ---


def calm(job: Job, *more: str) -> Result:
    """Steps with their data while PyTorch takes every call that waits for the GPU for an error."""
    run = job.open(*LARGER, *more)
    for _ in range(3):
        train_step(run.state, next(run.batches))
    watched = device().type == "cuda"
    try:
        if watched:
            torch.cuda.set_sync_debug_mode("error")
        for _ in range(job.sizes.steps):
            train_step(run.state, next(run.batches))
    finally:
        if watched:
            torch.cuda.set_sync_debug_mode("default")
    return {"steps": job.sizes.steps, "watched": watched}


def calm_compiled(job: Job) -> Result:
    """The same, compiled."""
    return calm(job, "train.compile=true")


def trace(job: Job, steps: int = 3) -> Result:
    """The profiler's view of a few steps: calls that wait, copies, how busy the GPU is, and the
    kernels that take longest."""
    from torch.profiler import ProfilerActivity, profile

    run, cuda = job.open(*LARGER), device().type == "cuda"
    for _ in range(3):
        train_step(run.state, next(run.batches))
    synchronize()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as seen:
        start = time.perf_counter()
        for _ in range(steps):
            train_step(run.state, next(run.batches))
        issued = time.perf_counter() - start
        synchronize()  # the one call that may wait
        wall = time.perf_counter() - start
    path = job.out / TRACE
    seen.export_chrome_trace(str(path))
    if path.stat().st_size > MAX_TRACE:
        path.unlink()
    calls = Counter(e.name for e in seen.events() if e.name.startswith(("cuda", "Memcpy")))
    kernels = [e for e in seen.key_averages() if e.device_type.name == "CUDA"]
    kernels.sort(key=lambda e: -e.self_device_time_total)
    busy = sum(e.self_device_time_total for e in kernels) / MEGA
    longest = {e.key[:80]: e.self_device_time_total / 1e3 / steps for e in kernels[:15]}
    times = {"issued_s": issued / steps, "wall_s": wall / steps, "busy_s": busy / steps}
    return {"steps": steps, **times, "calls": dict(calls), "longest_ms": longest}


# --- the stages ---


class Stage(NamedTuple):
    """Seconds that it may take, and what it measures, once or of each net."""

    seconds: float
    measurements: tuple[Callable[..., Result], ...]
    of_nets: bool = False


STAGES = {
    "right": Stage(80, (beside_the_cpu, bfloat16, not_a_number, features, compiled)),
    "rates": Stage(100, (rates, beside_timm, kept, parts), of_nets=True),
    "training": Stage(300, (training,)),
    "trace": Stage(50, (calm, trace, calm_compiled)),
}


def do_stage(name: str, job: Job) -> bool:
    """All measurements of a stage, in order; one that fails is a record, too."""
    stage, all_well = STAGES[name], True
    nets = list(job.sizes.nets) if stage.of_nets else [None]
    for measure in stage.measurements:
        for net in nets:
            what, begin = f"{measure.__name__}{f' {net}' if net else ''}", time.perf_counter()
            try:
                values = measure(job, net) if net else measure(job)
            except Exception as error:
                traceback.print_exc()
                all_well, values = False, {"failed": f"{type(error).__name__}: {error}"[:500]}
            write(job.out, name, what, took_s=time.perf_counter() - begin, **values)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    return all_well


def attempt(command: list[str], seconds: float, log: Path, env: dict[str, str]) -> str:
    """Run a command in a process group of its own: "done", "failed" or "out of time"."""
    with open(log, "a", encoding="utf8") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, start_new_session=True, cwd=ROOT, env=env
        )
        try:
            return "failed" if process.wait(timeout=max(seconds - GRACE, 0.1)) else "done"
        except subprocess.TimeoutExpired:
            return "out of time"
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the group to end, and end it after a grace."""
    for number, grace in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=grace)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue


app = typer.Typer(add_completion=False, help=__doc__)
Recipe = Annotated[str, typer.Option(help="the recipe whose larger form is trained")]
Changes = Annotated[list[str] | None, typer.Argument(help="section.key=value, for every stage")]


@app.command()
def run(
    changes: Changes = None,
    out: Annotated[Path, typer.Option(help="folder for records and weights")] = OUT,
    data: Annotated[Path, typer.Option(help="what `pack` made")] = DATA,
    recipe: Recipe = "tiny",
    minutes: Annotated[float, typer.Option(help="of all stages together")] = 9.0,
    rehearsal: Annotated[bool, typer.Option(help="tiny, on the CPU")] = False,
    only: Annotated[str, typer.Option(help="stages, with commas")] = ",".join(STAGES),
) -> None:
    """All stages, one after the other; fails if one did."""
    begin, names = time.time(), only.split(",")
    if unknown := [name for name in names if name not in STAGES]:
        raise typer.BadParameter(f"only = {unknown[0]!r}; allowed: {', '.join(STAGES)}")
    if missing := [name for name in (TRAIN, FEW) if not (data / name).is_file()]:
        raise typer.BadParameter(f"{data / missing[0]} is not there; `pack` makes it")
    if not (rehearsal or torch.cuda.is_available()):
        raise typer.BadParameter("there is no CUDA device; --rehearsal needs none")
    out.mkdir(parents=True, exist_ok=True)
    ends = {}
    write(out, "all", "environment", rehearsal=rehearsal, recipe=recipe, **environment())
    for name in names:
        start, left = time.time(), begin + 60 * minutes - time.time()
        seconds = min(STAGES[name].seconds, left)
        told = {"until": start + seconds - GRACE, "recipe": recipe, "rehearsal": rehearsal}
        told |= {
            "out": os.path.relpath(out, ROOT),
            "data": os.path.relpath(data, ROOT),
            "changes": changes or [],
        }
        command = [sys.executable, "-m", "tools.gpu_run", "stage", name, json.dumps(told)]
        env = os.environ | ({"CUDA_VISIBLE_DEVICES": ""} if rehearsal else {})
        ends[name] = "no time left"
        if left > GRACE:
            ends[name] = attempt(command, seconds, out / LOG, env)
        write(out, name, "end", how=ends[name], took_s=time.time() - start)
        print(f"{name}: {ends[name]}, {time.time() - start:.0f} s", flush=True)
    raise typer.Exit(int(set(ends.values()) != {"done"}))


@app.command(hidden=True)
def stage(name: str, told: str) -> None:
    """One stage, in a process that `run` starts."""
    job = json.loads(told)
    sizes = REHEARSAL if job.pop("rehearsal") else FULL
    out, data = Path(job.pop("out")), Path(job.pop("data"))
    raise typer.Exit(int(not do_stage(name, Job(out=out, data=data, sizes=sizes, **job))))


# --- the pictures that are carried along ---


@app.command()
def pack(
    sources: Annotated[list[Path], typer.Argument(help="folders or zips of pictures")],
    out: Annotated[Path, typer.Option(help="an ignored folder")] = DATA,
    megabytes: Annotated[float, typer.Option(help="at most, of all together")] = 35.0,
    side: Annotated[int, typer.Option(help="pixels")] = 96,
    quality: Annotated[int, typer.Option(help="of WebP, 1 to 100")] = 80,
) -> None:
    """Squares of one size out of all sources, an even share of the bytes each, in a zip: of a
    hundred one in test/, the others in train/; and a few of them in another zip."""
    out.mkdir(parents=True, exist_ok=True)
    few, left, number = 64, megabytes * MEGA - 44, 0  # the ends of two zips
    names = [str(source) for source in sources]
    with zipfile.ZipFile(out / TRAIN, "w") as whole, zipfile.ZipFile(out / FEW, "w") as part:
        for i, name in enumerate(names):
            pictures, before = load_pictures(f"folder:{name}"), number
            order = random.Random(0).sample(range(len(pictures)), len(pictures))
            share = left / (len(names) - i)
            for index in order:
                coded = squared(pictures[index], side, quality)
                entry = f"{'test' if number % 100 == 99 else 'train'}/{number:06d}.webp"
                twice = 1 + (number - before < few // len(names))
                cost = twice * (len(coded) + 76 + 2 * len(entry))  # with the two headers of a zip
                if cost > share:
                    break
                for archive in (whole, part)[:twice]:
                    archive.writestr(entry, coded)
                share, left, number = share - cost, left - cost, number + 1
            print(f"{name}: {number - before} of {len(pictures)} pictures")
    size = sum((out / file).stat().st_size for file in (TRAIN, FEW))
    print(f"{out}: {number} pictures of {side} px, {size / MEGA:.1f} MB")


def squared(picture: Tensor, side: int, quality: int) -> bytes:
    """The central square of a picture [3, h, w], scaled, as a WebP file."""
    from PIL import Image, ImageOps

    image = Image.fromarray(picture.permute(1, 2, 0).numpy())
    file = io.BytesIO()
    ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC).save(file, "WEBP", quality=quality)
    return file.getvalue()


if __name__ == "__main__":
    app()
