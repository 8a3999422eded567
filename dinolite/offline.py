"""No byte leaves this machine: Python's own hook for security audits refuses every connection and
every look-up of a name that is not this machine's, whichever library tries.
"""

import ipaddress
import os
import sys
from typing import Any

VARIABLE = "DINOLITE_OFFLINE"
WATCHED = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}


class OfflineError(OSError):
    """Something wanted to reach another machine."""


def forbid_network() -> None:
    """From here on, in this process and those forked from it; there is no way back. Other Python
    programs of ours that are started later read the environment and do the same."""
    os.environ[VARIABLE] = os.environ["HF_HUB_OFFLINE"] = "1"
    sys.addaudithook(refuse)


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """The hook.

    Raises:
        OfflineError: a connection to another machine, or the look-up of its name.
    """
    if event not in WATCHED:
        return
    target = arguments[0] if event.startswith("socket.get") else arguments[-1]
    host = target[0] if isinstance(target, tuple) else target
    if isinstance(host, bytes):
        host = host.decode("utf8", "replace")
    if not isinstance(host, str) or host == "" or host.startswith(("/", "\0")):
        return  # no name, or a socket in the file system
    if not is_here(host):
        raise OfflineError(f"something wanted to reach {host}, and --offline forbids it")


def is_here(host: str) -> bool:
    """Is it this machine's name or address? "0.0.0.0" and "::" mean all of its own addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified
