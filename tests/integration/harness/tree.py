"""Other Debians than the machine's, without touching the machine: folders of a cache, entered with chroot. Tree has
nothing but a newer PostgreSQL, of packages of sid that are unpacked and not installed; System is a whole Debian, where
apt-get works."""

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from harness.processes import environment, run

SUITE = "sid"
VERSION = "18"
PACKAGES = f"postgresql-{VERSION},postgresql-client-{VERSION},openssl"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgveil-tests"


class Unavailable(Exception):
    """Says why there is no such tree here."""


class Tree:
    """`shared` is a directory that programs see under the same name inside and outside."""

    def __init__(self, shared: Path):
        if os.geteuid() != 0:
            raise Unavailable("a tree of Debian packages can be made and entered by root only")
        if not Path("/usr/sbin/debootstrap").exists():
            raise Unavailable("debootstrap is not installed")
        self.root = CACHE / f"{SUITE}-postgresql-{VERSION}"
        self.shared = shared
        if not (self.root / "complete").exists():
            try:
                self._make()
            except (OSError, subprocess.SubprocessError) as error:
                raise Unavailable(f"the tree of Debian {SUITE} cannot be made: {error}") from error
        (self.root / str(shared).lstrip("/")).mkdir(parents=True, exist_ok=True)

    def command(self, program: str, *arguments, user: str | None = None) -> list[str]:
        """Runs a program of PostgreSQL inside; the mounts go with its process."""
        account = pwd.getpwnam(user or "root")
        words = [
            f"--userspec={account.pw_uid}:{account.pw_gid}", str(self.root),
            "/usr/bin/env", f"PATH=/usr/lib/postgresql/{VERSION}/bin:/usr/bin", program, *map(str, arguments),
        ]  # fmt: skip
        script = f"""
            mount --bind '{self.shared}' '{self.root}{self.shared}' &&
            mount --bind /dev '{self.root}/dev' && mount -t tmpfs none '{self.root}/dev/shm' &&
            mount -t proc none '{self.root}/proc' &&
            exec /usr/sbin/chroot "$@"
        """
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *words]

    def _make(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        packages = self.root.with_suffix(".packages")
        shutil.rmtree(packages, ignore_errors=True)
        self.root.mkdir(parents=True)
        loaded = subprocess.run(
            ["debootstrap", "--download-only", "--variant=minbase", f"--include={PACKAGES}", SUITE, packages,
             debian_mirror()],
            capture_output=True, text=True, timeout=240, env=environment(PATH="/usr/sbin:/usr/bin:/sbin:/bin"),
        )  # fmt: skip
        if loaded.returncode != 0:
            raise Unavailable(f"Debian {SUITE} cannot be loaded: {loaded.stdout[-300:]}{loaded.stderr[-300:]}")
        for package in sorted((packages / "var/cache/apt/archives").glob("*.deb")):
            subprocess.run(["dpkg-deb", "--extract", package, self.root], check=True)
        shutil.rmtree(packages)
        # What a script of base-passwd would have written.
        accounts = [pwd.getpwnam("root"), pwd.getpwnam("postgres")]
        lines = [f"{a.pw_name}:x:{a.pw_uid}:{a.pw_gid}::/:/bin/sh\n" for a in accounts]
        (self.root / "etc/passwd").write_text("".join(lines))
        # Sid may be between two states of itself.
        server = f"/usr/lib/postgresql/{VERSION}/bin/postgres"
        subprocess.run(["/usr/sbin/chroot", self.root, server, "--version"], check=True, capture_output=True)
        (self.root / "complete").touch()


class System:
    """A Debian of that suite, small at first, and kept with all that is done in it."""

    def __init__(self, name: str, suite: str):
        if os.geteuid() != 0:
            raise Unavailable("another Debian can be made and entered by root only")
        if not Path("/usr/sbin/debootstrap").exists():
            raise Unavailable("debootstrap is not installed")
        self.root = CACHE / name
        if not (self.root / "complete").exists():
            self._make(suite)

    def command(self, *words) -> list[str]:
        """Runs a program inside; the mounts go with its process."""
        script = f"""
            mount --bind /dev '{self.root}/dev' && mount -t proc none '{self.root}/proc' &&
            exec /usr/sbin/chroot '{self.root}' "$@"
        """
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *map(str, words)]

    def _make(self, suite: str) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        made = run(
            "debootstrap", "--variant=minbase", "--include=ca-certificates", suite, self.root, debian_mirror(),
            timeout=400, env=environment(PATH="/usr/sbin:/usr/bin:/sbin:/bin"),
        )  # fmt: skip
        if made.returncode != 0:
            raise Unavailable(f"Debian {suite} cannot be made: {made.stdout[-300:]}{made.stderr[-300:]}")
        no_services = self.root / "usr/sbin/policy-rc.d"
        no_services.write_text("#!/bin/sh\nexit 101\n")
        no_services.chmod(0o755)
        (self.root / "complete").touch()


def debian_mirror() -> str:
    """The one from which this machine gets its own packages."""
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for source in sources:
        if source.is_file():
            for url in re.findall(r"^(?:URIs:|deb\b(?: \[.*\])?)\s*(https?://\S+)", source.read_text(), re.MULTILINE):
                if "security" not in url:
                    return url.rstrip("/")
    raise Unavailable("no Debian mirror stands in the apt sources")
