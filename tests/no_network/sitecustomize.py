"""Put on PYTHONPATH, it refuses every way out of this machine and writes down who tried.

An audit hook sees the call in C, whatever library makes it, in this process and, through the
inherited environment, in every Python process it starts. It cannot be removed again.
"""

import ipaddress
import os
import sys
import traceback

LOG = os.environ.get("LATHE_TEST_SOCKET_LOG")
LOCAL_NAMES = {"", "localhost", "ip6-localhost", None}


def is_local(host):
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host in LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(str(host).split("%")[0])
    except ValueError:
        return False  # a name: finding its address already tells somebody
    return address.is_loopback or address.is_unspecified


def target(event, arguments):
    """The host that a socket call is about, or None when it has none."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        return address[0] if isinstance(address, tuple) and address else None
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        return arguments[0]
    return None


def refuse(event, arguments):
    if not event.startswith("socket."):
        return
    host = target(event, arguments)
    if is_local(host):
        return
    with open(LOG, "a", encoding="utf-8") as log:
        log.write(f"{event} {host} in {sys.argv}\n")
        log.write("".join(traceback.format_stack(limit=12)))
    raise OSError(f"{event} to {host} is refused: this process may not leave the machine")


if LOG:
    sys.addaudithook(refuse)
