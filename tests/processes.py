"""Processes that tests start: forks of one that has imported torch and dinolite (`preloaded`), so
that a start takes no seconds. Several that train together, and the command `dinolite`."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from dinolite import cli, parallel

FORKS = "forkserver" in multiprocessing.get_all_start_methods()
METHOD = "forkserver" if FORKS else "spawn"  # on Windows, where each start imports all again


def prepare() -> None:
    """Before the first fork."""
    if FORKS:
        multiprocessing.set_forkserver_preload(["tests.preloaded"])


def together(world: int, folder: Path, job: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `job(world, *arguments)` returns in each of so many gloo processes, by rank."""
    prepare()
    meet = folder / f"meet{world}"
    meet.mkdir()
    work = world, str(meet), job, arguments
    mp.start_processes(rank_of, work, nprocs=world, start_method=METHOD)
    return [torch.load(meet / f"{rank}.pt", weights_only=False) for rank in range(world)]


def rank_of(rank: int, world: int, meet: str, job: Callable[..., Any], arguments: Any) -> None:
    """One of them."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{meet}/meet", rank=rank, world_size=world)
    torch.save(job(world, *arguments), f"{meet}/{rank}.pt")
    parallel.barrier()  # nobody leaves while another still talks, as in `parallel.processes`
    dist.destroy_process_group()


def forked(job: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """A process that does this job."""
    prepare()
    process = multiprocessing.get_context(METHOD).Process(target=job, args=arguments)
    process.start()
    return process


def dinolite(
    *arguments: str, cwd: Path, largest_file: int | None = None
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own; no file may get larger than so many bytes."""
    if not FORKS:
        words = [sys.executable, "-m", "dinolite.cli", *arguments]
        return subprocess.run(words, cwd=cwd, capture_output=True, text=True)
    readers, writers = zip(*(multiprocessing.Pipe(duplex=False) for _ in range(2)), strict=True)
    process = forked(command, arguments, cwd, writers, largest_file)
    for writer in writers:
        writer.close()
    with ThreadPoolExecutor() as both:
        said = both.map(lambda reader: os.fdopen(os.dup(reader.fileno())).read(), readers)
    process.join()
    assert process.exitcode is not None
    return subprocess.CompletedProcess(arguments, process.exitcode, *said)


def command(
    arguments: list[str], cwd: Path, words: list[Connection], largest_file: int | None
) -> None:
    """What that process does: its output goes into pipes."""
    for number, pipe in enumerate(words, 1):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    os.environ["COLUMNS"] = "100"
    os.chdir(cwd)
    sys.argv = ["dinolite", *arguments]
    if largest_file is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    cli.main()


def torchrun(*words: str, logs: Path) -> str:
    """torchrun itself, with forks; what its processes printed.

    Raises:
        AssertionError: one of them failed; the message has what it said.
    """
    import torch.distributed.elastic.multiprocessing.errors as elastic_errors
    import torch.distributed.run as elastic

    prepare()
    place = words.index("-m")
    assert words[place + 1] == "dinolite.cli"
    script = str(Path(cli.__file__))
    how = ["--start-method", METHOD, "--log-dir", str(logs), "--redirects", "3"]
    handlers = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        elastic.main([*words[:place], *how, "--run-path", script, *words[place + 2 :]])
    except elastic_errors.ChildFailedError:
        said = [path.read_text()[-2000:] for path in logs.rglob("stderr.log")]
        raise AssertionError("\n".join(said)) from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return "".join(path.read_text() for path in sorted(logs.rglob("stdout.log")))
