"""What bench/compare and bench/guard have in common: the checkout, programs that must succeed, certificates, and the
port of the fake server."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Failure(Exception):
    """The measurement cannot go on; the text says why."""


def environment(**extra):
    """Returns an environment without the caller's PG* and PGVEIL_* variables and password files."""
    return {
        "PATH": PATH,
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
        "PGPASSFILE": "/nonexistent/.pgpass",
        "PGCONNECT_TIMEOUT": "20",
        **extra,
    }


def run(*command, timeout=120.0, **settings):
    """Runs a program that must succeed, to its end; returns what it wrote."""
    command = [str(word) for word in command]
    settings.setdefault("env", environment())
    settings.setdefault("stdin", subprocess.DEVNULL)
    settings.setdefault("stdout", subprocess.PIPE)
    try:
        done = subprocess.run(
            command, stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout, check=False, **settings
        )
    except OSError as error:
        raise Failure(f"{command[0]}: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{' '.join(command)}: not done after {timeout:.0f} seconds") from error
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout or ''}{done.stderr}")
    return done.stdout or ""


class Authority:
    """A CA (ECDSA P-256) for some days, with its files in a folder: ca.crt and ca.key."""

    def __init__(self, folder, name):
        self._folder = folder
        self._make("ca", name)

    def issue(self, file, name, usage, alternative_names=None):
        """Makes FILE.crt and FILE.key. `usage`: serverAuth or clientAuth; `alternative_names` as OpenSSL writes them."""
        extensions = ["basicConstraints=CA:FALSE", f"extendedKeyUsage={usage}"]
        if alternative_names:
            extensions.insert(0, f"subjectAltName={alternative_names}")
        self._make(file, name, "-CA", self._folder / "ca.crt", "-CAkey", self._folder / "ca.key",
                   *(word for extension in extensions for word in ("-addext", extension)))  # fmt: skip
        (self._folder / f"{file}.key").chmod(0o600)

    def _make(self, file, name, *words):
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "3"]
        run("openssl", "req", "-x509", *new_key, "-keyout", self._folder / f"{file}.key",
            "-out", self._folder / f"{file}.crt", "-subj", f"/CN={name}", *words)  # fmt: skip


def port_of(pump):
    """On which port of 127.0.0.1 a process of `pump serve` listens, as it says once it does."""
    words = pump.stdout.readline().split()
    if len(words) != 2 or words[0] != "port":
        raise Failure("pump does not start")
    return int(words[1])
