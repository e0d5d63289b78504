"""A line on which every packet takes its time: a namespace whose only device is a tun(4) that the tests hold by its
other end. Whatever is sent to `FAR` comes back from there to `NEAR`, late: what listens on NEAR is reached at FAR."""

import collections
import contextlib
import ctypes
import fcntl
import os
import select
import struct
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000

NEAR, FAR = "10.99.0.1", "10.99.0.2"
ONE_WAY = 0.02  # seconds, on the line that tests get
ROUND_TRIP = 2 * ONE_WAY


class Unavailable(Exception):
    """Says why there is no such line here."""


class Namespace:
    """A network namespace with a loopback device that is down; it lasts until remove()."""

    def __init__(self):
        if os.geteuid() != 0:
            raise Unavailable("a network namespace can be made by root only")
        self._holder = subprocess.Popen(
            ["unshare", "--net", "setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", "echo made && exec sleep 600"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            said = self._holder.stdout.readline()
            if said != "made\n":
                raise OSError(said.strip())
            self._namespace = f"/proc/{self._holder.pid}/ns/net"
            self.prefix = ("nsenter", f"--net={self._namespace}", "--")  # of a command that is to run inside
            self._begin()
        except (OSError, subprocess.SubprocessError) as error:
            self.remove()
            raise Unavailable(f"there is no network namespace: {error}") from error

    def _begin(self) -> None:
        """Makes the devices."""

    def remove(self) -> None:
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()

    def ip(self, *commands: str) -> None:
        for words in commands:
            subprocess.run([*self.prefix, "/usr/sbin/ip", *words.split()], check=True, capture_output=True)

    def set(self, name: str, value: str) -> None:
        """A setting of sysctl(8)."""
        path = "/proc/sys/" + name.replace(".", "/")
        subprocess.run([*self.prefix, "sh", "-c", 'echo "$1" > "$2"', "sh", value, path], check=True)

    @contextlib.contextmanager
    def entered(self):
        """This thread makes its sockets inside."""
        with open("/proc/thread-self/ns/net", "rb") as outside, open(self._namespace, "rb") as inside:
            move_to(inside)
            try:
                yield
            finally:
                move_to(outside)


LINK_LOCAL = "fe80::99"


class AddressedNamespace(Namespace):
    """Has addresses that are not loopback, NEAR and LINK_LOCAL, although its only device is `lo`."""

    def _begin(self) -> None:
        self.ip("link set lo up", f"addr add {NEAR}/32 dev lo", f"-6 addr add {LINK_LOCAL}/64 dev lo nodad")


class SlowLine(Namespace):
    """Each way takes `one_way` seconds."""

    def __init__(self, one_way: float):
        self._one_way = one_way
        self._stopping, self._stop = os.pipe()
        self._tun = -1
        self._thread = None
        self._is_cut = False
        super().__init__()

    def _begin(self) -> None:
        with self.entered():  # a tun belongs where it was opened
            self._tun = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(self._tun, TUNSETIFF, struct.pack("16sH22x", b"line", IFF_TUN | IFF_NO_PI))
        self.ip(f"addr add {NEAR}/24 dev line", "link set line up")
        self._thread = threading.Thread(target=self._reflect, args=(self._one_way,), daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """From now on every packet is lost, and nobody is told."""
        self._is_cut = True

    def remove(self) -> None:
        os.write(self._stop, b"!")
        if self._thread:
            self._thread.join()
        for descriptor in (self._tun, self._stopping, self._stop):
            if descriptor >= 0:
                os.close(descriptor)
        super().remove()

    def _reflect(self, one_way: float) -> None:
        """Where source and destination change places, the sums of IPv4 and TCP stay right."""
        under_way: collections.deque = collections.deque()
        while True:
            patience = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
            ready, _, _ = select.select([self._tun, self._stopping], [], [], patience)
            if self._stopping in ready:
                return
            if self._tun in ready:
                packet = os.read(self._tun, 65536)
                if packet[0] >> 4 == 4 and not self._is_cut:
                    under_way.append((time.monotonic() + one_way, packet[:12] + packet[16:20] + packet[12:16] + packet[20:]))
            while under_way and under_way[0][0] <= time.monotonic():
                os.write(self._tun, under_way.popleft()[1])


def move_to(namespace) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
