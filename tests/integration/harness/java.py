"""The machine's JDKs: programs of tests, compiled and run."""

import functools
import re
from pathlib import Path

from harness.processes import run

JAVA = Path("/usr/bin/java")
JDBC_DRIVER = Path("/usr/share/java/postgresql.jar")


@functools.cache
def newest_java() -> Path:
    found = {}
    for java in [JAVA, *Path("/usr/lib/jvm").glob("*/bin/java")]:
        if java.exists() and (version := re.search(r'version "(\d+)', run(java, "-version").stderr)):
            found[int(version[1])] = java.resolve()
    return found[max(found)] if found else JAVA


def compiled(source: Path, folder: Path, *class_path: Path) -> str | None:
    """Compiles a program for JDK 17 and newer. Returns its class path. Returns None if there is no compiler or if a
    part of the class path does not exist."""
    compiler = Path("/usr/bin/javac")
    if not compiler.exists() or not all(path.exists() for path in class_path):
        return None
    words = ["-cp", ":".join(map(str, class_path))] if class_path else []
    done = run(compiler, "--release", "17", *words, "-d", folder, source, timeout=120)
    assert done.returncode == 0, done.stderr
    return ":".join(map(str, [folder, *class_path]))
