"""A new pgveil takes the place of an old one, and clients find one of them at any time."""

import contextlib
import os
import re
import signal
import socket
import threading

import psycopg2
import pytest

from harness import wire
from harness.admin import Admin
from harness.pgveil import EX_UNAVAILABLE, psql
from harness.processes import PATIENCE, POSTGRES_BIN, eventually, run

# As systemd: the sockets are descriptors 3 and later, and the variables say how many, for which process, and their names
# (sd_listen_fds(3)).
ACTIVATION = """
import os, sys
names, descriptors, command = sys.argv[1], [int(word) for word in sys.argv[2].split(",")], sys.argv[3:]
copies = [os.dup(descriptor) for descriptor in descriptors]
for place, descriptor in enumerate(copies):
    if descriptor != 3 + place:
        os.dup2(descriptor, 3 + place)
    os.set_inheritable(3 + place, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(descriptors)), LISTEN_FDNAMES=names)
os.execvp(command[0], command)
"""


@pytest.fixture
def activated(pgveil, postgres):
    """Starts pgveil with sockets that this process has opened."""

    def start(*sockets: socket.socket, names: str = "", address: str | None = None, listener=None, upstream=None, **settings):
        numbers = ",".join(str(each.fileno()) for each in sockets)
        if address is None:
            host, port = sockets[0].getsockname()[:2]
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return pgveil(
            upstream or postgres.upstream(), listener={"address": address, **(listener or {})},
            pass_fds=tuple(each.fileno() for each in sockets),
            prefix=("/usr/bin/python3", "-c", ACTIVATION, names or ":".join("s" * len(sockets)), numbers), **settings,
        )  # fmt: skip

    return start


class Service:
    """A pgveil that another process replaces. With `overlaps`, the new process starts before the old one is stopped; otherwise
    after its end, as with `systemctl restart`. With `namespace`, the processes and their clients are in this network namespace."""

    def __init__(self, start, *, overlaps: bool, namespace=None):
        self._start, self._overlaps, self._namespace = start, overlaps, namespace
        self._running = start()
        self.address = self._running.address
        self.connection_string = self._running.connection_string(user="billing")
        self.prefix = namespace.prefix if namespace else ()

    def entered(self):
        return self._namespace.entered() if self._namespace else contextlib.nullcontext()

    def replace(self) -> None:
        successor = self._start() if self._overlaps else None
        self.stop()
        self._running = successor or self._start()

    def stop(self) -> None:
        self._running.send_signal(signal.SIGTERM)
        assert self._running.wait() == 0


@pytest.fixture(params=["activated and overlapping", "activated and restarted", "reuse_port"])
def service(request, activated, pgveil, postgres):
    """Starts a Service: service(**LIMITS)."""
    upstream = postgres.unix_upstream()
    if request.param == "reuse_port":
        namespace = request.getfixturevalue("namespace")  # every port is free there
        # Otherwise the kernel refuses clients that connect in the moment in which the old process closes its socket.
        namespace.set("net.ipv4.tcp_migrate_req", "1")
        listener = {"address": "127.0.0.1:5432", "reuse_port": True}

        def start(limits):
            return pgveil(upstream, listener=listener, limits=limits, prefix=namespace.prefix)

        yield lambda **limits: Service(lambda: start(limits), overlaps=True, namespace=namespace)
    else:
        overlaps = request.param == "activated and overlapping"
        with socket.create_server(("127.0.0.1", 0), backlog=256) as server:
            yield lambda **limits: Service(lambda: activated(server, upstream=upstream, limits=limits), overlaps=overlaps)


class Clients:
    """Threads that connect again and again, and those that keep a session and use it. `failures` is what went wrong."""

    def __init__(self, service: Service):
        self._service = service
        self.failures: list[str] = []
        self.terminated = 0  # sessions that ended with 57P01
        self.count = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(work,), daemon=True)
                         for work in 2 * [self._connect] + 2 * [self._use]]  # fmt: skip
        for thread in self._threads:
            thread.start()

    def _run(self, work):
        with self._service.entered():
            work()

    def _connect(self):
        while not self._stop.is_set():
            try:
                psycopg2.connect(self._service.connection_string).close()
                self.count += 1
            except psycopg2.Error as error:
                self.failures.append(f"connect: {error}")

    def _use(self):
        """Byte by byte, since psycopg2 does not always show an error that comes while it waits for nothing."""
        client = None
        while not self._stop.is_set():
            try:
                if client is None:
                    client = wire.Client(self._service.address)
                    client.log_in(user="billing", database="ledger")
                for sql in ("BEGIN", "SELECT 1", "COMMIT"):
                    client.send(wire.query(sql))
                    error = self._error_before_ready(client)
                    if error is not None:
                        break
            except (wire.EndOfStream, OSError) as end:
                error = f"{end!r}"
            if error is None:
                self.count += 1
                continue
            if client is not None:
                client.close()
                client = None
            if error == "57P01":
                self.terminated += 1
            else:
                self.failures.append(f"use: {error}")

    @staticmethod
    def _error_before_ready(client) -> str | None:
        """The SQLSTATE of the answer to a statement, if it is an error."""
        while (message := client.receive_message())[0] != b"Z":
            if message[0] == b"E":
                return wire.error_fields(message[1])["C"]
        return None

    def wait_for(self, count: int) -> None:
        wanted = self.count + count
        eventually(lambda: self.count >= wanted)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


class Pgbench:
    """Runs pgbench again and again, since its clients do not connect again after 57P01. Each run lasts until the pgveil that it has
    found ends. `outputs` and `errors` are what the runs that have ended have written."""

    CLIENTS = 4
    TERMINATED = "FATAL:  pgveil: terminating connection due to administrator command"
    # The first command is BEGIN. libpq takes the error for a notice if it waits for no answer when the error comes.
    EXPECTED = re.compile(rf"""{TERMINATED}
|pgbench: error: client \d aborted in command 0 \(SQL\) of script 0; perhaps the backend died while processing
|pgbench: error: client \d script 0 aborted in command 0 query 0: {TERMINATED}
|pgbench: error: Run was aborted; the above results are incomplete\.
""")

    def __init__(self, service: Service, script):
        self.outputs: list[str] = []
        self.errors: list[str] = []
        self._command = (*service.prefix, f"{POSTGRES_BIN}/pgbench", "--no-vacuum", f"--client={self.CLIENTS}", "--max-tries=10",
                         "--time=600", "--file", script, service.connection_string)  # fmt: skip
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def transactions(self) -> int:
        return sum(int(re.search(r"actually processed: (\d+)\n", said)[1]) for said in self.outputs)

    def make_the_last_run(self) -> None:
        self._stop.set()

    def wait(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _work(self) -> None:
        while not self._stop.is_set():
            done = run(*self._command, timeout=2 * PATIENCE)
            self.errors.append(done.stderr)
            self.outputs.append(done.stdout)


class TestARollingRestart:
    def test_is_not_noticed_by_new_clients(self, service):
        running = service(drain_delay="2s")
        clients = Clients(running)
        try:
            for _ in range(2):
                clients.wait_for(20)
                running.replace()
            clients.wait_for(20)
        finally:
            clients.stop()
        assert clients.failures == []
        assert clients.terminated > 0

    def test_loses_no_transaction_of_pgbench(self, service, postgres):
        """Each client of pgbench gets 57P01 in the place of an answer to BEGIN. With --max-tries, pgbench repeats a transaction after a
        deadlock or a serialization failure, but does not connect again after 57P01: so the test starts it again."""
        postgres.admin("DROP TABLE IF EXISTS rolled; CREATE TABLE rolled (n int); GRANT INSERT ON rolled TO billing", "ledger")
        script = postgres.directory / "rolled.sql"
        script.write_text("BEGIN;\nINSERT INTO rolled VALUES (1);\nINSERT INTO rolled VALUES (1);\nCOMMIT;\n", encoding="ascii")
        running = service(drain_timeout="1h")
        bench = Pgbench(running, script)

        def rows() -> int:
            return int(postgres.admin("SELECT count(*) FROM rolled", "ledger"))

        def wait_for_run(number: int) -> None:
            eventually(lambda: len(bench.outputs) == number and rows() > 2 * bench.transactions + 50)

        exchanges = 3
        try:
            for number in range(exchanges):
                wait_for_run(number)
                running.replace()
            wait_for_run(exchanges)
        finally:
            bench.make_the_last_run()
        running.stop()
        bench.wait()
        lines = "".join(bench.errors).splitlines(keepends=True)
        assert [line for line in lines if not Pgbench.EXPECTED.fullmatch(line)] == []
        assert [errors.count(Pgbench.TERMINATED) for errors in bench.errors] == [Pgbench.CLIENTS] * (exchanges + 1)
        assert rows() == 2 * bench.transactions


class TestSocketActivation:
    def test_uses_the_socket_with_the_address_of_a_listener(self, activated):
        with socket.create_server(("127.0.0.1", 0)) as server:
            proxy = activated(server)
            assert proxy.address == server.getsockname()
            assert proxy.query("SELECT 1") == "1"
            assert proxy.stop() == 0
            # It is the service manager's: clients wait for the next process.
            with socket.create_connection(server.getsockname()):
                pass

    def test_uses_a_unix_socket_and_leaves_its_file(self, activated, folder):
        path = folder / ".s.PGSQL.5432"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            path.chmod(0o700)
            proxy = activated(server, address=f"unix:{path}")
            assert proxy.query("SELECT 1") == "1"
            assert proxy.stop() == 0
            assert path.exists() and path.stat().st_mode & 0o777 == 0o700

    def test_takes_the_rest_of_its_addresses_itself(self, activated):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            proxy = activated(server, address=f"localhost:{port}")
            proxy.wait_for_lines(" I listening ", 2)
            done = psql(f"host=::1 port={port} user=trusted dbname=ledger sslmode=disable", "SELECT 1")
            assert done.stdout == "1\n", done.stderr

    def test_warns_of_a_socket_without_a_listener(self, activated):
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
            proxy = activated(server, other, names="used:other")
            port = other.getsockname()[1]
            line = proxy.wait_for_line(" W socket_not_used ").string
            assert f"name=other address=127.0.0.1:{port} " in line
            assert proxy.log.count("socket_not_used") == 1

    def test_uses_a_socket_for_the_admin_address(self, activated):
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
            proxy = activated(server, other, names="used:admin", admin={"address": f"127.0.0.1:{other.getsockname()[1]}"})
            assert Admin(proxy).status("/livez") == 200
            assert "socket_not_used" not in proxy.log

    def test_refuses_a_socket_for_both_families(self, activated):
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
            with pytest.raises(AssertionError, match="accepts IPv4 clients, too.*BindIPv6Only=ipv6-only"):
                activated(server, listener={"allow_plaintext_from_network": True})

    def test_keeps_the_socket_for_a_later_reload(self, activated, folder):
        with socket.create_server(("127.0.0.1", 0)) as server:
            proxy = activated(server)
            file = next(folder.glob("pgveil-*.toml"))
            text = file.read_text(encoding="utf-8")
            host, port = server.getsockname()
            file.write_text(text.replace(f"{host}:{port}", "127.0.0.1:0"), encoding="utf-8")
            proxy.wait_for_line(f" I not_listening address={host}:{port}")
            file.write_text(text, encoding="utf-8")
            proxy.wait_for_lines(f" I listening address={host}:{port} ", 2)
            assert proxy.query("SELECT 1") == "1"


class TestReusePort:
    def test_lets_a_second_process_listen(self, pgveil, postgres):
        first = pgveil(postgres.upstream(), listener={"reuse_port": True})
        address = f"127.0.0.1:{first.address[1]}"
        second = pgveil(postgres.upstream(), listener={"reuse_port": True, "address": address})
        with first.connect() as client:
            client.log_in(user="trusted", database="ledger")
            assert first.stop(signal.SIGTERM) == 0
            # Either of them may have accepted it.
            eventually(lambda: any("session_started" in each.log for each in (first, second)))
        for _ in range(10):
            assert second.query("SELECT 1") == "1"

    def test_no_longer_accepts_during_its_drain(self, pgveil, postgres):
        first = pgveil(postgres.upstream(), listener={"reuse_port": True}, limits={"drain_delay": "5s"})
        address = f"127.0.0.1:{first.address[1]}"
        first.send_signal(signal.SIGTERM)
        first.wait_for_line("stopping")
        second = pgveil(postgres.upstream(), listener={"reuse_port": True, "address": address})
        for _ in range(20):
            assert second.query("SELECT 1") == "1"
        assert len(second.wait_for_lines("session_started", 20)) == 20
        assert "session_started" not in first.log

    def test_serves_the_clients_that_wait_in_its_socket(self, pgveil, postgres):
        """More than pgveil accepts in one turn of its loop."""
        proxy = pgveil(postgres.upstream(), listener={"reuse_port": True},
                       limits={"drain_delay": "10s", "max_unauthenticated_clients": 10})  # fmt: skip
        proxy.send_signal(signal.SIGSTOP)
        waiting = [proxy.connect() for _ in range(200)]
        proxy.send_signal(signal.SIGTERM)
        proxy.send_signal(signal.SIGCONT)
        for client in waiting:
            client.send(wire.startup_message(user="nobody", database="ledger"))
        for client in waiting:
            assert client.receive_message()[0] in (b"E", b"R")
            client.close()

    def test_is_needed(self, pgveil, postgres, refusal):
        first = pgveil(postgres.upstream(), listener={"reuse_port": True})
        said = refusal(postgres.upstream(), EX_UNAVAILABLE, address=f"127.0.0.1:{first.address[1]}")
        assert "Address already in use" in said

    def test_has_no_effect_for_a_unix_socket(self, refusal, postgres, folder):
        said = refusal(postgres.upstream(), address=f"unix:{folder}/.s.PGSQL.5432", reuse_port=True)
        assert "reuse_port: has no effect: a Unix socket does not use TCP" in said


def test_nothing_is_taken_from_the_environment_of_another_process(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), variables={"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "3"})
    assert proxy.query("SELECT 1") == "1"
