"""The command `dinolite`: train, eval, show, explore, features, search, export, recipes, lab,
check.

Mistakes of the user end in one sentence and exit code 2; `--debug` shows the traceback instead, and
`--offline` refuses every connection to another machine.
"""

from __future__ import annotations

import ipaddress
import json
import os
import platform
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from dinolite import __version__

app = typer.Typer(
    help="DINOv3 in miniature: train, evaluate and look at self-supervised vision transformers.",
    epilog="A mistake ends in one sentence; --debug, anywhere, shows the traceback as well. "
    "--offline, anywhere, refuses every connection to another machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DATA = "folder:PATH, or the name of a data set (`dinolite check` lists them)."
Run = Annotated[Path, typer.Argument(help="Folder of a run, as made by `dinolite train`.")]
Model = Annotated[
    str, typer.Argument(help="Folder of a run, file of weights, or name, such as dinolite_tiny.")
]
Recipe = Annotated[
    str | None, typer.Argument(help="A packaged recipe (see `dinolite recipes`) or a .toml file.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Changes, such as optim.lr.peak=1e-3 student.depth=6.")
]

# Each command imports what it needs: `dinolite --help` does not wait for torch.


@app.command()
def train(
    recipe: Recipe = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where results go, otherwise runs/RECIPE; a run there goes on."),
    ] = None,
    data: Annotated[str | None, typer.Option(help=DATA)] = None,
    allow_changes: Annotated[
        bool, typer.Option(help="Continue a run although settings have changed.")
    ] = False,
    report: Annotated[bool, typer.Option(help="Evaluate and draw at the end.")] = True,
) -> None:
    """Train a recipe (without one: `demo`, or `folder` where --data names a folder) to its end, or
    go on with a run that was interrupted."""
    from dinolite.config import load_config
    from dinolite.parallel import is_main
    from dinolite.train.early_end import RunStopped
    from dinolite.train.train import train as run

    changes = list(overrides or [])
    if recipe is not None and "=" in recipe:  # no recipe: the first word is already a change
        changes, recipe = [recipe, *changes], None
    recipe = recipe or ("folder" if (data or "").startswith("folder:") else "demo")
    out = out or Path("runs", Path(recipe).stem)
    changes += [f"data.dataset={data}"] if data is not None else []
    config = load_config(recipe, [*changes, f"train.output_dir={out}"])
    if is_main():
        typer.echo(f"recipe {recipe} -> {out}")
    try:
        run(config, show="bar" if sys.stdout.isatty() else "lines", allow_changes=allow_changes)
    except RunStopped as stopped:
        if is_main():
            again = shlex.join(["dinolite", *sys.argv[1:]])
            typer.echo(f"{stopped}; the same command goes on:\n  {again}", err=True)
        raise typer.Exit(128 + stopped.signal) from None
    if report and is_main():
        evaluate(out)
        show(out)


@app.command("eval")
def evaluate(
    run: Run,
    data: Annotated[str | None, typer.Option(help="Other labelled pictures: " + DATA)] = None,
) -> None:
    """k-NN, linear probe and segmentation of a run, beside raw pixels and an untrained net."""
    from dinolite.report import evaluate_run, open_finished, print_table

    print_table(evaluate_run(open_finished(run), data))


@app.command()
def show(run: Run) -> None:
    """Draw report.html for a run: neighbours, groups, similarity, PCA, attention, curves."""
    from dinolite.report import draw_report, open_finished

    typer.echo(f"report: {draw_report(open_finished(run))}")


@app.command()
def explore(
    weights: Annotated[
        list[str] | None,
        typer.Argument(help="Names, files or folders of runs; otherwise dinolite_tiny."),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="A folder of pictures, of which six are shown.")
    ] = None,
    side: Annotated[
        int | None, typer.Option(help="Pixels of the squares shown [48 patches].")
    ] = None,
    port: Annotated[int, typer.Option(help="0 = any free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open it in the browser.")] = True,
) -> None:
    """Point at a patch, see its like in this and other pictures: a page for this machine only."""
    from dinolite.explore.server import launch

    launch(weights or ["dinolite_tiny"], pictures, side, port, browser, typer.echo)


@app.command()
def features(
    model: Model,
    folder: Annotated[Path, typer.Argument(help="Its pictures, and those of its sub-folders.")],
    out: Annotated[Path, typer.Option(help="The file written, ending in .safetensors.")],
    what: Annotated[str, typer.Option(help="cls, mean (of the patches) or patches.")] = "cls",
    size: Annotated[
        int | None, typer.Option(help="Pictures are scaled to so many pixels squared [16 patches].")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Pictures in one pass.")] = 32,
    half: Annotated[bool, typer.Option("--half", help="Store 16 bits a number.")] = False,
) -> None:
    """Write a vector (or a map of them) for every picture of a folder, with the pictures' names.
    After an interruption the same command goes on."""
    from dinolite.eval.embeddings import GRID, Reading, write_embeddings
    from dinolite.explore.gallery import training_data
    from dinolite.metrics import progress_bar
    from dinolite.models.pretrained import load
    from dinolite.parallel import pick_device

    net = load(model)
    pixels = size or GRID * net.patch_size
    data = training_data(model)
    colours = net.pixel_mean, net.pixel_std, data.grey
    how = Reading(what, pixels, *colours, half, data.value_range)
    words = {"model": model, "folder": str(folder)}
    with progress_bar() as bar:
        task = bar.add_task("features", total=None, info="")

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        net = net.to(pick_device())
        n, skipped = write_embeddings(net, folder, out, how, batch_size, words, show)
    typer.echo(f"{out}: {n} pictures, {how.what} of {net.embed_dim} numbers, {how.size} pixels")
    if skipped:
        typer.echo(f"{len(skipped)} files left out, see {out}.skipped.txt; the first: {skipped[0]}")


@app.command()
def search(
    file: Annotated[Path, typer.Argument(help="Written by `dinolite features`.")],
    picture: Annotated[str, typer.Argument(help="A picture file, or a picture's name in FILE.")],
    top: Annotated[int, typer.Option(help="How many are named.")] = 10,
    sheet: Annotated[Path | None, typer.Option(help="Draw them into this PNG.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the pictures are now [as when FILE was written].")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model, where it has moved [as when FILE was written].")
    ] = None,
) -> None:
    """Name the pictures most like one, with their cosine similarity."""
    from dinolite.data.decoding import read_picture, show_path
    from dinolite.eval.embeddings import asked_row, most_alike, read_embeddings
    from dinolite.models.pretrained import load

    found = read_embeddings(file)
    place = folder or Path(found.words["folder"])
    if not place.is_dir() and (sheet is not None or picture not in found.names):
        raise ValueError(f"{place} is not a folder here; --folder says where the pictures are now")
    row = asked_row(found, picture, lambda: load(model or found.words["model"]))
    asked = place / picture if picture in found.names else Path(picture)
    pictures = {asked.resolve(): ""} | {(place / n).resolve(): n for n in found.names}
    if sheet is not None and (sheet.suffix != ".png" or sheet.resolve() in pictures):
        raise ValueError(f"sheet = {sheet} must end in .png and be none of the pictures")
    alike = most_alike(found, row, top, pictures[asked.resolve()])
    for name, cosine in alike:
        typer.echo(f"{cosine:.3f}  {show_path(name)}")
    if sheet is not None:
        from dinolite.viz.similarity import search_figure
        from dinolite.viz.style import png_bytes

        words = [f"{cosine:.3f}\n{show_path(Path(name).name)[-20:]}" for name, cosine in alike]
        files, seen = [asked, *(place / name for name, _ in alike)], found.how.value_range
        query, *others = (read_picture(file, 256, value_range=seen) for file in files)
        sheet.write_bytes(png_bytes(search_figure(query, list(zip(words, others, strict=True)))))
        typer.echo(f"sheet: {sheet}")


@app.command()
def export(
    model: Model,
    onnx: Annotated[Path | None, typer.Option(help="Write an ONNX file.")] = None,
    program: Annotated[Path | None, typer.Option(help="Write torch.export's .pt2 file.")] = None,
) -> None:
    """Write a model for other programs: normalised pictures of any number and size in, CLS and
    patches out; compared with the model before it is done."""
    from dinolite.explore.gallery import training_data
    from dinolite.models.export import write_onnx, write_program
    from dinolite.models.pretrained import load

    if onnx is None and program is None:
        raise ValueError("nothing to write: give --onnx FILE or --program FILE")
    net = load(model)
    grey = training_data(model).grey
    colours = {"mean": net.pixel_mean, "std": net.pixel_std, "grey": grey}
    words = {name: json.dumps(value) for name, value in colours.items()}
    for write, path in ((write_onnx, onnx), (write_program, program)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            typer.echo(f"{path}: differs from the model by {write(net, path, words):.1e} at most")


@app.command()
def recipes() -> None:
    """List the packaged recipes: what each is for, what it costs and reaches."""
    from dinolite.config import recipe_header, recipe_names

    for name in recipe_names():
        typer.echo(f"{name}\n{recipe_header(name)}\n")


MISSING = "is not installed; from a clone: pip install -e '.[course]'"


@app.command()
def lab(
    folder: Annotated[Path, typer.Argument(help="Folder with notebooks.")] = Path("lessons"),
    port: Annotated[int, typer.Option(help="The first one tried.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open it in the browser.")] = True,
) -> None:
    """Open the lessons in JupyterLab, on this machine only; the address holds a token."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; start `dinolite lab` where lessons/ is")
    if find_spec("jupyterlab") is None:
        raise ValueError(f"JupyterLab {MISSING}")
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # as in most containers
    settings = ["ip=127.0.0.1", f"port={port}", "allow_remote_access=False", f"root_dir={folder}"]
    settings += ["max_body_size=33554432", "max_buffer_size=33554432"]  # of an upload, in bytes
    settings += [f"open_browser={browser}", f"allow_root={root}"]
    command = [sys.executable, "-m", "jupyterlab", *(f"--ServerApp.{s}" for s in settings)]
    raise typer.Exit(subprocess.call(command))


@app.command()
def check(
    recipe: Recipe = None,
    overrides: Overrides = None,
    exercises: Annotated[
        bool, typer.Option("--exercises", help="Which exercises of the lessons are solved?")
    ] = False,
) -> None:
    """Check this installation, or the settings of a recipe, which are printed in full."""
    from dinolite.config import load_config, to_toml

    if recipe is not None:
        typer.echo(to_toml(load_config(recipe, overrides or [])))
        return
    for line in solved_exercises() if exercises else describe_installation():
        typer.echo(line)


def describe_installation() -> Iterator[str]:
    """One line each for versions, device, data sets, recipes and a picture sent through a backbone,
    which raise where something of this is amiss."""
    from importlib.metadata import version

    import torch

    from dinolite.config import load_config, recipe_names
    from dinolite.data.datasets import SPECS
    from dinolite.models.vision_transformer import build_backbone
    from dinolite.parallel import pick_device

    names = [f"{name} {version(name)}" for name in ("torch", "torchvision", "timm")]
    yield f"dinolite {__version__}, Python {platform.python_version()}, {', '.join(names)}"
    device = pick_device()
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else f"{os.cpu_count()} cores"
    yield f"device: {device} ({name}, {torch.get_num_threads()} threads)"
    for recipe in recipe_names():
        load_config(recipe)
    yield f"recipes: {', '.join(recipe_names())}"
    yield f"data sets: {', '.join(SPECS)}"
    backbone = build_backbone(load_config("demo").student, teacher=True).eval().to(device)
    feature = backbone(torch.zeros(1, 3, 32, 32, device=device))  # [1, D]
    if not bool(feature.isfinite().all()):
        raise RuntimeError(f"{device} gave features that are not finite; try another torch version")
    yield "a picture went through the demo's backbone: ok"


def solved_exercises() -> list[str]:
    """A line for each lesson, from whatever course is installed beside this package."""
    from importlib.metadata import entry_points

    try:
        found = [line for e in entry_points(group="dinolite.exercises") for line in e.load()()]
    except ModuleNotFoundError as error:  # the course is there, and a package that it needs is not
        raise ValueError(f"{error.name} {MISSING}") from None
    if not found:
        raise ValueError(f"the course {MISSING}")
    return found


# --- --offline: no byte leaves this machine ---

OFFLINE = "DINOLITE_OFFLINE"  # the environment variable by which programs of ours hand it on
WATCHED = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}


class OfflineError(OSError):
    """Something wanted to reach another machine."""


def forbid_network() -> None:
    """From here on, in this process and those forked from it, Python's own hook for security audits
    refuses every connection to another machine and every look-up of its name, whichever library
    tries; there is no way back. The command `dinolite`, started later, reads the environment and
    does the same."""
    os.environ[OFFLINE] = os.environ["HF_HUB_OFFLINE"] = "1"
    sys.addaudithook(refuse_other_machines)


def refuse_other_machines(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: an OfflineError for a connection to another machine, or for its name."""
    if event not in WATCHED:
        return
    target = arguments[0] if event.startswith("socket.get") else arguments[-1]
    host = target[0] if isinstance(target, tuple) else target
    if isinstance(host, bytes):
        host = host.decode("utf8", "replace")
    named = isinstance(host, str) and not host.startswith(("/", "\0"))  # or a socket in a folder
    if named and host and not is_this_machine(host):
        raise OfflineError(f"something wanted to reach {host}, and --offline forbids it")


def is_this_machine(host: str) -> bool:
    """Is it this machine's name or address? "0.0.0.0" and "::" mean all of its own addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified


def main() -> None:
    """Entry point: sentences for mistakes, tracebacks only with --debug."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # decoding.py says what is wrong
    arguments = [a for a in sys.argv[1:] if a not in ("--debug", "--offline")]
    if "--offline" in sys.argv or os.environ.get(OFFLINE):
        forbid_network()
    try:
        app(args=arguments, prog_name="dinolite")
    except (ValueError, RuntimeError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(f"dinolite: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
