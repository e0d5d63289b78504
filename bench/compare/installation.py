"""Installs what bench/compare/run needs on this machine, and leaves the services of this machine as they are."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from common import Failure

_PEERS = ["pgbouncer", "stunnel4", "haproxy", "hitch", "nginx", "libnginx-mod-stream"]
_SERVICES = [name for name in _PEERS if not name.startswith("lib")]
_POLICY = Path("/usr/sbin/policy-rc.d")
_OURS = "bench/compare/run is installing"


def install(root, newest, plots):
    """Packages that are missing, and nothing that listens: Debian starts a service when its package comes."""
    wanted = ["openssl", "strace", *(["python3-matplotlib"] if plots else [])]
    if newest:
        wanted.append("debootstrap")
    else:
        subprocess.run([root / "deploy/install-dependencies", "build", "demo"], check=True, stdout=sys.stderr)
        wanted += _PEERS
    missing = [name for name in wanted if not _installed(name)]
    if not missing:
        return
    if os.geteuid() != 0:
        raise Failure(f"packages are missing. Have an administrator run:\n    apt-get install {' '.join(missing)}")
    before = services_now()
    ours = not _POLICY.exists() or _OURS in _POLICY.read_text(encoding="utf-8", errors="replace")
    if ours:
        _POLICY.write_text(f"#!/bin/sh\nexit 101  # start nothing: {_OURS}\n", encoding="ascii")
        _POLICY.chmod(0o755)
    try:
        noninteractive = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *missing]
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=sys.stderr)
        subprocess.run(command, check=True, stdout=sys.stderr, stdin=subprocess.DEVNULL, env=noninteractive)
    finally:
        if ours:
            _POLICY.unlink()
        restore_services(before)


def services_now():
    """Of each peer's service whether it starts at boot, in the words of systemctl, and whether it is active."""
    if not shutil.which("systemctl"):
        return {}
    return {name: (_systemctl("is-enabled", name), _systemctl("is-active", name)) for name in _SERVICES}


def restore_services(before):
    """What was there before stays as it was. What is new starts neither now nor at the next boot."""
    now = services_now()
    for name, (enabled, active) in before.items():
        enabled_now, active_now = now[name]
        if enabled_now == "enabled" and enabled != "enabled":
            _systemctl("disable", name)
        elif enabled == "enabled" and enabled_now == "disabled":
            _systemctl("enable", name)
        if active_now == "active" and active != "active":
            _systemctl("stop", name)
        elif active == "active" and active_now != "active":
            _systemctl("start", name)


def _systemctl(verb, name):
    done = subprocess.run(["systemctl", "--quiet", verb, name] if verb not in ("is-enabled", "is-active")
                          else ["systemctl", verb, name],
                          capture_output=True, text=True, check=False)  # fmt: skip
    return done.stdout.strip()


def _installed(package):
    status = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(status, capture_output=True, text=True, check=False).stdout == "installed"
