"""A pgveil whose configuration changes while it runs."""

import pathlib
import re

from harness.pgveil import toml


def replace_file(file: pathlib.Path, content: str) -> None:
    """At once: a pgveil that reads the file in this moment reads the old content or the new one, and not a part of it."""
    new = file.with_name(f"{file.name}.new")
    new.touch(0o600)
    new.write_text(content, encoding="utf-8")
    new.rename(file)


class Reloadable:
    """A pgveil whose file is written again before each reload."""

    def __init__(self, folder, pgveil, configuration):
        self.configuration = configuration
        self.file = folder / "reloaded.toml"
        self.write()
        self.proxy = pgveil(flags=["--config", self.file], listeners=len(configuration["listener"]))

    def write(self):
        replace_file(self.file, toml(self.configuration))

    def reload(self) -> list[str]:
        self.write()
        return self.proxy.reload()

    def reload_successfully(self) -> list[str]:
        lines = self.reload()
        assert re.search(r" I reloaded trigger=SIGHUP duration_ms=\d+$", lines[-1]), "\n".join(lines)
        return lines

    def reload_in_vain(self) -> list[str]:
        lines = self.reload()
        assert " E reload_failed trigger=SIGHUP errors=" in lines[-1], "\n".join(lines)
        assert "pgveil continues with the configuration that it had" in lines[-1]
        return lines
