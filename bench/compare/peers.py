"""The contenders. Each serves clients on a port of 127.0.0.1, in the configuration that is closest to the packager's
defaults, with one thread or process that works. `modes` says what a contender can do; `cannot` says why the rest is
not measured."""

import re

from common import Failure
from workplace import CLIENT_NAME, free_port

DIRECT_TLS = 17  # the first PostgreSQL that takes TLS without an SSLRequest, and whose clients can ask for it


class Running:
    """A contender in front of one server. `libpq` are variables for its clients, `pump_words` what pump needs behind
    its own; `pid` is None where there is no proxy."""

    def __init__(self, name, pid, port, ca=None, direct_tls=False, folder=None):
        self.name = name
        self.pid = pid
        self.port = port
        self.libpq = {"PGPORT": str(port), "PGUSER": "bench", "PGDATABASE": "bench", "PGGSSENCMODE": "disable"}
        self.pump_words = []
        if ca is None:
            self.libpq |= {"PGHOST": str(folder or "127.0.0.1"), "PGSSLMODE": "disable"}
            return
        self.libpq |= {"PGHOST": "localhost", "PGHOSTADDR": "127.0.0.1", "PGSSLMODE": "verify-full",
                       "PGSSLROOTCERT": str(ca)}  # fmt: skip
        if direct_tls:
            self.libpq["PGSSLNEGOTIATION"] = "direct"
        self.pump_words = ["direct" if direct_tls else "postgres", str(ca)]


class Direct:
    """No proxy: what the server itself can do, without TLS and with it."""

    modes = ("egress", "ingress", "both")
    is_proxy = False
    checks_clients = False
    cannot = ()

    def __init__(self, place, tls):
        self.name = "direct-tls" if tls else "direct"
        self._place = place
        self._tls = tls

    def knows(self, mode, postgres_major):
        return True

    def start(self, mode, server, checks_clients=False):
        folder = None if mode.tls_server else server.folder
        return Running(self.name, None, server.port, ca=self._place.ca if self._tls else None, folder=folder)


class Proxy:
    modes = ("egress", "ingress", "both")
    is_proxy = True
    checks_clients = False  # whether it can ask clients for certificates, in the workload `login`
    program = None  # by which we know that it is installed
    package = None
    direct_clients = False  # it knows no SSLRequest from clients
    direct_server = False  # it sends none to servers
    cannot = ()  # what the report says of modes in which it does not appear

    def __init__(self, place):
        self._place = place

    def is_installed(self):
        return any((self._place.debian.root / folder / self.program).exists() for folder in ("usr/sbin", "usr/bin"))

    def version(self):
        """As the package calls it, without Debian's own part."""
        version = self._place.run("dpkg-query", "--show", "--showformat=${Version}", self.package)
        return version.rpartition(":")[2].partition("-")[0]

    def knows(self, mode, postgres_major):
        """Whether it can do this between PostgreSQL and its clients of that version."""
        needs_direct = (mode.tls_clients and self.direct_clients) or (mode.tls_server and self.direct_server)
        return postgres_major >= DIRECT_TLS or not needs_direct

    def start(self, mode, server, checks_clients=False):
        """Runs until the workplace is closed."""
        for _ in range(5):  # somebody may take the port between our asking and its binding
            port = free_port()
            name = f"{self.name}-{mode.name}-{port}"
            command = self._command(port, mode, server, checks_clients)
            process = self._place.start(name, command)
            try:
                self._place.wait_for(lambda: _listens(port, process), process, name)
                ca = self._place.ca if mode.tls_clients else None
                running = Running(self.name, process.pid, port, ca, direct_tls=self.direct_clients)
                running.process, running.log = process, name
                return running
            except Failure as failure:
                problem = failure
        raise problem

    def _command(self, port, mode, server, checks_clients):
        raise NotImplementedError


class Pgveil(Proxy):
    checks_clients = True

    def __init__(self, place, binary, name="pgveil", flags=()):
        super().__init__(place)
        self.name = name
        self._binary = place.adopt(binary, name)
        # One thread, as the others have, unless somebody wants to know.
        self._flags = flags if "--workers" in flags else ["--workers", "1", *flags]

    def is_installed(self):
        return True

    def version(self):
        return self._place.run(self._binary, "--version").strip()

    def engine(self, running):
        """What it moves sessions with, from the line that it wrote at its start."""
        found = re.search(r" relay .*engine=(\w+)", self._place.log_of(running.log))
        return found[1] if found else "unknown"

    def _command(self, port, mode, server, checks_clients):
        at = self._place.directory
        words = [self._binary, "run", "--listen", f"127.0.0.1:{port}", *self._flags,
                 "--max-sessions", self._place.most_sessions]  # fmt: skip
        if mode.tls_server:
            words += ["--upstream", f"localhost:{server.port}", "--hostaddr", "127.0.0.1",
                      "--sslrootcert", self._place.ca]  # fmt: skip
        else:
            words += ["--upstream", f"{server.folder}:{server.port}"]
        if mode.tls_clients:
            words += ["--ssl-cert-file", at / "server.crt", "--ssl-key-file", at / "server.key"]
        return words + self._client_certificates() if checks_clients else words

    def _client_certificates(self):
        """They decide who the client is, and pgveil logs in to the server with the user's password."""
        return [
            "--ssl-ca-file", self._place.ca,
            "--hba-file", self._place.write("pg_hba.conf", "hostssl all all all cert map=bench assign=1\n"),
            "--ident-file", self._place.write("pg_ident.conf", f"bench {CLIENT_NAME} scram\n"),
            "--passfile", self._place.write("pgpass", "*:*:*:scram:bench\n"),
        ]  # fmt: skip


class PgBouncer(Proxy):
    name = program = package = "pgbouncer"

    def _command(self, port, mode, server, checks_clients):
        at = self._place.directory
        users = self._place.write("pgbouncer-users.txt", '"bench" ""\n')
        host = "127.0.0.1" if mode.tls_server else server.folder
        tls = ""
        if mode.tls_server:
            tls += f"server_tls_sslmode = verify-full\nserver_tls_ca_file = {self._place.ca}\n"
        if mode.tls_clients:
            tls += f"client_tls_sslmode = require\nclient_tls_cert_file = {at}/server.crt\n"
            tls += f"client_tls_key_file = {at}/server.key\n"
        return ["pgbouncer", self._place.write(f"pgbouncer-{port}.ini", f"""[databases]
bench = host={host} port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = session
max_client_conn = {self._place.most_sessions}
default_pool_size = {self._place.most_sessions}
ignore_startup_parameters = extra_float_digits
{tls}""")]


class Odyssey(Proxy):
    name = program = package = "odyssey"

    def _command(self, port, mode, server, checks_clients):
        at = self._place.directory
        tls = f'\ttls "require"\n\ttls_cert_file "{at}/server.crt"\n\ttls_key_file "{at}/server.key"\n'
        host = f'host "localhost"\n\tport {server.port}\n\ttls "verify_full"\n\ttls_ca_file "{self._place.ca}"'
        if not mode.tls_server:
            host = f'host "unix://{server.socket}"'
        # The first nine lines are the package's own.
        return ["odyssey", self._place.write(f"odyssey-{port}.conf", f"""daemonize no
log_format "%p %t %l [%i %s] (%c) %m\\n"
log_to_stdout yes
log_config yes
log_debug no
log_session yes
log_stats no
log_query no
coroutine_stack_size 24
listen {{
\thost "127.0.0.1"
\tport {port}
{tls if mode.tls_clients else ""}}}
storage "server" {{
\ttype "remote"
\t{host}
}}
database default {{
\tuser default {{
\t\tauthentication "none"
\t\tstorage "server"
\t\tpool "session"
\t\tpool_size 0
\t}}
}}
""")]


class Stunnel(Proxy):
    name = "stunnel"
    program = package = "stunnel4"

    def _command(self, port, mode, server, checks_clients):
        """For both sides two services of one process, with a Unix socket between them."""
        at = self._place.directory
        between = self._place.folder / f"stunnel-{port}"
        middle = between if mode.tls_clients and mode.tls_server else None
        text = "foreground = yes\npid =\nsyslog = no\n"
        if mode.tls_clients:
            text += f"""[clients]
accept = 127.0.0.1:{port}
connect = {middle or server.socket}
protocol = pgsql
cert = {at}/server.crt
key = {at}/server.key
"""
        if mode.tls_server:
            text += f"""[server]
client = yes
accept = {middle or f"127.0.0.1:{port}"}
connect = 127.0.0.1:{server.port}
protocol = pgsql
CAfile = {self._place.ca}
verifyChain = yes
checkHost = localhost
"""
        return ["stunnel4", self._place.write(f"stunnel-{port}.conf", text)]


class HAProxy(Proxy):
    name = program = package = "haproxy"
    direct_clients = True
    direct_server = True
    checks_clients = True
    cannot = ("HAProxy knows no SSLRequest: it needs direct TLS on both sides, which PostgreSQL has from 17 on.",)

    def _command(self, port, mode, server, checks_clients):
        """In `login` it checks the certificate and passes on who the client says to be: it logs in for nobody."""
        bind = f"ssl crt {self._place.directory}/server.pem alpn postgresql no-tls-tickets" if mode.tls_clients else ""
        if checks_clients:
            bind += f" ca-file {self._place.ca} verify required"
        target = f"unix@{server.socket}"
        if mode.tls_server:
            target = (
                f"127.0.0.1:{server.port} ssl verify required ca-file {self._place.ca} verifyhost localhost "
                "sni str(localhost) alpn postgresql no-ssl-reuse"
            )
        return ["haproxy", "-db", "-f", self._place.write(f"haproxy-{port}.cfg", f"""global
  maxconn {self._place.most_sessions}
  nbthread 1
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen postgresql
  bind 127.0.0.1:{port} {bind}
  server one {target}
""")]


class Nginx(Proxy):
    name = program = package = "nginx"
    modes = ("ingress",)
    direct_clients = True
    cannot = (
        "nginx knows no SSLRequest: its clients use direct TLS. To a server it offers no ALPN, without which "
        "PostgreSQL refuses direct TLS: ingress only.",
    )

    def is_installed(self):
        return super().is_installed() and self._module.exists()

    @property
    def _module(self):
        return self._place.debian.root / "usr/lib/nginx/modules/ngx_stream_module.so"

    def _command(self, port, mode, server, checks_clients):
        at = self._place.directory
        return ["nginx", "-e", "stderr", "-p", self._place.folder, "-c", self._place.write(f"nginx-{port}.conf", f"""
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes 1;
pid {self._place.folder}/nginx-{port}.pid;
error_log stderr;
events {{ worker_connections {2 * self._place.most_sessions}; }}
stream {{
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {at}/server.crt;
    ssl_certificate_key {at}/server.key;
    ssl_alpn postgresql;
    proxy_pass unix:{server.socket};
    proxy_timeout 1h;
  }}
}}
""")]


class Hitch(Proxy):
    name = program = package = "hitch"
    modes = ("ingress",)
    direct_clients = True
    cannot = (
        "hitch knows no SSLRequest: its clients use direct TLS. To a server it speaks TLS only instead of to clients, "
        "and does not compare the name in the certificate: ingress only.",
    )

    def _command(self, port, mode, server, checks_clients):
        return ["hitch", f"--frontend=[127.0.0.1]:{port}", f"--backend={server.socket}", "--workers=1",
                "--alpn-protos=postgresql", self._place.directory / "server.pem"]  # fmt: skip


def everyone(place, binary, flags, beside=None):
    """In the order of the tables. `beside`: one more binary of pgveil."""
    return [
        Direct(place, tls=False),
        Direct(place, tls=True),
        Pgveil(place, binary, flags=flags),
        *([Pgveil(place, beside, name="pgveil-beside", flags=flags)] if beside else []),
        Pgveil(place, binary, name="pgveil-epoll", flags=["--relay", "epoll", *flags]),
        PgBouncer(place),
        Odyssey(place),
        HAProxy(place),
        Nginx(place),
        Hitch(place),
        Stunnel(place),
    ]


def names(beside=None):
    """Of everyone(), before there is a place for them."""
    others = [PgBouncer, Odyssey, HAProxy, Nginx, Hitch, Stunnel]
    return ["direct", "direct-tls", "pgveil", *(["pgveil-beside"] if beside else []), "pgveil-epoll",
            *(kind.name for kind in others)]  # fmt: skip


def _listens(port, process):
    """Looks at the kernel's table instead of connecting: a session that nobody wants would cost the proxy CPU."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        found = re.search(rf"^ *\d+: 0100007F:{port:04X} \S+ 0A", table.read(), re.MULTILINE)
    return bool(found) and process.poll() is None
