"""Events that the metrics of pgveil count, each by itself.

An event is a generator. It prepares, and yields the Site whose metrics have to be read before the event. Then comes the
event. If something must stay open for the metrics after it, the generator yields again."""

import contextlib
import itertools
import shutil
import signal
import socket
import ssl
import threading
from pathlib import Path

from harness import wire
from harness.admin import Admin, labels
from harness.audit import to_file
from harness.certificates import DAY, Authority, Credentials
from harness.pgveil import Pgveil
from harness.postgres import Cluster
from harness.processes import PATIENCE, eventually
from harness.scripted_server import ScriptedServer, verified_session
from harness.tls_clients import certificate

# Nobody may be `nobody`, and no line is for `stranger`.
HBA = "host all nobody all reject\nhost all billing,trusted all trust\n"

# Those of sessions that have not ended.
OPEN_SESSIONS = ("pgveil_sessions{", "pgveil_established_sessions{", "pgveil_worker_sessions{")


def canonical(series: str, listener: str | None = None) -> str:
    """The series with its labels in the order of their names, without the label of this listener and the folders of files."""
    kept = {key: Path(text).name if key == "file" else text for key, text in labels(series).items()
            if (key, text) != ("listener", listener)}  # fmt: skip
    text = ",".join(f'{key}="{kept[key]}"' for key in sorted(kept))
    name = series.split("{")[0]
    return f"{name}{{{text}}}" if text else name


class Site:
    """A pgveil with an admin address and one worker, and its listeners by name."""

    def __init__(self, proxy: Pgveil, listeners):
        self.proxy = proxy
        self.admin = Admin(proxy)
        self.addresses = dict(zip(listeners, proxy.addresses))
        self.listener = next(iter(self.addresses))  # at which the event is

    def at(self, listener: str) -> "Site":
        """The same, for an event at this listener."""
        self.listener = listener
        return self

    def series(self) -> dict[str, float]:
        """The series of pgveil with their values. Those of the listener of the event are without its label."""
        mine = "{}:{}".format(*self.addresses[self.listener])
        return {canonical(name, mine): value for name, value in self.admin.metrics().items() if name.startswith("pgveil_")}

    def wait_for(self, series: str, value: float) -> None:
        eventually(lambda: self.series().get(series) == value)

    def wait_for_rest(self) -> None:
        """Until no session is left."""
        eventually(lambda: not any(value for name, value in self.series().items() if name.startswith(OPEN_SESSIONS)))

    def connect(self) -> wire.Client:
        return wire.Client(self.addresses[self.listener])

    @contextlib.contextmanager
    def session(self, user: str = "billing", database: str = "ledger"):
        with self.connect() as client:
            client.log_in(user=user, database=database)
            yield client

    def come_and_go(self, user: str = "billing") -> None:
        """A whole session."""
        with self.session(user) as client:
            client.send(wire.TERMINATE)

    def fail_to_log_in(self, user: str = "billing", database: str = "ledger") -> None:
        with self.connect() as client:
            client.send(wire.startup_message(user=user, database=database))
            client.receive_until(b"E")
            client.receive_to_end()

    def psql(self, **parameters):
        host, port = self.addresses[self.listener]
        return self.proxy.psql("SELECT 1", host="localhost", hostaddr=host, port=port, user="billing", **parameters)


class World:
    """What events need: servers, certificates, and pgveil, the one of all events or one of their own."""

    def __init__(self, postgres: Cluster, authority: Authority, credentials: Credentials, folder: Path, shared: Site, start):
        self.postgres, self.authority, self.credentials, self.folder = postgres, authority, credentials, folder
        self.shared = shared
        self._start = start
        self._cleanup = contextlib.ExitStack()

    def start(self, upstream: dict, listener: dict | None = None, *, prefix=(), **sections) -> Site:
        """A pgveil of the event's own."""
        listeners = {"own": (listener or {"hba": HBA}, upstream)}
        return Site(self._start(configuration=configuration(listeners, **sections), prefix=prefix), listeners)

    def server(self, script) -> ScriptedServer:
        server = ScriptedServer(script)
        self.finally_do(server.stop)
        return server

    def finally_do(self, step) -> None:
        """After the event, the last one first."""
        self._cleanup.callback(step)

    def close(self) -> None:
        self._cleanup.close()


def configuration(listeners: dict, **sections) -> dict:
    """`listeners`: by name, the settings of each and of its upstream, which has the same name. Nothing is done at an interval,
    so that metrics change by events only."""
    return {
        "listener": [{"address": "127.0.0.1:0", "upstream": name, **listener} for name, (listener, _) in listeners.items()],
        "upstream": {name: upstream for name, (_, upstream) in listeners.items()},
        "admin": {"address": "127.0.0.1:0", "upstream_check_interval": "0s"},
        "reload": {"watch": False},
        **{"limits": {"workers": 1}, **sections},
    }


# So that the kind of TLS is the same with every OpenSSL.
OLD_TLS = {"ssl_min_protocol_version": "TLSv1.2", "ssl_max_protocol_version": "TLSv1.2", "ssl_groups": "prime256v1",
           "ssl_ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256"}  # fmt: skip
NEW_TLS = {"ssl_groups": "prime256v1", "ssl_tls13_ciphers": "TLS_AES_128_GCM_SHA256"}


def shared_configuration(postgres: Cluster, authority: Authority, another: Authority, credentials: Credentials) -> dict:
    """One pgveil for all events that need no other one: a listener for each kind of session."""
    tls = certificate(credentials, hba=HBA, ssl_ca_file=str(authority.file))
    plain, local = {"hba": HBA}, postgres.unix_upstream()
    named = postgres.upstream(**NEW_TLS)
    del named["hostaddr"]
    return configuration({
        "plain": (plain, local),
        "tls": ({**tls, **NEW_TLS}, local),
        "modern": ({**tls, "ssl_min_protocol_version": "TLSv1.3"}, local),
        "verified": (plain, postgres.upstream(**OLD_TLS)),
        "named": (plain, named),
        "unnamed": (plain, {"host": "no-such-host.invalid", "sslrootcert": str(authority.file)}),
        "mistrusted": (plain, postgres.upstream(sslrootcert=str(another.file))),
        "absent": (plain, {"host": str(another.directory)}),
    })  # fmt: skip


def warm_up(shared: Site) -> None:
    """The first connection of an upstream changes more than the next ones."""
    for listener, user in (("plain", "billing"), ("verified", "trusted"), ("named", "trusted")):
        shared.at(listener).come_and_go(user)
    for listener in ("unnamed", "mistrusted", "absent"):
        shared.at(listener).fail_to_log_in()
    shared.wait_for_rest()


# --- sessions ---


def nothing(world: World):
    yield world.shared.at("plain")


def silent_client(world: World):
    site = world.shared.at("plain")
    yield site
    with site.connect():
        yield site


def scanner(world: World):
    site = world.shared.at("plain")
    yield site
    with site.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        client.receive_to_end()


def transaction_begun(world: World):
    site = world.shared.at("plain")
    with site.session() as client:
        yield site
        client.rows("BEGIN")
        yield site


def query(world: World):
    site = world.shared.at("plain")
    with site.session() as client:
        yield site
        client.rows("SELECT 1")
        yield site


def slow_client(world: World):
    site = world.shared.at("plain")
    with site.session() as client:
        yield site
        client.send(wire.query("SELECT repeat('x', 1000000) FROM generate_series(1, 60)"))
        yield site


def slow_server(world: World):
    stalled = threading.Event()

    def script(peer):
        peer.log_in()
        stalled.wait(PATIENCE)

    site = world.start(world.server(script).upstream(sslmode="disable"))
    world.finally_do(stalled.set)
    with site.session() as client:
        yield site
        sender = threading.Thread(target=send_until_closed, args=(client, wire.message(b"d", bytes(1 << 20))))
        sender.start()
        try:
            yield site
        finally:
            client.socket.shutdown(socket.SHUT_RDWR)  # wakes the sender
            sender.join()


def send_until_closed(client: wire.Client, message: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            client.send(message)


def session_ended(world: World):
    site = world.shared.at("plain")
    with site.session() as client:
        yield site
        client.send(wire.TERMINATE)


def whole_session(world: World):
    site = world.shared.at("plain")
    yield site
    site.come_and_go()


def labelled_session(world: World):
    """A session that stays, where sessions are counted by user and database."""
    admin = {"address": "127.0.0.1:0", "upstream_check_interval": "0s", "labels": "user,database"}
    site = world.start(world.postgres.unix_upstream(), admin=admin)
    site.come_and_go()
    site.wait_for_rest()
    yield site
    with site.session():
        yield site


def labelled_session_ended(world: World):
    admin = {"address": "127.0.0.1:0", "upstream_check_interval": "0s", "labels": "user,database"}
    site = world.start(world.postgres.unix_upstream(), admin=admin)
    with site.session() as client:
        yield site
        client.send(wire.TERMINATE)


def cancel_request(world: World):
    site = world.shared.at("plain")
    yield site
    with site.connect() as client:
        client.send(wire.cancel_request(1, b"\0\0\0\1"))
        client.receive_to_end()


def rejected_user(world: World):
    site = world.shared.at("plain")
    yield site
    site.fail_to_log_in(user="nobody")


def user_without_rule(world: World):
    site = world.shared.at("plain")
    yield site
    site.fail_to_log_in(user="stranger")


def database_that_does_not_exist(world: World):
    site = world.shared.at("plain")
    yield site
    site.fail_to_log_in(database="nowhere")


# --- limits ---


def refused_beside_a_session(world: World, **listener):
    """Another login of `billing`, while a session of this user is open."""
    site = world.start(world.postgres.unix_upstream(), {"hba": HBA, **listener})
    with site.session():
        yield site
        site.fail_to_log_in()
        yield site


def one_session_too_many(world: World):
    return refused_beside_a_session(world, max_sessions=1)


def one_session_too_many_of_a_user(world: World):
    return refused_beside_a_session(world, max_sessions_per_user=1)


def one_session_too_many_of_an_address(world: World):
    return refused_beside_a_session(world, max_sessions_per_address=1)


def session_that_is_reserved_for_others(world: World):
    return refused_beside_a_session(world, max_sessions=2, reserved_sessions=1, reserved_sessions_for="orders")


def login_over_the_rate(world: World):
    site = world.start(world.postgres.unix_upstream(), {"hba": HBA, "login_rate": "1/h"})
    site.come_and_go()
    site.wait_for_rest()
    yield site
    site.fail_to_log_in()


def one_login_too_many_after_a_failed_one(world: World):
    """The first one waits, and a second one would have to wait for longer than half of startup_timeout."""
    site = world.start(world.postgres.unix_upstream(), {"hba": HBA, "failed_login_delay": "6min"},
                       limits={"workers": 1, "startup_timeout": "20min"})  # fmt: skip
    site.fail_to_log_in(user="nobody")
    site.wait_for_rest()
    with site.connect() as waiting:
        waiting.send(wire.startup_message(user="billing", database="ledger"))
        site.wait_for('pgveil_sessions{phase="authorize"}', 1)
        yield site
        site.fail_to_log_in()
        yield site


def silent_client_in_the_place_of_another(world: World):
    site = world.start(world.postgres.unix_upstream(), {"hba": HBA, "max_unauthenticated_clients": 1})
    with site.connect() as oldest:
        site.wait_for('pgveil_sessions{phase="negotiate"}', 1)
        yield site
        with site.connect():
            assert oldest.receive_to_end() == b""
            yield site


def session_over_its_lifetime(world: World):
    """A transaction keeps it until the metrics have been read."""
    site = world.start(world.postgres.unix_upstream(), {"hba": HBA, "session_lifetime": "2s"})
    with site.connect() as client:
        client.send(wire.startup_message(user="billing", database="ledger"), wire.query("BEGIN"))
        for _ in ("login", "BEGIN"):
            client.receive_until(b"Z")
        yield site
        client.send(wire.query("COMMIT"))
        client.receive_until(b"E")
        client.receive_to_end()


def invalid_proxy_header(world: World):
    site = world.start(world.postgres.unix_upstream(), {"proxy_protocol_from": ["127.0.0.0/8"]})
    yield site
    with site.connect() as client:
        client.send(wire.SSL_REQUEST)
        client.receive_to_end()


# --- TLS ---


def client_with_tls(world: World):
    """It leaves after the handshake."""
    site = world.shared.at("tls")
    yield site
    context = ssl.create_default_context(cafile=str(world.authority.file))
    with site.connect() as client:
        client.send(wire.SSL_REQUEST)
        assert client.receive(1) == b"S"
        with context.wrap_socket(client.socket, server_hostname="localhost") as encrypted:
            # Both sides have completed the handshake once pgveil has answered.
            encrypted.sendall(wire.startup_message(user="nobody", database="ledger"))
            while encrypted.recv(4096):
                pass


def client_that_does_not_trust(world: World):
    site = world.shared.at("tls")
    yield site
    site.psql(sslmode="verify-full", sslrootcert=Authority(world.folder, "another").file)


def client_with_an_expired_certificate(world: World):
    site = world.shared.at("tls")
    old = world.authority.issue_to_client("ann", lifetime=2 * DAY, age=3 * DAY)
    yield site
    site.psql(sslmode="verify-full", sslrootcert=world.authority.file, sslcert=old.certificate, sslkey=old.key)


def client_with_old_tls(world: World):
    site = world.shared.at("modern")
    yield site
    site.psql(sslmode="verify-full", sslrootcert=world.authority.file, ssl_max_protocol_version="TLSv1.2")


def server_that_is_not_trusted(world: World):
    site = world.shared.at("mistrusted")
    yield site
    site.fail_to_log_in()


def server_that_wants_a_certificate(world: World):
    """TLS 1.3: its alert comes after the handshake, in the place of an answer."""
    server = world.server(lambda peer: peer.accept_tls(world.credentials, verify_mode=ssl.CERT_REQUIRED))
    site = world.start(server.upstream(sslrootcert=str(world.authority.file), **NEW_TLS))
    yield site
    site.fail_to_log_in()


# --- upstreams ---


def session_over_tls(world: World):
    site = world.shared.at("verified")
    yield site
    site.come_and_go("trusted")


def session_by_name(world: World):
    site = world.shared.at("named")
    yield site
    site.come_and_go("trusted")


def name_that_does_not_exist(world: World):
    site = world.shared.at("unnamed")
    yield site
    site.fail_to_log_in()


def server_that_is_absent(world: World):
    site = world.shared.at("absent")
    yield site
    site.fail_to_log_in()


def first_connection(world: World):
    site = world.start(world.postgres.upstream(**NEW_TLS))
    yield site
    site.come_and_go("trusted")


def server_that_goes_away(world: World):
    server = world.server(verified_session(world.credentials))
    site = world.start(server.upstream(sslrootcert=str(world.authority.file)))
    site.come_and_go()
    yield site
    server.stop()
    site.fail_to_log_in()


class Gates:
    """A server whose connections of these numbers wait for open() before their handshakes."""

    def __init__(self, world: World, *closed: int):
        self._gates = {number: threading.Event() for number in closed}
        numbers = itertools.count()

        def script(peer):
            gate = self._gates.get(next(numbers))
            assert gate is None or gate.wait(2 * PATIENCE)
            verified_session(world.credentials)(peer)

        self.server = world.server(script)
        world.finally_do(self.open)

    def open(self, *numbers: int) -> None:
        """These, or all."""
        for number in numbers or self._gates:
            self._gates[number].set()

    def preconnect(self, world: World, **settings) -> Site:
        """A pgveil that has one connection to this server."""
        site = world.start(self.server.upstream(preconnect=1, sslrootcert=str(world.authority.file), **NEW_TLS, **settings))
        site.wait_for(EVENTS.format("made"), 1)
        return site


EVENTS = 'pgveil_preconnect_events_total{{event="{}",upstream="own"}}'


def preconnected_session(world: World):
    site = Gates(world).preconnect(world)
    yield site
    site.come_and_go()


def session_without_a_preconnected_one(world: World):
    gates = Gates(world, 1)
    site = gates.preconnect(world)
    with site.session():  # the connection that is to replace its own waits at the gate
        gates.server.peer(1)
        yield site
        site.come_and_go()
        yield site


def renewed_preconnection(world: World):
    gates = Gates(world, 1, 2)
    site = gates.preconnect(world, preconnect_max_age="1s")
    gates.server.peer(1)  # the first one is too old
    yield site
    gates.open(1)


def failed_preconnection(world: World):
    gates = Gates(world, 1)
    site = gates.preconnect(world)
    yield site
    gates.server.peer(0).socket.shutdown(socket.SHUT_RDWR)


# --- configuration and process ---


def reload(world: World):
    site = world.start(world.postgres.unix_upstream())
    yield site
    site.proxy.reload()


def failed_reload(world: World):
    hba = world.folder / "hba"
    hba.write_text(HBA)
    site = world.start(world.postgres.unix_upstream(), {"hba_file": str(hba)})
    yield site
    hba.write_text("nonsense\n")
    site.proxy.reload()


def renewed_certificate(world: World):
    """Of the same name, and in the same file."""
    old, new = (world.authority.issue("localhost", dns=["localhost"], lifetime=days * DAY) for days in (90, 120))
    own = Credentials(world.folder / "own.crt", world.folder / "own.key")
    place(old, own)
    site = world.start(world.postgres.unix_upstream(), certificate(own))
    yield site
    place(new, own)
    site.proxy.reload()


def place(credentials: Credentials, at: Credentials) -> None:
    shutil.copy(credentials.certificate, at.certificate)
    shutil.copy(credentials.key, at.key)


def stop(world: World):
    site = world.start(world.postgres.unix_upstream())
    with site.session() as client:
        client.rows("BEGIN")
        yield site
        site.proxy.send_signal(signal.SIGTERM)
        yield site


def log_without_a_reader(world: World):
    """The reader ends after the last line of the start."""
    reader = ("bash", "-c", 'exec "$@" 2> >(exec sed -u "/ listening /q" >&2)', "bash")
    site = world.start(world.postgres.unix_upstream(), prefix=reader)
    site.proxy.wait_for_end_of_log()
    yield site
    site.come_and_go()


def audit_on_a_full_disk(world: World):
    site = world.start(world.postgres.unix_upstream(), audit=to_file("/dev/full", fail="open"))
    yield site
    site.come_and_go()


def audit_that_cannot_be_written(world: World):
    site = world.start(world.postgres.unix_upstream(), audit=to_file("/dev/full", fail="closed"))
    yield site
    site.come_and_go()


def stranger_over_the_rate(world: World):
    site = world.start(world.postgres.unix_upstream(), audit=to_file(world.folder / "audit", stranger_rate="1/h"))
    site.fail_to_log_in(user="nobody")
    yield site
    site.fail_to_log_in(user="nobody")
