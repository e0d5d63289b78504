#!/usr/bin/env python3
"""Compares each #include of the code with the table of layers: tests/layers.py CHECKOUT LAYERS.

LAYERS is the table that CMake wrote: a line for each layer, from the bottom to the top, with its name, its folders
(separated by commas) and the layers that it uses. Exit code 0 means: no include is wrong, and each edge of the table that
is used would be found if it were reversed.
"""

import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)

# What only some layers may include of other people's headers.
ONLY_IN = {"openssl/": {"tls"}, "re2/": {"protocol"}, "idna.h": {"protocol"}, "stringprep.h": {"protocol"}, "ares.h": {"base"},
           "liburing.h": {"net"}, "toml++/": {"config"}, "CLI/": {"commands"}}


# Our folders, which are included with quotation marks.
OURS = ("protocol/", "tls/", "proxy/", "tests/", "bench/")


def read_table(text):
    """Layers in order: name -> (folders, used layers)."""
    table = {}
    for line in text.splitlines():
        name, folders, *uses = line.split()
        table[name] = (folders.split(","), uses)
    return table


def files_of(checkout, folders):
    for folder in folders:
        for pattern in ("*.h", "*.cc"):
            yield from sorted((checkout / folder).glob(pattern))


def errors_of(checkout, table):
    """One sentence for each wrong include, and for each use of a layer that is not below."""
    layer_of = {folder: name for name, (folders, _) in table.items() for folder in folders}
    errors = []
    below = set()
    for name, (folders, uses) in table.items():
        errors += [f"{name} uses {used}, which is not below it in the table" for used in uses if used not in below]
        below.add(name)
        for file in files_of(checkout, folders):
            for kind, header in INCLUDE.findall(file.read_text()):
                where = f"{file.relative_to(checkout)} includes {header}"
                if kind == "<":
                    if header.startswith(OURS) or header.endswith(".cc"):
                        errors.append(f"{where} as a header of other people")
                    errors += [f"{where}, which only {sorted(layers)} may" for start, layers in ONLY_IN.items()
                               if header.startswith(start) and name not in layers]
                    continue
                folder = str(Path(header).parent)
                if not header.endswith(".h"):
                    errors.append(f"{where}, which is not a header")
                elif folder not in layer_of:
                    errors.append(f"{where}, which is in no layer")
                elif layer_of[folder] not in {name, *uses}:
                    errors.append(f"{where}, but {name} does not use {layer_of[folder]}")
                elif folder.endswith("/internal") and layer_of[folder] != name:
                    errors.append(f"{where}, which is internal to {layer_of[folder]}")
    # The program may include every layer.
    main = (checkout / "proxy/main.cc").read_text()
    errors += [f"proxy/main.cc includes {header}, which is not a header of a layer" for kind, header in INCLUDE.findall(main)
               if (kind == "<" and header.startswith(OURS)) or header.endswith(".cc")]  # fmt: skip
    return errors


def unused_edges(checkout, table):
    """Edges of the table without which nothing would be wrong."""
    for name, (folders, uses) in table.items():
        for used in uses:
            without = table | {name: (folders, [other for other in uses if other != used])}
            if not errors_of(checkout, without):
                yield f"{name} uses {used} according to the table, but includes nothing of it"


def main(checkout, table_file):
    checkout = Path(checkout)
    table = read_table(Path(table_file).read_text())
    errors = errors_of(checkout, table)
    if not errors:
        errors = list(unused_edges(checkout, table))
    print(*errors, sep="\n")
    return 1 if errors or len(table) < 3 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
