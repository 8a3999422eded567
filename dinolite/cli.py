"""The command `dinolite`: train, eval, show, lab, check.

Mistakes of the user end in one sentence and exit code 2; `--debug` shows the traceback instead.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="DINOv3 in miniature: train, evaluate and look at self-supervised vision transformers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Run = Annotated[Path, typer.Argument(help="Folder of a run, as made by `dinolite train`.")]


@app.command()
def train(
    recipe: Annotated[
        str | None,
        typer.Argument(help="A packaged recipe or a .toml file; see `dinolite recipes`."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes, such as optim.lr.peak=1e-3 or student.depth=6."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results. A run in it is continued.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="windows, scenes, photos, folder:PATH, cifar10, ...")
    ] = None,
    allow_changes: Annotated[
        bool, typer.Option(help="Continue a run although settings have changed.")
    ] = False,
    report: Annotated[bool, typer.Option(help="Evaluate and draw at the end.")] = True,
) -> None:
    """Train a recipe to its end, or go on with a run that was interrupted.

    Without a recipe: `demo`, or `folder` where --data names a folder.
    """
    from dinolite.config import load_config
    from dinolite.distributed import is_main
    from dinolite.train.train import train as run

    changes = list(overrides or [])
    if recipe is not None and "=" in recipe:  # no recipe, the first word is already a change
        changes, recipe = [recipe, *changes], None
    if recipe is None:
        recipe = "folder" if (data or "").startswith("folder:") else "demo"
    changes += [f"data.dataset={data}"] if data else []
    changes += (
        [f"train.output_dir={out}"] if out else [f"train.output_dir=runs/{Path(recipe).stem}"]
    )
    config = load_config(recipe, changes)
    for name in ("output_dir",):
        typer.echo(f"recipe {recipe} -> {getattr(config.train, name)}")
    result = run(config, progress=sys.stderr.isatty(), allow_changes=allow_changes)
    if report and is_main():
        evaluate_and_draw(result.folder)


def evaluate_and_draw(folder: Path) -> None:
    from dinolite.summary import draw_report, evaluate_run, print_table

    rows = evaluate_run(folder)
    print_table(rows)
    typer.echo(f"report: {draw_report(folder)}")


@app.command("eval")
def evaluate(run: Run) -> None:
    """k-NN, linear probe and patch segmentation of a run, beside pixels and an untrained net."""
    from dinolite.summary import evaluate_run, print_table

    print_table(evaluate_run(run))


@app.command()
def show(run: Run) -> None:
    """Draw report.html for a run: curves, attention, PCA, similarity, beside an untrained net."""
    from dinolite.summary import draw_report

    typer.echo(f"report: {draw_report(run)}")


@app.command()
def recipes() -> None:
    """List the packaged recipes with the first lines of each."""
    from dinolite.config import recipe_header, recipe_names

    for name in recipe_names():
        typer.echo(f"{name}\n{recipe_header(name)}\n")


@app.command()
def lab(
    folder: Annotated[Path, typer.Argument(help="Folder with notebooks.")] = Path("lessons"),
) -> None:
    """Open the lessons in JupyterLab, on this machine only."""
    import subprocess

    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; start `dinolite lab` where lessons/ is")
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", str(folder)]
    raise typer.Exit(subprocess.call(command))


@app.command()
def check(
    recipe: Annotated[str | None, typer.Argument(help="A recipe to check.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="Changes to it.")] = None,
) -> None:
    """Check this installation, or the settings of a recipe."""
    from dinolite.config import load_config, recipe_names, to_toml

    if recipe is not None:
        typer.echo(to_toml(load_config(recipe, overrides or [])))
        return
    for name in recipe_names():
        load_config(name)
        typer.echo(f"recipe {name}: ok")
    from dinolite.summary import check_installation

    for line in check_installation():
        typer.echo(line)


def main() -> None:
    """Entry point: sentences for mistakes, tracebacks only with --debug."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        app(args=arguments, prog_name="dinolite")
    except (ValueError, RuntimeError, OSError) as error:
        if debug:
            raise
        typer.echo(f"dinolite: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
