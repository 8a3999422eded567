"""Read by every Python that the tests start (kernels, commands, workers): none reaches out. What
refuses is imported when a socket is first used, so that starting costs nothing."""

import sys


def refuse(event: str, arguments: tuple) -> None:
    """An audit hook; where dinolite cannot be imported, no socket can be used at all."""
    if event.startswith("socket."):
        from dinolite.cli import refuse_other_machines

        refuse_other_machines(event, arguments)


sys.addaudithook(refuse)
