"""Installs what bench/compare needs on this machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

_PEERS = ["pgbouncer", "stunnel4", "haproxy", "hitch", "nginx", "libnginx-mod-stream"]


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
        sys.exit(f"Packages are missing. Have an administrator run:\n    apt-get install {' '.join(missing)}")
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101  # start nothing: bench/compare is installing\n", encoding="ascii")
        policy.chmod(0o755)
    try:
        noninteractive = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *missing]
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=sys.stderr)
        subprocess.run(command, check=True, stdout=sys.stderr, stdin=subprocess.DEVNULL, env=noninteractive)
    finally:
        if ours:
            policy.unlink()
    # Nor after the next boot. Services that were there before are not ours to judge.
    services = [name for name in missing if name in _PEERS and not name.startswith("lib")]
    if services and shutil.which("systemctl"):
        subprocess.run(["systemctl", "disable", "--quiet", *services], check=False, stdout=sys.stderr)


def _installed(package):
    status = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(status, capture_output=True, text=True, check=False).stdout == "installed"
