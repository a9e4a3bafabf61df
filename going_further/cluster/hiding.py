"""Who can reach a cluster: nobody, where it can have a network of its own."""

import contextlib
import fcntl
import os
import socket
import struct
import subprocess
import sys

# The network that the process was in before it hid.
_OUTSIDE = "CLUSTER_OUTSIDE_NETWORK"


def hide(exposed):
    """Begin anew in a network that holds nothing but a loopback address, where one can be made.

    TensorFlow's server asks nobody who they are, and serves whoever reaches the machine.

    Args:
      exposed: whether to go on where no such network can be made. Else the process ends, with
        status 1 and some lines.

    Returns: whether it is hidden.
    """
    outside = os.environ.pop(_OUTSIDE, None)
    if outside and outside != _network():
        switch_loopback(on=True)
        return True
    # Root needs no namespace of users, in which it would lose its right to others' files.
    for unshare in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        with contextlib.suppress(OSError):
            if subprocess.call([*unshare, "true"], stderr=subprocess.DEVNULL) == 0:
                os.environ[_OUTSIDE] = _network()
                again = [sys.executable, "-m", __package__, *sys.argv[1:]]
                os.execvp("unshare", unshare + again)
    if not exposed:
        sys.exit(
            "This system doesn't let the cluster hide from the network: whoever can reach this\n"
            "machine could read and change files of yours while the cluster runs. On a network\n"
            "that you trust, add --exposed (make cluster CLUSTER_FLAGS=--exposed)."
        )
    return False


def switch_loopback(on):
    """Switch this network's loopback interface on or off. It is off in a new network."""
    up = 1  # IFF_UP
    with contextlib.closing(socket.socket()) as any_socket:
        request = struct.pack("16sh22x", b"lo", up if on else 0)  # struct ifreq: name, flags
        fcntl.ioctl(any_socket, 0x8914, request)  # SIOCSIFFLAGS


def loopback_bytes():
    """How many bytes this network's loopback interface has carried."""
    with open("/proc/net/dev") as file:
        for line in file:
            name, _, counts = line.partition(":")
            if name.strip() == "lo":
                return int(counts.split()[0])
    raise OSError("this network has no loopback interface")


def _network():
    return os.readlink("/proc/self/ns/net")
