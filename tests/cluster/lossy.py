"""A link between two network namespaces that loses what it is told to lose.

Arguments: a process in each of the two. Each gets a device `link0`, 10.77.0.1 and 10.77.0.2; this
script is the wire between them. Lines on stdin: `loss PERCENT`, where 100 is a link that was cut.
"""
import ctypes
import fcntl
import os
import random
import select
import struct
import subprocess
import sys

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def enter(pid):
    with open(f"/proc/{pid}/ns/net") as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def device(pid, address, peer):
    enter(pid)
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH14s", b"link0", IFF_TUN | IFF_NO_PI, b""))
    for words in (
        ["link", "set", "lo", "up"],
        ["addr", "add", address, "peer", peer, "dev", "link0"],
        ["link", "set", "link0", "up"],
    ):
        subprocess.run(["ip", *words], check=True)
    return tun


one = device(sys.argv[1], "10.77.0.1", "10.77.0.2")
two = device(sys.argv[2], "10.77.0.2", "10.77.0.1")
other = {one: two, two: one}
print("ready", flush=True)
loss = 0.0
while True:
    for ready in select.select([one, two, 0], [], [])[0]:
        if ready == 0:
            words = os.read(0, 100).split()
            if not words:
                sys.exit()
            loss = float(words[-1]) / 100
        else:
            packet = os.read(ready, 65536)
            if random.random() >= loss:
                os.write(other[ready], packet)
