"""Network namespaces. One has a line on which every packet takes its time: its only device is a tun(4) that the tests hold by its
other end. Whatever is sent to `FAR` comes back from there to `NEAR`, late: what listens on NEAR is reached at FAR. Another has a
name server of the test's own, and another an /etc and a PostgreSQL as on a Debian server."""

import collections
import contextlib
import ctypes
import fcntl
import os
import select
import socket
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

    def entered(self):
        """This thread makes its sockets inside."""
        return inside(self._namespace)


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
        self._is_cut = False
        self._thread = None
        super().__init__()

    def _begin(self) -> None:
        with self.entered():  # a tun belongs where it was opened
            self._tun = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(self._tun, TUNSETIFF, struct.pack("16sH22x", b"line", IFF_TUN | IFF_NO_PI))
        self.ip(f"addr add {NEAR}/24 dev line", "link set line up", "link set lo up")
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


@contextlib.contextmanager
def inside(namespace: str):
    with open("/proc/thread-self/ns/net", "rb") as before, open(namespace, "rb") as there:
        move_to(there)
        try:
            yield
        finally:
            move_to(before)


def move_to(namespace) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Names:
    """A network of its own, with nothing but loopback and a name server of the test's own, and its own /etc/hosts. What
    `answers` says of a name: an address, SILENT (no answer ever comes), or nothing (there is no such name)."""

    SILENT = "silent"

    def __init__(self, folder, hosts: str = "127.0.0.1 localhost\n", options: str = ""):
        if os.geteuid() != 0:
            raise Unavailable("a network namespace can be made by root only")
        self.answers: dict[str, str] = {}
        self.questions: list[str] = []
        (folder / "resolv.conf").write_text(f"nameserver 127.0.0.1\n{options}", encoding="ascii")
        (folder / "hosts").write_text(hosts, encoding="ascii")
        mounts = " && ".join(f"mount --bind {folder}/{name} /etc/{name}" for name in ("resolv.conf", "hosts"))
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "setpriv", "--pdeathsig", "KILL", "--", "sh", "-c",
             f"{mounts} && /usr/sbin/ip link set lo up && echo made && exec sleep 600"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._socket = None
        said = self._holder.stdout.readline()
        if said != "made\n":
            self.remove()
            raise Unavailable(f"there is no network namespace with files of its own: {said.strip()}")
        namespaces = f"/proc/{self._holder.pid}/ns"
        self._namespace = f"{namespaces}/net"
        self.prefix = ("nsenter", f"--net={namespaces}/net", f"--mount={namespaces}/mnt", "--")
        with self.entered():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind(("127.0.0.1", 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def entered(self):
        """This thread makes its sockets inside."""
        return inside(self._namespace)

    def asked_for(self, name: str) -> int:
        return self.questions.count(name)

    def remove(self) -> None:
        if self._socket:
            with self.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", ("127.0.0.1", 53))
            self._thread.join()
            self._socket.close()
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()

    def _serve(self) -> None:
        while True:
            packet, sender = self._socket.recvfrom(4096)
            if not packet:
                return
            labels, at = [], 12
            while length := packet[at]:
                labels.append(packet[at + 1 : at + 1 + length].decode())
                at += 1 + length
            name = ".".join(labels).lower()
            question = packet[12 : at + 5]
            (kind,) = struct.unpack("!H", packet[at + 1 : at + 3])
            self.questions.append(name)
            answer = self.answers.get(name)
            if answer == self.SILENT:
                continue
            data = b""
            if answer and kind == 1 and not name.endswith(".arpa"):
                data = socket.inet_aton(answer)
            elif answer and kind == 12:
                data = b"".join(bytes([len(label)]) + label.encode() for label in answer.split(".")) + b"\0"
            record = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data if data else b""
            header = packet[:2] + struct.pack("!HHHHH", 0x8180 if answer else 0x8183, 1, bool(data), 0, 0)
            self._socket.sendto(header + question + record, sender)


class DebianServer:
    """A network, /etc, and folders of PostgreSQL of its own, with the cluster `main` that Debian's package makes: root can
    follow a guide for a whole machine there."""

    def __init__(self, folder, version: int):
        if os.geteuid() != 0:
            raise Unavailable("a network namespace can be made by root only")
        layers = folder / "layers"
        steps = [
            f"mount -t tmpfs tmpfs {layers} && mkdir {layers}/upper {layers}/work",
            f"mount -t overlay overlay -o lowerdir=/etc,upperdir={layers}/upper,workdir={layers}/work /etc",
            *(f"mount -t tmpfs tmpfs {path}" for path in ("/run", "/var/lib/postgresql", "/var/log/postgresql")),
            "install --directory --owner=postgres /run/postgresql",
            "chown postgres: /var/lib/postgresql",
            "rm -rf /etc/postgresql/*",
            "/usr/sbin/ip link set lo up",
            f"pg_createcluster {version} main --datadir={folder}/cluster --start >{folder}/createcluster.log 2>&1",
            "echo made && exec sleep 600",
        ]
        layers.mkdir()
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "setpriv", "--pdeathsig", "KILL", "--", "sh", "-c",
             " && ".join(steps)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        said = self._holder.stdout.readline()
        if said != "made\n":
            self.remove()
            raise Unavailable(f"there is no namespace with an /etc of its own: {said.strip()}")
        namespaces = f"/proc/{self._holder.pid}/ns"
        self.prefix = ("nsenter", f"--net={namespaces}/net", f"--mount={namespaces}/mnt", "--")

    def remove(self) -> None:
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()


@contextlib.contextmanager
def port_in_use_at(address: str):
    """A port that is in use at this address, and free at 127.0.0.1."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while True:
        with socket.create_server((address, 0), family=family) as held:
            port = held.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError:
                continue
            yield port
            return
