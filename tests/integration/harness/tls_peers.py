"""Other implementations of TLS as peers of pgveil: tunnels, each a program of one connection that takes PostgreSQL's
bytes in on one side and speaks TLS on the other. Their sources are in peers/.

    PEER client|server TARGET_PORT CERTIFICATE KEY AUTHORITY REKEY_OCTETS

The tunnel listens on a free port of 127.0.0.1 and writes `port N`; connects to TARGET_PORT when somebody has come; and
does what follows SSLRequest as the client on the connection that it has made, or as the server on the one that it has
accepted. After REKEY_OCTETS in a direction it sends a KeyUpdate that asks for the peer's, if its library can; 0: never.
At the end it writes `version=V sent=N received=N`: the numbers of KeyUpdates, -1 if it does not know. All goes to
standard error."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.java import JAVA, compiled, newest_java
from harness.processes import environment, run

SOURCES = Path(__file__).parents[1] / "peers"
KEY_LIMITS = ("AES/GCM/NoPadding", "ChaCha20-Poly1305")
JSSE_SENT = "Produced KeyUpdate post-handshake message"
JSSE_RECEIVED = "Consuming KeyUpdate post-handshake message"

# Set by tests/tls-peers: all peers.
IS_WHOLE_RUN = "TLS_PEERS_ALL" in os.environ

# Set by tests/tls-peers: the pgveil under test has new keys every few records, for the peers that do not ask for them.
HAS_SHORT_KEYS = "TLS_PEERS_SHORT_KEYS" in os.environ


class Missing(Exception):
    """Says what is not installed, or cannot be used here."""


@dataclass(frozen=True)
class Peer:
    command: Callable[[Path], list]  # makes the program in a folder; raises Missing
    version: Callable[[], str]
    sends_key_updates: bool = False
    why_not: str = ""  # it does not send KeyUpdates
    short_keys: str = ""  # why it is not tested with HAS_SHORT_KEYS
    is_costly: bool = False  # to compile or to start: not in the regular run
    # After how many octets it does, of so many each way.
    rekey_octets: Callable[[int], int] = lambda octets: REKEY_OCTETS


def needed(*paths: str) -> None:
    for path in paths:
        if not Path(path).exists():
            raise Missing(f"{path} does not exist")


def first_line(*command) -> str:
    done = run(*command)
    return (done.stdout + done.stderr).strip().splitlines()[0]


def package_version(package: str) -> str:
    return run("dpkg-query", "--show", "--showformat=${Version}", package).stdout


def c_peer(name: str, header: str, *libraries: str) -> Callable[[Path], list]:
    def make(folder: Path) -> list:
        needed(f"/usr/include/{header}")
        if not shutil.which("cc", path="/usr/bin"):
            raise Missing("there is no C compiler")
        program = folder / name
        flags = ["-I/usr/include/nspr", "-I/usr/include/nss"] if name == "nss" else []
        done = run("/usr/bin/cc", "-O1", "-w", *flags, "-o", program, SOURCES / "tunnel.c", SOURCES / f"{name}.c",
                   *(f"-l{library}" for library in libraries), timeout=120)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [program]

    return make


def mbedtls_peer(folder: Path) -> list:
    needed("/usr/include/mbedtls/ssl.h")
    if package_version("libmbedtls-dev").startswith("2."):
        raise Missing("mbedTLS 2 has no TLS 1.3")
    return c_peer("mbedtls", "mbedtls/ssl.h", "mbedtls", "mbedx509", "mbedcrypto")(folder)


def botan_peer(folder: Path) -> list:
    needed("/usr/include/botan-3")  # Botan 2 has no TLS 1.3
    program, tunnel = folder / "botan", folder / "tunnel.o"
    done = run("/usr/bin/cc", "-O1", "-w", "-c", "-o", tunnel, SOURCES / "tunnel.c", timeout=120)
    assert done.returncode == 0, done.stderr
    done = run("/usr/bin/c++", "-std=c++20", "-O1", "-w", "-I/usr/include/botan-3", "-o", program, tunnel,
               SOURCES / "botan.cc", "-lbotan-3", timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [program]


def key_limits(folder: Path, octets: int) -> str:
    """The property of a JVM that sets after how much JSSE asks for new keys."""
    file = folder / f"java-{octets}.security"
    limits = ", ".join(f"{cipher} KeyUpdate 2^{octets.bit_length() - 1}" for cipher in KEY_LIMITS)
    file.write_text(f"jdk.tls.keyLimits={limits}\n")
    return f"-Djava.security.properties={file}"


def java_command(java: Path, folder: Path, octets: int, class_path: str) -> list:
    """The JVM's log has a line for each KeyUpdate. With one compiler a JVM starts faster."""
    return [java, "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djavax.net.debug=ssl:handshake",
            key_limits(folder, octets), "-cp", class_path]  # fmt: skip


def jsse_peer(java: Callable[[], Path]) -> Callable[[Path], list]:
    def make(folder: Path) -> list:
        class_path = compiled(SOURCES / "Tunnel.java", folder / "java")
        if class_path is None or not java().exists():
            raise Missing("there is no JDK")
        return [*java_command(java(), folder, REKEY_OCTETS, class_path), "Tunnel"]

    return make


def newer_jsse(folder: Path) -> list:
    if newest_java() == JAVA.resolve():
        raise Missing("the default JDK is the newest here")
    return jsse_peer(newest_java)(folder)


def node_peer(folder: Path) -> list:
    if not (node := shutil.which("node", path="/usr/bin:/bin")):
        raise Missing("Node.js is not installed")
    return [node, SOURCES / "tunnel.js"]


def go_peer(folder: Path) -> list:
    return [go_program(SOURCES / "tunnel.go", folder)]


def go_program(source: Path, folder: Path) -> Path:
    needed("/usr/bin/go")
    program = folder / f"go-{source.stem}"
    variables = environment(GO111MODULE="off", GOPATH="/usr/share/gocode", GOCACHE=str(folder / "go"), GOFLAGS="-p=2")
    done = run("/usr/bin/go", "build", "-o", program, source, timeout=300, env=variables)
    assert done.returncode == 0, done.stderr
    return program


def erlang_peer(folder: Path) -> list:
    needed("/usr/bin/escript")
    # An escript wants no home, but Erlang does.
    return ["env", f"HOME={folder}", "/usr/bin/escript", SOURCES / "tunnel.escript"]


CRATES = Path("/usr/share/cargo/registry")


def rustls_release() -> str | None:
    """Such as 0.20."""
    found = re.findall(r"/rustls-(\d+\.\d+)\.", "".join(map(str, CRATES.glob("rustls-[0-9]*"))))
    return found[-1] if found else None


def rustls_peer(folder: Path) -> list:
    needed("/usr/bin/cargo", "/usr/bin/rustc")
    if not (release := rustls_release()):
        raise Missing("librust-rustls-dev is not installed")
    is_old = release == "0.20"
    project = folder / "rustls"
    shutil.copytree(SOURCES / "rustls", project)
    manifest = project / "Cargo.toml"
    features = "[]" if is_old else '["std", "ring"]'
    manifest.write_text(manifest.read_text().replace("VERSION", release).replace("FEATURES", features))
    (project / ".cargo").mkdir()
    (project / ".cargo/config.toml").write_text(
        f'[source.crates-io]\nreplace-with = "debian"\n[source.debian]\ndirectory = "{CRATES}"\n'
    )
    # As root, cargo would take what rustup has put into root's home.
    variables = environment(HOME=str(folder), CARGO_HOME=str(folder / "cargo"), RUSTC="/usr/bin/rustc",
                            RUSTFLAGS="" if is_old else "--cfg rustls23")  # fmt: skip
    done = run("/usr/bin/cargo", "build", "--release", "--offline", cwd=project, timeout=600, env=variables)
    assert done.returncode == 0, done.stderr
    return [project / "target/release/tunnel"]


# Small enough that some MiB have many of them.
REKEY_OCTETS = 1 << 18

NO_API = "the library answers KeyUpdates and has no function to send one"

PEERS = {
    "openssl": Peer(c_peer("openssl", "openssl/ssl.h", "ssl", "crypto"),
                    lambda: first_line("/usr/bin/openssl", "version").split()[1], sends_key_updates=True),
    "jsse": Peer(jsse_peer(lambda: JAVA), lambda: java_version(JAVA), sends_key_updates=True),
    "jsse-newest": Peer(newer_jsse, lambda: java_version(newest_java()), sends_key_updates=True, is_costly=True),
    "node": Peer(node_peer, lambda: first_line("/usr/bin/node", "--version"), why_not=NO_API),
    "gnutls": Peer(c_peer("gnutls", "gnutls/gnutls.h", "gnutls"), lambda: package_version("libgnutls28-dev"),
                   sends_key_updates=True, rekey_octets=lambda octets: octets // 3,
                   short_keys="it takes 8 KeyUpdates a second and no more"),
    "nss": Peer(c_peer("nss", "nss/ssl.h", "ssl3", "nss3", "nspr4"), lambda: package_version("libnss3-dev"),
                sends_key_updates=True),
    "wolfssl": Peer(c_peer("wolfssl", "wolfssl/ssl.h", "wolfssl"), lambda: package_version("libwolfssl-dev"),
                    sends_key_updates=True),
    "mbedtls": Peer(mbedtls_peer, lambda: package_version("libmbedtls-dev"), why_not="the library knows no KeyUpdate",
                    short_keys="the library knows no KeyUpdate"),
    "botan": Peer(botan_peer, lambda: package_version("libbotan-3-dev"), sends_key_updates=True, is_costly=True),
    "go": Peer(go_peer, lambda: first_line("/usr/bin/go", "version").split()[2], why_not=NO_API, is_costly=True),
    "erlang": Peer(erlang_peer, lambda: package_version("erlang-ssl"), sends_key_updates=True, is_costly=True),
    "rustls": Peer(rustls_peer, lambda: package_version("librust-rustls-dev"), is_costly=True,
                   sends_key_updates=rustls_release() not in (None, "0.20"), why_not=NO_API,
                   # Of a whole connection, answers among them (TooManyKeyUpdateRequests).
                   rekey_octets=lambda octets: octets // 8, short_keys="it takes 32 KeyUpdates and no more"),
}  # fmt: skip


def java_version(java: Path) -> str:
    return re.search(r'version "(\S+)"', run(java, "-version").stderr)[1]


def key_updates(log: str) -> tuple[int, int]:
    """How many a peer has sent and received, by what it has written; -1 if it does not know."""
    ended = re.search(r"^version=(\S+) sent=(-?\d+) received=(-?\d+)$", log, re.MULTILINE)
    assert ended, log[-2000:]
    assert ended[1].lower() in ("tlsv1.3", "tls1.3"), ended[1]
    if JSSE_SENT in log or JSSE_RECEIVED in log:
        return log.count(JSSE_SENT), log.count(JSSE_RECEIVED)
    return int(ended[2]), int(ended[3])
