"""Linux namespaces and TUN devices by system call: what `ip netns` and `ip tuntap` do, without either.

Only for `namespace_keeper` and `namespace_enter`: it imports nothing but the standard library, and changes the
calling process.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x4004_54CA, 0x0001, 0x1000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFMTU = 0x8914, 0x8916, 0x891C, 0x8922
IFF_UP, IFF_RUNNING = 0x1, 0x40
DEVICE = "tun0"

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leave the namespaces of these kinds for new ones. Raises OSError."""
    _checked(_libc.unshare(flags), "unshare")


def set_namespace(handle: int, kind: int) -> None:
    """Enter the namespace that `handle` is open on. Raises OSError."""
    _checked(_libc.setns(handle, kind), "setns")


def _checked(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def new_namespaces() -> None:
    """A user namespace in which this process may make networks, and a network of it. The user stays who it is.

    Raises:
        OSError: the kernel does not permit it.
    """
    user, group = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
    except PermissionError:
        unshare(CLONE_NEWNET)  # an administrator in a container that may have no users of its own
        return
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def open_tun(address: str, prefix: int, mtu: int) -> int:
    """A TUN device in the network of this thread, up, with its address; and the loopback device up.

    Returns:
        A non-blocking handle: one read or write is one IP packet.

    Raises:
        OSError: no such device, or not permitted.
    """
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _silence_ipv6()
        fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            _configure(control, address, prefix, mtu)
    except OSError:
        os.close(handle)
        raise
    return handle


def _configure(control: socket.socket, address: str, prefix: int, mtu: int) -> None:
    up = struct.pack("16sH22x", b"lo", IFF_UP | IFF_RUNNING)
    fcntl.ioctl(control, SIOCSIFFLAGS, up)
    fcntl.ioctl(control, SIOCSIFADDR, _with_address(address))
    fcntl.ioctl(control, SIOCSIFNETMASK, _with_address(socket.inet_ntoa(struct.pack("!I", (0xFFFF_FFFF << (32 - prefix)) & 0xFFFF_FFFF))))
    fcntl.ioctl(control, SIOCSIFMTU, struct.pack("16si20x", DEVICE.encode(), mtu))
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", DEVICE.encode(), IFF_UP | IFF_RUNNING))


def _silence_ipv6() -> None:
    """No router is looked for over a link that would have to carry it."""
    try:
        with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w", encoding="ascii") as file:
            file.write("1")
    except OSError:
        pass  # there is no IPv6, or it may not be changed: the shaper drops what is not IPv4


def _with_address(address: str) -> bytes:
    return struct.pack("16sHH4s16x", DEVICE.encode(), socket.AF_INET, 0, socket.inet_aton(address))
