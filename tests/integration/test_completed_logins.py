"""Logins that pgveil completes: it asks the client itself, and answers the server itself."""

import functools
import os
import pwd

import pytest

from harness import wire
from harness.postgres import PASSWORD
from harness.secrets import secret_file
from harness.tls_clients import answer, certificate, run_psql, shown, tls_client

# Each rule for its kind of listener.
SCRAM = "host all all all scram-sha-256\n"
VERIFIER = "SELECT rolpassword FROM pg_authid WHERE rolname = '{}'"


@pytest.fixture
def pgveil(pgveil):
    """With the audit records in the log."""
    return functools.partial(pgveil, log={"level": "debug"})


@pytest.fixture
def verifiers(postgres, folder):
    """An auth_file with what the server has of each user's password."""
    rows = [(user, postgres.admin(VERIFIER.format(user))) for user in ("app", "replicator")]
    return secret_file(folder / "userlist.txt", "".join(f'"{user}" "{secret}"\n' for user, secret in rows))


@pytest.fixture
def passwords(folder):
    """An auth_file with the passwords themselves."""
    return secret_file(folder / "passwords.txt", f'"app" "{PASSWORD}"\n"old" "{PASSWORD}"\n')


@pytest.fixture
def passfile(folder):
    return secret_file(folder / "pgpass", f"*:*:ledger:app:{PASSWORD}\n*:*:*:old:{PASSWORD}\n")


def user_of(proxy, authority, **more):
    return run_psql(proxy, authority, "SELECT current_user", **more)


class TestScram:
    @pytest.mark.parametrize("secrets", ["verifiers", "passwords"])
    @pytest.mark.parametrize("channel_binding", ["disable", "prefer", "require"])
    def test_binds_both_tls_connections(self, pgveil, postgres, authority, credentials, request, secrets,
                                        channel_binding):  # fmt: skip
        file = request.getfixturevalue(secrets)
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials, hba=SCRAM, auth_file=file))
        assert answer(user_of(proxy, authority, channel_binding=channel_binding)) == "app"
        assert "server_method=SCRAM-SHA-256-PLUS" in proxy.wait_for_line("audit.*outcome=accepted").string
        assert "password authentication failed" in user_of(proxy, authority, password="wrong").stderr

    def test_asks_a_plaintext_client_without_binding(self, pgveil, postgres, verifiers):
        proxy = pgveil(postgres.upstream(), listener={"hba": SCRAM, "auth_file": verifiers})
        assert proxy.query("SELECT current_user", user="app", password=PASSWORD) == "app"
        assert "server_method=SCRAM-SHA-256-PLUS" in proxy.wait_for_line("audit.*outcome=accepted").string

    def test_reaches_a_server_without_tls(self, pgveil, postgres, authority, credentials, verifiers):
        proxy = pgveil(postgres.unix_upstream(), listener=certificate(credentials, hba=SCRAM, auth_file=verifiers))
        with postgres.reconfigured(hba="local all all scram-sha-256\n"):
            assert answer(user_of(proxy, authority, channel_binding="require")) == "app"
        assert "server_method=SCRAM-SHA-256 " in proxy.wait_for_line("audit.*outcome=accepted").string

    def test_an_unknown_user_fails_as_a_wrong_password_does(self, pgveil, postgres, authority, credentials, verifiers):
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials, hba=SCRAM, auth_file=verifiers))
        for user in "app", "nobody":
            done = user_of(proxy, authority, user=user, password="wrong")
            assert f'FATAL:  pgveil: password authentication failed for user "{user}"' in done.stderr
        proxy.wait_for_lines("session_closed.*reason=password_wrong", 2)

    def test_a_changed_password_is_explained(self, pgveil, postgres, authority, credentials, verifiers):
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials, hba=SCRAM, auth_file=verifiers))
        postgres.admin("ALTER ROLE app PASSWORD 'new'")
        try:
            done = user_of(proxy, authority)
            assert "FATAL:  pgveil: the proxy's secret for this user is not the server's" in done.stderr
            assert "reason=held_secret_outdated" in proxy.end_of_session()
        finally:
            postgres.admin(f"ALTER ROLE app PASSWORD '{PASSWORD}'")

    @pytest.mark.parametrize("secrets", ["verifiers", "passwords"])
    def test_a_changed_password_that_only_the_client_knows_is_wrong(self, pgveil, postgres, authority, credentials,
                                                                    request, secrets):  # fmt: skip
        file = request.getfixturevalue(secrets)
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials, hba=SCRAM, auth_file=file))
        postgres.admin("ALTER ROLE app PASSWORD 'new'")
        try:
            done = user_of(proxy, authority, password="new")
            assert 'FATAL:  pgveil: password authentication failed for user "app"' in done.stderr
            assert "copy rolpassword of pg_authid into auth_file again" in done.stderr
            end = proxy.end_of_session()
            assert "reason=password_wrong" in end and "or it has another secret than the server" in end
            # Those who have the old one are told whose fault it is.
            done = user_of(proxy, authority)
            assert "FATAL:  pgveil: the proxy's secret for this user is not the server's" in done.stderr
            assert "password authentication failed" not in done.stderr.split("DETAIL")[0]
            proxy.wait_for_line("session_closed.*reason=held_secret_outdated")
        finally:
            postgres.admin(f"ALTER ROLE app PASSWORD '{PASSWORD}'")

    def test_a_plain_password_is_outdated_by_md5_too(self, pgveil, postgres, authority, credentials, passwords):
        proxy = pgveil(postgres.upstream(require_auth="scram-sha-256,md5"),
                       listener=certificate(credentials, hba=SCRAM, auth_file=passwords))  # fmt: skip
        postgres.admin("SET password_encryption = 'md5'; ALTER ROLE old PASSWORD 'new'")
        try:
            done = user_of(proxy, authority, user="old")
            assert "FATAL:  pgveil: the proxy's secret for this user is not the server's" in done.stderr
            assert "reason=held_secret_outdated" in proxy.end_of_session()
        finally:
            postgres.admin(f"SET password_encryption = 'md5'; ALTER ROLE old PASSWORD '{PASSWORD}'")

    def test_a_server_without_a_rule_for_the_proxy_is_named_before_anyone_is_asked(self, pgveil, postgres, authority,
                                                                                  credentials, verifiers):  # fmt: skip
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials, hba=SCRAM, auth_file=verifiers))
        with postgres.reconfigured(hba=""):
            done = user_of(proxy, authority)
        assert "FATAL:  pgveil: the server does not let the proxy log in as this user" in done.stderr
        assert "no pg_hba.conf entry for host" in proxy.end_of_session()

    def test_an_expired_role_is_refused_by_the_server(self, pgveil, postgres, authority, credentials, verifiers):
        proxy = pgveil(postgres.upstream(), listener=certificate(credentials, hba=SCRAM, auth_file=verifiers))
        postgres.admin("ALTER ROLE app VALID UNTIL '2020-01-01'")
        try:
            done = user_of(proxy, authority)
            # The server asks as it would ask an unknown user.
            assert "FATAL:  pgveil: the proxy's secret for this user is not the server's" in done.stderr
            assert "VALID UNTIL" in done.stderr
        finally:
            postgres.admin("ALTER ROLE app VALID UNTIL 'infinity'")

    def test_md5_of_the_server_has_to_be_allowed(self, pgveil, postgres, authority, credentials, passwords):
        listener = certificate(credentials, hba=SCRAM, auth_file=passwords)
        done = user_of(pgveil(postgres.upstream(), listener=listener), authority, user="old")
        assert "FATAL:  pgveil: the server's way of authentication is not allowed" in done.stderr
        proxy = pgveil(postgres.upstream(require_auth="scram-sha-256,md5"), listener=listener)
        assert answer(user_of(proxy, authority, user="old")) == "old"
        assert "server_method=md5" in proxy.wait_for_line("audit.*outcome=accepted").string


class TestPassword:
    RULE = "hostssl all all all password\n"

    @pytest.mark.parametrize("user", ["app", "old"])
    def test_is_whatever_the_server_asks_for(self, pgveil, postgres, authority, credentials, user):
        proxy = pgveil(postgres.upstream(require_auth="scram-sha-256,md5"),
                       listener=certificate(credentials, hba=self.RULE))  # fmt: skip
        assert answer(user_of(proxy, authority, user=user)) == user
        assert "password authentication failed" in user_of(proxy, authority, user=user, password="wrong").stderr
        assert PASSWORD not in proxy.log
        # It is the client's own, so it hears what the server says of it.
        end = proxy.wait_for_line("session_closed.*reason=login_failed.*").string
        assert "sqlstate=28P01" in end and "password authentication failed for user" in end

    def test_is_never_taken_unchecked(self, pgveil, postgres, authority, credentials):
        # The server trusts whoever comes.
        proxy = pgveil(postgres.unix_upstream(require_auth="none,scram-sha-256"),
                       listener=certificate(credentials, hba=self.RULE))  # fmt: skip
        done = user_of(proxy, authority, user="billing", password="anything")
        assert "FATAL:  pgveil: the server's way of authentication is not allowed" in done.stderr

    def test_is_refused_without_tls(self, postgres, refusal):
        for rule in "host all all all password", "local all all password":
            assert "method password requires type hostssl" in refusal(postgres.upstream(), hba=rule + "\n")


class TestHeldPasswords:
    RULE = "hostssl all all all cert map=m\n"
    IDENT = "m workload app\nm workload old\nm workload replicator\n"

    @pytest.fixture
    def listener(self, authority, credentials):
        return certificate(credentials, ssl_ca_file=str(authority.file), hba=self.RULE, ident=self.IDENT)

    @pytest.fixture
    def client(self, authority):
        return authority.issue_to_client("workload")

    def test_log_in_for_a_certificate(self, pgveil, postgres, authority, listener, client, passfile):
        proxy = pgveil(postgres.upstream(passfile=passfile), listener=listener)
        for _ in range(2):
            assert answer(user_of(proxy, authority, password="", **shown(client))) == "app"
        assert "server_method=SCRAM-SHA-256-PLUS" in proxy.wait_for_line("audit.*outcome=accepted").string
        assert PASSWORD not in proxy.log

    @pytest.mark.parametrize("change", ["VALID UNTIL '2020-01-01'", "PASSWORD 'new'"], ids=["expired", "changed"])
    def test_that_the_server_refuses_are_not_the_concern_of_the_client(self, pgveil, postgres, authority, listener,
                                                                       client, passfile, change):  # fmt: skip
        proxy = pgveil(postgres.upstream(passfile=passfile), listener=listener)
        postgres.admin(f"ALTER ROLE app {change}")
        try:
            done = user_of(proxy, authority, **shown(client))
            assert "FATAL:  pgveil: the server refused the proxy's password for this user" in done.stderr
            said = 'The server refused the password of passfile: password authentication failed for user "app"'
            assert f"DETAIL:  {said} (SQLSTATE 28P01)." in done.stderr
            end = proxy.end_of_session()
            assert " W " in end and "reason=upstream_refused_password" in end and "sqlstate=28P01" in end
            audit = next(line for line in proxy.lines if " audit " in line)
            assert "outcome=refused reason=upstream_refused_password" in audit and "sqlstate=28P01" in audit
            assert said.replace('"', '\\"') in audit
        finally:
            postgres.admin(f"ALTER ROLE app VALID UNTIL 'infinity' PASSWORD '{PASSWORD}'")

    def test_that_the_server_refuses_have_no_sqlstate_of_a_password(self, pgveil, postgres, folder):
        # A client that reads 28P01 asks its user for a password.
        wrong = secret_file(folder / "wrong", "*:*:*:*:wrong\n")
        proxy = pgveil(postgres.upstream(passfile=wrong, require_auth="scram-sha-256,md5"),
                       listener={"hba": "host all all 127.0.0.1/32 trust\n"})  # fmt: skip
        for user in "app", "old":
            with proxy.connect() as session:
                session.send(wire.startup_message(user=user, database="ledger"))
                assert session.receive_error()["C"] == "28000"

    def test_of_a_role_that_may_not_log_in_are_told_as_the_server_says_it(self, pgveil, postgres, authority, listener,
                                                                          client, passfile):  # fmt: skip
        proxy = pgveil(postgres.upstream(passfile=passfile), listener=listener)
        postgres.admin("ALTER ROLE app NOLOGIN")
        try:
            assert 'FATAL:  role "app" is not permitted to log in' in user_of(proxy, authority, **shown(client)).stderr
            assert "reason=login_failed" in proxy.end_of_session()
        finally:
            postgres.admin("ALTER ROLE app LOGIN")

    @pytest.mark.parametrize("rule", ["", "hostssl all all all cert\n", "hostssl all all all reject\n"])
    def test_that_the_server_does_not_ask_for_are_no_way_in(self, pgveil, postgres, authority, listener, client, passfile,
                                                            rule):  # fmt: skip
        proxy = pgveil(postgres.upstream(passfile=passfile), listener=listener)
        with postgres.reconfigured(hba=rule):
            done = user_of(proxy, authority, **shown(client))
        assert "FATAL:  pgveil: the server does not let the proxy log in as this user" in done.stderr
        assert "DETAIL:  The server refused the proxy without asking for a password: " in done.stderr
        end = proxy.end_of_session()
        assert "reason=upstream_refused_login" in end and "sqlstate=28000" in end and "(SQLSTATE 28000)" in end

    def test_of_another_database_are_not_used(self, pgveil, postgres, authority, listener, client, passfile):
        proxy = pgveil(postgres.upstream(passfile=passfile), listener=listener)
        done = user_of(proxy, authority, user="app", dbname="postgres", **shown(client))
        assert "FATAL:  pgveil: the server asks for a password, and the proxy has none for this user" in done.stderr
        assert "The passfile has no line for host localhost" in proxy.end_of_session()

    def test_must_be_asked_for(self, pgveil, postgres, authority, listener, client, passfile):
        # `trust` on the server's side hides there that nobody checks pgveil.
        with postgres.reconfigured(hba="hostssl all all all trust\n"):
            proxy = pgveil(postgres.upstream(passfile=passfile), listener=listener)
            done = user_of(proxy, authority, **shown(client))
            assert "FATAL:  pgveil: the server's way of authentication is not allowed" in done.stderr
            assert "accepts the login without asking" in proxy.end_of_session()
            proxy = pgveil(postgres.upstream(passfile=passfile, require_auth="none"), listener=listener)
            assert answer(user_of(proxy, authority, **shown(client))) == "app"

    def test_in_cleartext_have_to_be_allowed(self, pgveil, postgres, authority, listener, client, passfile):
        with postgres.reconfigured(hba="hostssl all all all password\n"):
            done = user_of(pgveil(postgres.upstream(passfile=passfile), listener=listener), authority, **shown(client))
            assert "FATAL:  pgveil: the server's way of authentication is not allowed" in done.stderr
            proxy = pgveil(postgres.upstream(passfile=passfile, require_auth="password"), listener=listener)
            assert answer(user_of(proxy, authority, **shown(client))) == "app"

    def test_with_channel_binding_required_need_a_server_with_tls(self, pgveil, postgres, authority, listener, client,
                                                                   passfile):  # fmt: skip
        upstream = postgres.upstream(passfile=passfile, channel_binding="require", require_auth="scram-sha-256,md5")
        proxy = pgveil(upstream, listener=listener)
        assert answer(user_of(proxy, authority, **shown(client))) == "app"
        done = user_of(proxy, authority, user="old", **shown(client))
        assert "FATAL:  pgveil: channel binding is required, but the server does not offer it" in done.stderr

    def test_disabled_binding_is_none(self, pgveil, postgres, authority, listener, client, passfile):
        proxy = pgveil(postgres.upstream(passfile=passfile, channel_binding="disable"), listener=listener)
        assert answer(user_of(proxy, authority, **shown(client))) == "app"
        assert "server_method=SCRAM-SHA-256 " in proxy.wait_for_line("audit.*outcome=accepted").string

    def test_readable_by_others_are_refused(self, postgres, refusal, folder, passfile):
        os.chmod(passfile, 0o644)
        said = refusal(postgres.upstream(passfile=passfile), hba="host all all 127.0.0.1/32 trust\n")
        assert "holds passwords and has group or world access" in said

    def test_without_a_login_on_behalf_of_clients_have_no_effect(self, postgres, refusal, passfile):
        assert "passfile: has no effect" in refusal(postgres.upstream(passfile=passfile))


class TestPasswordCommands:
    RULE = "host all all 127.0.0.1/32 trust\n"

    @pytest.fixture
    def proxy(self, pgveil, postgres):
        def start(*command, **settings):
            upstream = postgres.upstream(password_command=list(command), **settings)
            return pgveil(upstream, listener={"hba": self.RULE})

        return start

    def test_print_the_password(self, proxy, folder):
        asked = folder / "asked"
        script = f'echo "$1 $PGUSER $PGDATABASE $PGHOST" >>{asked}; echo "{PASSWORD}"'
        running = proxy("/bin/sh", "-c", script, "token", "user=%u@%h/%d 100%%")
        assert running.query("SELECT current_user", user="app") == "app"
        assert asked.read_text() == "user=app@localhost/ledger 100% app ledger localhost\n"
        assert "server_method=SCRAM-SHA-256-PLUS" in running.wait_for_line("audit.*outcome=accepted").string
        assert PASSWORD not in running.log

    @pytest.mark.parametrize(("ttl", "runs"), [("0s", 3), ("1h", 1)])
    def test_are_run_again_when_their_answer_is_too_old(self, proxy, folder, ttl, runs):
        script = f'echo x >>{folder}/runs; echo "{PASSWORD}"'
        running = proxy("/bin/sh", "-c", script, password_command_ttl=ttl)
        for _ in range(3):
            assert running.query("SELECT 1", user="app") == "1"
        assert (folder / "runs").read_text() == "x\n" * runs

    def test_are_asked_anew_once_the_server_has_refused(self, proxy, folder):
        (folder / "secret").write_text("old password")
        running = proxy("/bin/cat", str(folder / "secret"), password_command_ttl="1h")
        done = running.psql("SELECT 1", user="app")
        assert "FATAL:  pgveil: the server refused the proxy's password for this user" in done.stderr
        assert "DETAIL:  The server refused the password of password_command: " in done.stderr
        (folder / "secret").write_text(PASSWORD)
        assert running.query("SELECT 1", user="app") == "1"

    @pytest.mark.parametrize(
        ("command", "why"),
        [(["/bin/sh", "-c", "echo hidden; exit 3"], "exited with status 3"), (["/bin/true"], "printed"),
         (["/nonexistent/token"], "cannot be started")],
    )  # fmt: skip
    def test_that_fail_are_explained(self, proxy, command, why, folder):
        if command[0].startswith("/nonexistent"):
            command = [str(folder / "token")]
            (folder / "token").write_text("#!/bin/sh\n")
            (folder / "token").chmod(0o755)
        running = proxy(*command)
        (folder / "token").unlink(missing_ok=True)
        done = running.psql("SELECT 1", user="app")
        assert "FATAL:  pgveil: the proxy could not obtain the password for this user" in done.stderr
        end = running.end_of_session()
        assert "reason=password_command_failed" in end and why in end
        assert "hidden" not in running.log

    def test_that_take_too_long_are_ended(self, proxy):
        running = proxy("/bin/sleep", "1000", password_command_timeout="100ms")
        assert "not done within" in running.psql("SELECT 1", user="app").stderr

    def test_with_a_placeholder_that_there_is_not_are_refused(self, postgres, refusal):
        assert "password_command" in refusal(postgres.upstream(password_command=["/bin/token", "%x"]), hba=self.RULE)


class TestRoleCertificates:
    RULE = "host all all 127.0.0.1/32 trust\n"

    @pytest.fixture
    def directory(self, authority, folder):
        directory = folder / "roles"
        directory.mkdir()
        for role in "app", "orders":
            issued = authority.issue_to_client(role)
            (directory / f"{role}.crt").write_bytes(issued.certificate.read_bytes())
            secret_file(directory / f"{role}.key", issued.key.read_text())
        return directory

    def test_are_shown_for_their_role(self, pgveil, postgres, directory):
        with postgres.reconfigured(hba="hostssl all all all cert\n"):
            proxy = pgveil(postgres.upstream(role_certificates=str(directory)), listener={"hba": self.RULE})
            for role in "app", "orders":
                dn = "SELECT current_user, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
                assert proxy.query(dn, user=role).startswith(f"{role}|/CN={role}")
            done = proxy.psql("SELECT 1", user="billing")
            assert "FATAL:  pgveil: the proxy holds no certificate for this user" in done.stderr
            assert "reason=role_certificate_missing" in proxy.wait_for_line("session_closed.*role_cert.*").string

    def test_are_not_for_clients_whom_the_server_asks(self, pgveil, postgres, directory):
        listener = {"hba": f"host all orders all relay\n{self.RULE}"}
        with postgres.reconfigured(hba="hostssl all all all cert\n"):
            proxy = pgveil(postgres.upstream(role_certificates=str(directory)), listener=listener)
            assert "FATAL:  connection requires a valid client certificate" in proxy.psql("SELECT 1", user="orders").stderr

    def test_that_cannot_be_read_are_named(self, postgres, refusal, directory):
        (directory / "orders.key").chmod(0o644)
        said = refusal(postgres.upstream(role_certificates=str(directory)), hba=self.RULE)
        assert 'role_certificates: role "orders"' in said and "group or world access" in said
        for file in directory.iterdir():
            file.unlink()
        assert "there is no certificate in" in refusal(
            postgres.upstream(role_certificates=str(directory)), hba=self.RULE)  # fmt: skip
        directory.rmdir()
        said = refusal(postgres.upstream(role_certificates=str(directory)), hba=self.RULE)
        assert f'cannot read "{directory}": No such file or directory\n  hint: Check the path.' in said


class TestAssignedUsers:
    """With assign=1 the StartupMessage goes up with the mapped user."""

    @pytest.mark.parametrize(("databases", "error"), [("all", None), ("workload", "no pg_hba.conf entry")])
    def test_get_their_own_database_only_where_a_rule_lets_them(self, pgveil, scripted_server, authority, credentials,
                                                                databases, error):  # fmt: skip
        def script(peer):
            peer.accept_tls(credentials)
            peer.log_in()

        server = scripted_server(script)
        listener = certificate(credentials, ssl_ca_file=str(authority.file), ident="m workload billing",
                               hba=f"hostssl {databases} all all cert map=m assign=1\n")  # fmt: skip
        proxy = pgveil(server.upstream(sslrootcert=str(authority.file)), listener=listener)
        with tls_client(proxy, authority, credentials=authority.issue_to_client("workload")) as client:
            client.send(wire.startup_message(user="workload"))
            if error:
                assert error in client.receive_error()["M"]
                return
            client.receive_until(b"Z")
        assert server.peer().startup[4:] == b"user\0billing\0database\0billing\0\0"


@pytest.mark.parametrize("allowed", [False, True])
def test_memory_can_be_dumped_only_where_it_is_allowed(pgveil, postgres, allowed):
    # Of a process that may not be dumped the kernel gives everything to root (proc(5)).
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    prefix = ("setpriv", "--reuid", str(user.pw_uid), "--clear-groups") if os.geteuid() == 0 else ()
    proxy = pgveil(postgres.unix_upstream(), limits={"core_dumps": allowed}, prefix=prefix)
    assert os.stat(f"/proc/{proxy.pid}/environ").st_uid == (user.pw_uid if allowed else 0)


class TestStartupParameters:
    RULE = "host all all 127.0.0.1/32 trust\n"

    def test_of_a_login_on_behalf_of_a_client_are_on_a_list(self, pgveil, postgres, passfile):
        proxy = pgveil(postgres.upstream(passfile=passfile), listener={"hba": self.RULE})
        done = proxy.psql("SELECT 1", user="app", options="-c search_path=evil")
        assert 'FATAL:  pgveil: startup parameter "options" is not allowed here' in done.stderr
        for event in "audit", "session_closed":
            line = proxy.wait_for_line(f"{event}.*reason=parameter_not_allowed.*").string
            assert r'"startup parameter \"options\" is not allowed here' in line and "The proxy logs in on behalf of this client" in line
        assert "reason=parameter_not_allowed" in proxy.end_of_session()
        assert proxy.query("SHOW application_name", user="app", application_name="me") == "me"

    def test_the_operator_may_allow_more(self, pgveil, postgres, passfile):
        listener = {"hba": self.RULE, "allowed_startup_parameters": "options,client_encoding,application_name"}
        proxy = pgveil(postgres.upstream(passfile=passfile), listener=listener)
        assert proxy.query("SHOW search_path", user="app", options="-c search_path=evil") == "evil"

    def test_of_a_client_that_logs_in_itself_are_its_own(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream())
        assert proxy.query("SHOW search_path", user="app", password=PASSWORD, options="-c search_path=x") == "x"

    def test_can_be_fixed(self, pgveil, postgres):
        fixed = {"database": "ledger", "options": "-c work_mem=77MB", "application_name": "fixed"}
        proxy = pgveil(postgres.upstream(), listener=fixed)
        row = "SELECT current_database(), current_setting('work_mem'), current_setting('application_name')"
        assert proxy.query(row, user="app", password=PASSWORD, dbname="nowhere", application_name="me",
                           options="-c work_mem=1MB") == "ledger|77MB|fixed"  # fmt: skip

    def test_can_have_a_default(self, pgveil, postgres):
        defaults = {"default_database": "ledger", "default_options": "-c work_mem=77MB",
                    "default_application_name": "some"}  # fmt: skip
        proxy = pgveil(postgres.upstream(), listener=defaults)
        row = "SELECT current_database(), current_setting('work_mem'), current_setting('application_name')"
        with proxy.connect() as client:
            client.log_in(user="trusted")
            assert client.rows(row) == [b"\0\3\0\0\0\6ledger\0\0\0\x0477MB\0\0\0\4some"]
        assert proxy.query(row, user="app", password=PASSWORD, dbname="postgres", application_name="me",
                           options="-c work_mem=1MB") == "postgres|1MB|me"  # fmt: skip

    @pytest.mark.parametrize("spare, fits", [(0, False), (len("application_name some") + 1, True)])
    def test_that_are_added_must_find_room_in_the_packet(self, pgveil, postgres, spare, fits):
        """PostgreSQL takes 10,000 bytes, and closes without a word over more."""
        proxy = pgveil(postgres.upstream(), listener={"default_application_name": "some"})
        text = "-c a.b="
        room = 10_004 - len(wire.startup_message(user="trusted", database="ledger", options=text)) - spare
        with proxy.connect() as client:
            client.send(wire.startup_message(user="trusted", database="ledger", options=text + "x" * room))
            if fits:
                client.receive_until(b"Z")
                return
            error = client.receive_error()
        assert error["C"] == "08P01"
        assert "no room left for what the proxy adds" in error["D"]

    def test_a_fixed_database_is_what_the_rules_see(self, pgveil, postgres):
        listener = {"database": "ledger", "hba": "host ledger all all relay\n"}
        proxy = pgveil(postgres.upstream(), listener=listener)
        assert proxy.query("SELECT 1", user="app", password=PASSWORD, dbname="other") == "1"


class TestRelayedLogins:
    def test_keep_to_require_auth(self, pgveil, postgres):
        proxy = pgveil(postgres.upstream(require_auth="scram-sha-256"))
        assert proxy.query("SELECT 1", user="app", password=PASSWORD) == "1"
        done = proxy.psql("SELECT 1", user="old", password=PASSWORD)
        assert "FATAL:  pgveil: the server's way of authentication is not allowed" in done.stderr
        assert "asks for an MD5 password" in done.stderr
        assert "FATAL" in proxy.psql("SELECT 1", user="trusted").stderr
