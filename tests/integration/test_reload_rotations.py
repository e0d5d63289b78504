"""Every kind of file changes again and again, and every tenth change is an error, while clients connect anew for each transaction.
No client notices, and the process keeps its descriptors and its memory."""

import os
import re
import threading

from harness.certificates import Authority, rehashed
from harness.pgveil import IS_SANITIZED, toml
from harness.postgres import PASSWORD
from harness.processes import POSTGRES_BIN, eventually, run

# For the proof by hand: PGVEIL_ROTATIONS=1000, and pytest's --capture=no for the figures.
ROTATIONS = int(os.environ.get("PGVEIL_ROTATIONS", "40"))
WARM_UP = 40
PASSPHRASE = "open sesame"


class Rotation:
    """A configuration with all kinds of files, and new versions of each. Its listeners are: TLS to a Unix socket, TLS to TLS, and
    plaintext to TLS."""

    def __init__(self, folder, authority, postgres, *, watch: bool = False):
        (folder / "ca").mkdir()
        self.folder, self.authority, self.postgres, self.watch = folder, authority, postgres, watch
        trusted, other = (root.file.read_bytes() for root in (authority, Authority(folder / "ca", "another root")))
        self.versions = [
            {
                "server": authority.issue("localhost", dns=["localhost"]),
                "named": authority.issue("db.test", dns=["db.test"], passphrase=PASSPHRASE),
                "client": authority.issue_to_client("certified"),
                "own": authority.issue_to_client("pgveil"),
                "crl": authority.revoke(authority.issue_to_client(f"revoked {number}")),
                "authorities": (trusted, trusted + other, other + trusted)[number],
            }
            for number in range(3)
        ]  # fmt: skip
        for directory in ("crl", "server-crl", "roles", "rules.d"):
            (folder / directory).mkdir()
        self.number = self.errors = 0
        self.kinds = [
            self.configuration, self.certificate, self.certificate_by_name, self.authorities, self.list, self.directory,
            self.rules, self.included_rules, self.rules_of_directory, self.included_names, self.maps, self.included_maps, self.users,
            self.passwords, self.roles, self.own_certificate, self.server_authorities, self.server_list, self.server_directory,
        ]  # fmt: skip
        for kind in self.kinds:
            kind()
        # One of each kind for which there is an error that a reload reports.
        self.breakable = [
            "pgveil.toml", "server.crt", "server.key", "named.crt", "named.key", "ca.crt", "list.crl", "hba", "hba.included",
            "rules.d/10.conf", "ident", "ident.included", "users", "roles/certified.crt", "roles/certified.key", "own.crt",
            "own.key", "root.crt", "server.crl",
        ]  # fmt: skip

    def rotate(self) -> None:
        self.kinds[self.number % len(self.kinds)]()

    def damage(self):
        """Makes a file one that no reload can use. Returns what repairs it."""
        name = self.breakable[self.errors % len(self.breakable)]
        self.errors += 1
        before = (self.folder / name).read_bytes()
        self.place(name, b'broken "\n')
        return lambda: self.place(name, before)

    def next_version(self) -> dict:
        self.number += 1
        return self.versions[self.number % len(self.versions)]

    def configuration(self):
        self.next_version()
        self.write_configuration(has_further_listener=self.number % 2 == 0)

    def write_configuration(self, has_further_listener: bool) -> None:
        folder = self.folder
        clients = {
            "ssl_cert_file": f"{folder}/server.crt", "ssl_key_file": f"{folder}/server.key", "ssl_ca_file": f"{folder}/ca.crt",
            "ssl_crl_file": f"{folder}/list.crl", "ssl_crl_dir": f"{folder}/crl", "ident_file": f"{folder}/ident",
            "hba_file": f"{folder}/hba", "auth_file": f"{folder}/users", "ssl_passphrase_command": f"echo {PASSPHRASE}",
            "certificate": [{"server_names": "db.test", "ssl_cert_file": f"{folder}/named.crt", "ssl_key_file": f"{folder}/named.key"}],
        }  # fmt: skip
        methods = {"require_auth": "scram-sha-256,none"}
        server = self.postgres.upstream(sslrootcert=f"{folder}/root.crt", sslcrl=f"{folder}/server.crl",
                                        sslcrldir=f"{folder}/server-crl", passfile=f"{folder}/passfile", **methods)  # fmt: skip
        listeners = [
            {"address": "127.0.0.1:0", "upstream": "socket", **clients},
            {"address": "127.0.0.1:0", "upstream": "roles", **clients},
            {"address": "127.0.0.1:0", "upstream": "remote", "hba_file": f"{folder}/hba.local"},
        ]
        if has_further_listener:
            listeners.append({"address": f"unix:{folder}/.s.PGSQL.5432", "upstream": "remote"})
        self.place("pgveil.toml", toml({
            "listener": listeners,
            "upstream": {
                "socket": self.postgres.unix_upstream(passfile=f"{folder}/passfile", **methods),
                "roles": {**server, "role_certificates": f"{folder}/roles"},
                "remote": {**server, "sslcert": f"{folder}/own.crt", "sslkey": f"{folder}/own.key"},
            },
            "limits": {"idle_timeout": f"{3600 + self.number}s", "workers": 2},
            "log": {"session_start": False},
            "reload": {"watch": self.watch},
        }).encode())  # fmt: skip

    def certificate(self):
        self.place_credentials("server", self.next_version()["server"])

    def certificate_by_name(self):
        self.place_credentials("named", self.next_version()["named"])

    def authorities(self):
        self.place("ca.crt", self.next_version()["authorities"])

    def list(self):
        self.place("list.crl", self.next_version()["crl"].read_bytes())

    def directory(self):
        rehashed(self.folder / "crl", self.next_version()["crl"])

    def rules(self):
        self.next_version()
        self.place("hba", f"include hba.included\ninclude_dir rules.d\n# {self.number}\n".encode())
        self.place("hba.local", f"host all app all trust\nhost all billing all relay\n# {self.number}\n".encode())

    def included_rules(self):
        self.next_version()
        self.place("hba.included", f"hostssl all @names all scram-sha-256\n# {self.number}\n".encode())

    def included_names(self):
        self.next_version()
        self.place("names", f"app u{self.number}\n".encode())

    def rules_of_directory(self):
        self.next_version()
        self.place("rules.d/10.conf", b"hostssl all certified all cert\nhostssl all billing all cert map=m\n"
                   + f"# {self.number}\n".encode())  # fmt: skip

    def maps(self):
        self.next_version()
        self.place("ident", f"include ident.included\nm u{self.number} orders\n".encode())

    def included_maps(self):
        self.next_version()
        self.place("ident.included", f"m certified billing\n# {self.number}\n".encode())

    def users(self):
        self.next_version()
        self.place("users", f'"app" "{PASSWORD}"\n"u{self.number}" "x"\n'.encode())

    def passwords(self):
        self.next_version()
        self.place("passfile", f"*:*:*:app:{PASSWORD}\n*:*:*:u{self.number}:x\n".encode())

    def roles(self):
        self.place_credentials("roles/certified", self.next_version()["client"])

    def own_certificate(self):
        self.place_credentials("own", self.next_version()["own"])

    def server_authorities(self):
        self.place("root.crt", self.next_version()["authorities"])

    def server_list(self):
        self.place("server.crl", self.next_version()["crl"].read_bytes())

    def server_directory(self):
        rehashed(self.folder / "server-crl", self.next_version()["crl"])

    def place_credentials(self, name: str, credentials) -> None:
        self.place(f"{name}.key", credentials.key.read_bytes())
        self.place(f"{name}.crt", credentials.certificate.read_bytes())

    def place(self, name: str, content: bytes) -> None:
        """By a rename, as programs that renew certificates do."""
        path = self.folder / name
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(content)
        temporary.chmod(0o600)
        temporary.rename(path)


class Pgbench:
    """pgbench --connect, with five transactions a second, until stop(). `transactions` is their number, and `errors` the output of
    runs that failed."""

    def __init__(self, script, connection_string: str):
        self.transactions, self.errors = 0, ""
        self._command = (f"{POSTGRES_BIN}/pgbench", "--no-vacuum", "--connect", "--client=1", "--rate=5", "--time=3",
                         "--file", script, connection_string)  # fmt: skip
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(600)

    def _work(self) -> None:
        while not self._stop.is_set():
            done = run(*self._command, timeout=600)  # the machine may be busy
            said = re.search(r"actually processed: (\d+)\nnumber of failed transactions: 0 ", done.stdout)
            if done.returncode != 0 or not said:
                self.errors += done.stdout + done.stderr
            else:
                self.transactions += int(said[1])


def test_rotations_are_not_noticed_by_clients(folder, pgveil, postgres, authority):
    rotation = Rotation(folder, authority, postgres)
    rotation.write_configuration(has_further_listener=False)
    proxy = pgveil(flags=["--config", folder / "pgveil.toml"], listeners=3)
    script = folder / "select.sql"
    script.write_text("SELECT 1;\n", encoding="ascii")
    client = authority.issue_to_client("certified")
    shown = {"sslrootcert": authority.file, "sslcert": client.certificate, "sslkey": client.key}
    ways = [
        (0, {"user": "app", "password": PASSWORD, "sslrootcert": authority.file}), (0, {"user": "billing", **shown}),
        (1, {"user": "certified", **shown}), (2, {"user": "app"}), (2, {"user": "billing"}),
    ]  # fmt: skip

    def connection_string(listener: int, parameters: dict) -> str:
        proxy.address = proxy.addresses[listener]
        return (proxy.tls_string if listener < 2 else proxy.connection_string)(**parameters)

    def rotate(count: int) -> None:
        for number in range(count):
            if number % 10 == 9:
                repair = rotation.damage()
                assert "reload_failed" in proxy.reload()[-1]
                repair()
            else:
                rotation.rotate()
                assert " reloaded " in proxy.reload()[-1]
            if number % 100 == 99:
                print(f"{number + 1} rotations: {proxy.resident_bytes() >> 10} KiB")

    rotate(WARM_UP)  # until the memory is what it will be
    rotation.write_configuration(has_further_listener=False)
    proxy.reload()
    descriptors = proxy.descriptors_at_rest()
    clients = [Pgbench(script, connection_string(*way)) for way in ways]
    eventually(lambda: all(each.transactions or each.errors for each in clients))
    memory = proxy.resident_bytes()
    rotate(ROTATIONS)
    for each in clients:
        each.stop()
    assert [each.errors for each in clients] == [""] * len(clients)
    assert refusals(proxy.log) == ""
    rotation.write_configuration(has_further_listener=False)
    proxy.reload()
    eventually(lambda: proxy.descriptors() == descriptors)
    print(f"descriptors: {descriptors}; memory: {memory >> 10} KiB, then {proxy.resident_bytes() >> 10} KiB; "
          f"transactions: {[each.transactions for each in clients]}")  # fmt: skip
    if not IS_SANITIZED:
        assert proxy.resident_bytes() < memory + (8 << 20)


def test_the_watch_notices_each_kind_of_file(folder, pgveil, postgres, authority):
    """Nobody sends a signal."""
    rotation = Rotation(folder, authority, postgres, watch=True)
    rotation.write_configuration(has_further_listener=False)
    proxy = pgveil(flags=["--config", folder / "pgveil.toml"], listeners=3)
    for kind in rotation.kinds:
        print(kind.__name__)  # pytest shows it if the next step fails
        before = len(proxy.lines)
        kind()
        proxy.wait_for_line(" I reloaded trigger=file_watch ", after=before)


def refusals(log: str) -> str:
    """The lines of sessions that have not ended as clients end them."""
    return "\n".join(line for line in log.splitlines() if "session_closed" in line and "reason=client_closed " not in line)
