"""What the report says of the machine and the run."""

import os
import platform
import re
import resource
from pathlib import Path

from common import Failure, run

_DESCRIPTORS = 1 << 16  # 10,000 sessions are 20,000 sockets in a proxy


def openssl_version(place):
    """Of the library that everything measured uses."""
    listed = place.run("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n")
    package = re.search(r"^(libssl3\S*) installed", listed, re.MULTILINE)[1]
    return place.run("dpkg-query", "--show", "--showformat=${Version}", package).partition("-")[0]


def commit(root):
    try:
        head = run("git", "-C", root, "-c", f"safe.directory={root}", "rev-parse", "--short=12", "HEAD").strip()
        changed = run("git", "-C", root, "-c", f"safe.directory={root}", "status", "--porcelain", "-uno").strip()
        return head + (" with changes" if changed else "")
    except (Failure, OSError):
        return "unknown"


def describe(newest):
    information = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2].strip() for line in information.splitlines() if line.startswith("model name")]
    system = re.search(r'^PRETTY_NAME="(.*)"$', Path("/etc/os-release").read_text(encoding="utf-8"), re.MULTILINE)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    name = system.group(1) if system else "Linux"
    return {
        "processors": os.cpu_count(),
        "processor": models[0] if models else platform.machine(),
        "memory_gib": pages / (1 << 30),
        "system": f"{name} with everything measured in Debian sid" if newest else name,
        "kernel": platform.release(),
        "virtual": "virtual machine" if " hypervisor" in information else "no hypervisor seen",
        "others": [],
    }


def most_sessions():
    """How many a proxy can have open, two sockets each, with as many descriptors as we can get for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (max(hard, _DESCRIPTORS), hard, soft):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
        except (ValueError, OSError):
            continue
        return min((wanted - 200) // 2, _DESCRIPTORS // 4)
    raise Failure("the limit of open files cannot be read")
