"""Reads what callgrind wrote: how many instructions were run outside libcrypto.

What libcrypto calls of the C library is libcrypto's, too: its 2,300 allocations in a handshake would hide the
hundred of pgveil. So the costs of files are not simply added up: what is subtracted are the calls that enter
libcrypto, with all that happens in them; where libcrypto calls back, such as into pgveil's BIO, that is pgveil's
again. Only tls/memory.cc, by which libcrypto comes to the C library's memory, is libcrypto's.

libuv's own instructions are not counted: it spins while another thread is about to ring its bell, thousands of them
or none, as it happens."""

LIBCRYPTO, LIBUV, C_LIBRARY, OTHERS = "libcrypto", "libuv", "the C library", "others"
_MEMORY = "_for_openssl("  # in the names of what tls/memory.cc gives to OpenSSL


def instructions_outside_libcrypto(path):
    """Of a whole callgrind.out file."""
    total = 0
    files, functions = {}, {}  # what a number stands for
    part = caller = callee = OTHERS
    is_call = False  # the next cost is that of a call, from `caller` to `callee`
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            key, equals, value = line.rstrip("\n").partition("=")
            if equals and key.isalpha():
                if key == "ob":
                    part = caller = callee = _part(_name(value, files))
                elif key == "fn":
                    caller = callee = LIBCRYPTO if _MEMORY in _name(value, functions) else part
                elif key == "cob":
                    callee = _part(_name(value, files))
                elif key == "cfn" and _MEMORY in _name(value, functions):
                    callee = LIBCRYPTO
                elif key == "calls":
                    is_call = True
            elif line[0] in "+-*0123456789":
                cost = int(line.split()[1])
                if not is_call:
                    total += cost if caller != LIBUV else 0
                elif {caller, callee} == {OTHERS, LIBCRYPTO}:
                    total += cost if caller == LIBCRYPTO else -cost
                if is_call:
                    is_call, callee = False, caller
    return total


def _name(value, known):
    """A name is written in full once, behind its number: "(17) /usr/bin/x", then "(17)"."""
    number, _, name = value.partition(" ")
    if name:
        known[number] = name
    return known[number]


def _part(path):
    """Whose a file is. The C library is its caller's: nothing in it is entered from libcrypto alone or left for it.
    Callgrind does not know the file of what libcrypto calls by way of its procedure linkage table."""
    name = path.rpartition("/")[2]
    if name.startswith("libcrypto.so") or path == "???":
        return LIBCRYPTO
    if name.startswith("libuv.so"):
        return LIBUV
    if name.startswith(("libc.so", "ld-linux")):
        return C_LIBRARY
    return OTHERS
