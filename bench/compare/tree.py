"""The newest of everything without touching the machine: a Debian sid in a cache folder, made by debootstrap and
entered by chroot. Servers, proxies and clients of a measurement all come from there, and pgveil is built there, with
its compiler and against its OpenSSL. What is in it stays as it is until the folder is deleted."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from common import Failure, environment, run

SUITE = "sid"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgveil-bench"
PEERS = ["postgresql-18", "postgresql-client-18", "pgbouncer", "odyssey", "haproxy", "stunnel4", "hitch",
         "nginx", "libnginx-mod-stream"]  # fmt: skip
_MOUNTS_OF_OUR_OWN = 0x00020000  # CLONE_NEWNS


class Tree:
    """`source` is the checkout that build() compiles."""

    def __init__(self, source):
        if os.geteuid() != 0:
            raise Failure("a tree of Debian packages can be made and entered by root only")
        self.root = CACHE / SUITE
        self.built = CACHE / "build"
        self.missing = []  # packages that this sid does not have at the moment
        self._source = source
        self._mount_for_us_alone()
        if not (self.root / "complete").exists():
            self._make()
        self._mount("--rbind", "/dev", "dev")
        self._mount("-t", "proc", "none", "proc")
        self._mount("-t", "tmpfs", "none", "dev/shm")
        self._mount("--rbind", "/sys", "sys")
        self._mount("-t", "tmpfs", "-o", "mode=1777", "none", "tmp")
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n", encoding="ascii")
        self._install()
        self.account = self._account("postgres")

    # --- for Workplace: see workplace.Here

    def enter(self):
        return ["chroot", f"--userspec={self.account.pw_uid}:{self.account.pw_gid}", "--groups=", str(self.root)]

    def share(self, directory):
        self._mount("--bind", directory, str(directory).lstrip("/"))

    # --- pgveil

    def build(self):
        """Compiles what is measured; returns the folder with the programs."""
        self.built.mkdir(exist_ok=True)
        self._mount("--bind", "-o", "ro", self._source, "src")
        self._mount("--bind", self.built, "build")
        preset = ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DPGVEIL_TESTS=OFF", "-DPGVEIL_BENCH=ON"]
        self._inside("cmake", "-S", "/src", "-B", "/build", "-G", "Ninja", "-Wno-dev", *preset)
        self._inside("ninja", "-C", "/build", "pgveil", "pump")
        return self.built

    # --- the tree itself

    def _mount_for_us_alone(self):
        """From here on nobody else sees our mounts, and they end with this script."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_MOUNTS_OF_OUR_OWN) != 0:
            raise Failure(f"mounts of our own are not allowed: {os.strerror(ctypes.get_errno())}")
        run("mount", "--make-rprivate", "/")

    def _mount(self, *words):
        target = self.root / words[-1]
        target.mkdir(parents=True, exist_ok=True)
        run("mount", *words[:-1], target)

    def _make(self):
        if not Path("/usr/sbin/debootstrap").exists():
            raise Failure("debootstrap is not installed")
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, self.root, debian_mirror()]
        self._call(command)
        no_services = self.root / "usr/sbin/policy-rc.d"
        no_services.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
        no_services.chmod(0o755)
        clusters = self.root / "etc/postgresql-common/createcluster.d/pgveil-bench.conf"
        clusters.parent.mkdir(parents=True)
        clusters.write_text("create_main_cluster = false\n", encoding="ascii")
        # A mirror may stand still, and the date in its signed index may have passed; the signature is checked all
        # the same. And nothing of this has to survive a loss of power.
        (self.root / "etc/apt/apt.conf.d/90pgveil-bench").write_text(
            'Acquire::Check-Valid-Until "false";\nDpkg::Options { "--force-unsafe-io"; };\n', encoding="ascii"
        )
        (self.root / "complete").touch()

    def _install(self):
        """What is missing; what sid does not have just now is noted, for it may be between two states of itself."""
        wanted = [*PEERS, *build_packages(self._source)]
        listed = self._dpkg("--show", "--showformat=${Package} ${db:Status-Status}\n").splitlines()
        installed = {line.split()[0] for line in listed if line.endswith(" installed")}
        missing = [name for name in wanted if name not in installed]
        if not missing:
            return
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        self._inside("apt-get", "update", "-qq")
        self.missing = [name for name in missing if not self._can_be_installed(name)]
        vital = set(self.missing) - set(PEERS[2:])
        if vital:
            raise Failure(f"Debian {SUITE} cannot install {', '.join(sorted(vital))} at the moment")
        found = [name for name in missing if name not in self.missing]
        if found:
            self._inside("apt-get", "install", "-qq", "--yes", "--no-install-recommends", *found)
        self._inside("apt-get", "clean")

    def _can_be_installed(self, package):
        trial = self._command("apt-get", "install", "-qq", "--simulate", "--no-install-recommends", package)
        return subprocess.run(trial, env=environment(), capture_output=True, check=False).returncode == 0

    def _dpkg(self, *words):
        return run(*self._command("dpkg-query", *words))

    def _account(self, name):
        for line in (self.root / "etc/passwd").read_text(encoding="utf-8").splitlines():
            words = line.split(":")
            if words[0] == name:
                return SimpleNamespace(pw_uid=int(words[2]), pw_gid=int(words[3]))
        raise Failure(f"the tree has no account {name}")

    def _command(self, *words):
        return ["chroot", str(self.root), *map(str, words)]

    def _inside(self, *words):
        """As root; what it says goes to standard error."""
        self._call(self._command(*words))

    def _call(self, command):
        noninteractive = environment(DEBIAN_FRONTEND="noninteractive", HOME="/root")
        done = subprocess.run(command, env=noninteractive, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
        if done.returncode != 0:
            raise Failure(f"{' '.join(map(str, command))}: exit code {done.returncode}")


def build_packages(source):
    """What deploy/install-dependencies knows to be needed, but for ccache: here the compiler runs once."""
    script = (source / "deploy/install-dependencies").read_text(encoding="utf-8")
    words = re.search(r'\[build\]="([^"]*)"', script)
    if not words:
        raise Failure("deploy/install-dependencies has no set of packages called build")
    return [*(word for word in words[1].split() if word != "ccache"), "libbenchmark-dev"]


def debian_mirror():
    """The one from which this machine gets its own packages."""
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for source in sources:
        if source.is_file():
            text = source.read_text(encoding="utf-8")
            for url in re.findall(r"^(?:URIs:|deb\b(?: \[.*\])?)\s*(https?://\S+)", text, re.MULTILINE):
                if "security" not in url and "debian" in url:
                    return url.rstrip("/")
    raise Failure("no Debian mirror stands in the apt sources")
