"""`pgveil doctor` with credentials: the login over verified TLS, and what the server says of itself after it."""

import json
import ssl

import pytest

from harness import wire
from harness.certificates import DAY
from harness.pgveil import BINARY, EX_CONFIG, EX_UNAVAILABLE, toml
from harness.postgres import HBA, PASSWORD
from harness.processes import POSTGRES_BIN, environment, run
from harness.scram import authentication


def words_for(upstream: dict) -> list:
    return [f"{upstream['host']}:{upstream['port']}", "--hostaddr", upstream["hostaddr"],
            "--sslrootcert", upstream["sslrootcert"]]  # fmt: skip


def examine(*words, **variables):
    """Exit code, the report of the server, and its steps by name: a list for each."""
    done = run(BINARY, "doctor", "--json", *words, env=environment(**variables))
    assert done.returncode in (0, EX_UNAVAILABLE), done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    (report,) = json.loads(done.stdout)["servers"]
    steps = {}
    for step in report["steps"]:
        steps.setdefault(step["name"], []).append(step)
    return done.returncode, report, steps


def passfile(folder, text: str, mode: int = 0o600):
    path = folder / "pgpass"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


# --- where the password comes from ---


@pytest.fixture
def ways(postgres, folder):
    """Words and variables for each way to give the password."""
    words = [*words_for(postgres.upstream()), "--user", "app", "--dbname", "ledger"]
    file = passfile(folder, f"localhost:{postgres.port}:ledger:app:{PASSWORD}\n")
    home = folder / "home"
    home.mkdir()
    (home / ".pgpass").write_bytes(file.read_bytes())
    (home / ".pgpass").chmod(0o600)
    string = " ".join(f"{key}={value}" for key, value in postgres.upstream().items())
    return {
        "string": ([f"{string} user=app dbname=ledger password='{PASSWORD}'"], {}, "the connection string"),
        "variable": (words, {"PGPASSWORD": PASSWORD}, "PGPASSWORD"),
        "option": ([*words, "--passfile", file], {}, str(file)),
        "parameter": ([f"{string} user=app dbname=ledger passfile={file}"], {}, str(file)),
        "PGPASSFILE": (words, {"PGPASSFILE": str(file)}, str(file)),
        "home": (words, {"PGPASSFILE": "", "HOME": str(home)}, str(home / ".pgpass")),
    }


@pytest.mark.parametrize("way", ["string", "variable", "option", "parameter", "PGPASSFILE", "home"])
def test_the_password_is_found_as_libpq_finds_it(ways, way):
    words, variables, source = ways[way]
    code, report, steps = examine(*words, **variables)
    (session,) = steps["session"]
    assert session["text"] == f"logged in with SCRAM-SHA-256-PLUS and the password of {source}, bound to the certificate"
    assert code == 0 and report["session"]["method"] == "SCRAM-SHA-256-PLUS"


def test_a_password_of_the_environment_comes_before_the_password_file(postgres, folder):
    file = passfile(folder, "*:*:*:app:wrong\n")
    words = [*words_for(postgres.upstream()), "--user", "app", "--dbname", "ledger", "--passfile", file]
    assert examine(*words, PGPASSWORD=PASSWORD)[0] == 0


def configured(folder, **upstream):
    path = folder / "pgveil.toml"
    listener = {"address": "127.0.0.1:0", "upstream": "primary", "hba": "host all all 127.0.0.1/32 trust\n"}
    path.write_text(toml({"listener": [listener], "upstream": {"primary": upstream}}), encoding="utf-8")
    return "--config", path


def test_the_passfile_of_an_upstream_is_used_with_a_configuration(postgres, folder):
    file = passfile(folder, f"localhost:{postgres.port}:ledger:app:{PASSWORD}\n")
    words = [*configured(folder, **postgres.upstream(passfile=str(file))), "--user", "app", "--dbname", "ledger"]
    _, _, steps = examine(*words)
    assert str(file) in steps["session"][0]["text"]
    other = folder / "other"
    other.write_text("*:*:*:app:wrong\n")
    other.chmod(0o600)
    code, _, steps = examine(*words, "--passfile", other)
    assert code == EX_UNAVAILABLE and str(other) in steps["session"][0]["finding"]["remedy"]
    assert steps["session"][0]["finding"]["side"] == "client"
    file.write_text("*:*:*:app:wrong\n")
    code, _, steps = examine(*words)
    assert code == EX_UNAVAILABLE and steps["session"][0]["finding"]["side"] == "pgveil"
    # A variable would be sent to every upstream.
    assert "wrong" not in examine(*words, PGPASSWORD="wrong")[2]["session"][0]["text"]


def test_the_certificate_of_a_role_is_used_with_a_configuration(postgres, authority, folder):
    directory = folder / "roles"
    directory.mkdir()
    mine = authority.issue_to_client("certified")
    (directory / "certified.crt").write_bytes(mine.certificate.read_bytes())
    (directory / "certified.key").write_bytes(mine.key.read_bytes())
    (directory / "certified.key").chmod(0o600)
    upstream = postgres.upstream(role_certificates=str(directory))
    code, report, steps = examine(*configured(folder, **upstream), "--user", "certified", "--dbname", "ledger")
    assert code == 0 and "certificate is enough" in steps["login"][0]["text"]
    assert report["session"]["method"] == "none" and steps["accepted"][0]["outcome"] == "passed"
    assert steps["own cert"][0]["text"].startswith(f"{directory}/certified.crt: ")
    assert steps["own key"][0]["text"].startswith(f"{directory}/certified.key: ")


def test_a_certificate_of_a_role_that_has_expired_is_to_be_replaced(postgres, authority, folder):
    """sslcert would have no effect."""
    mine = authority.issue_to_client("certified", age=3 * DAY)
    roles = folder / "roles"
    roles.mkdir()
    for path, suffix in ((mine.certificate, "crt"), (mine.key, "key")):
        (roles / f"certified.{suffix}").write_bytes(path.read_bytes())
        (roles / f"certified.{suffix}").chmod(0o600)
    # With a slash at the end, too.
    words = configured(folder, **postgres.upstream(role_certificates=f"{roles}/"))
    code, _, steps = examine(*words, "--user", "certified")
    finding = steps["own cert"][0]["finding"]
    assert code == EX_UNAVAILABLE and finding["side"] == "pgveil"
    assert finding["remedy"] == (f"Replace {roles}/certified.crt and {roles}/certified.key with a certificate that is valid and "
                                 "its key, and reload pgveil.")  # fmt: skip


def test_a_certificate_that_is_asked_for_is_a_setting_of_the_configuration(postgres, folder):
    """--sslcert would be an error."""
    words = [*configured(folder, **postgres.upstream()), "--user", "certified", "--dbname", "ledger"]
    code, _, steps = examine(*words)
    remedy = steps["login"][0]["finding"]["remedy"]
    assert code == EX_UNAVAILABLE and "or set sslcert and sslkey of the upstream if" in remedy and "--ssl" not in remedy


@pytest.mark.parametrize("has_config, remedy", [
    (False, "Give a password with PGPASSWORD or --passfile."),
    (True, "Set passfile of the upstream, or give a password file with --passfile."),
], ids=["options", "configuration"])  # fmt: skip
def test_a_password_that_is_asked_for_only_the_second_time(scripted_server, credentials, authority, folder, has_config, remedy):
    """PGPASSWORD would have no effect with a configuration."""
    logins = []

    def script(peer):
        peer.accept_tls(credentials, minimum_version=ssl.TLSVersion.TLSv1_2)
        logins.append(peer.receive_startup_packet())
        peer.send(authentication(0) if len(logins) < 3 else authentication(3))
        peer.receive_to_end()

    upstream = scripted_server(script).upstream(sslrootcert=str(authority.file))
    words = configured(folder, **upstream) if has_config else words_for(upstream)
    code, _, steps = examine(*words, "--user", "app")
    assert code == EX_UNAVAILABLE and "upstream_asks_for_password" in steps["session"][0]["text"]
    assert steps["session"][0]["finding"]["remedy"] == remedy


def test_a_password_command_is_not_run(postgres, folder):
    upstream = postgres.upstream(password_command=["/bin/touch", str(folder / "was-run")])
    code, _, steps = examine(*configured(folder, **upstream), "--user", "app", "--dbname", "ledger")
    assert code == 0 and "password_command, which is not run here" in steps["session"][0]["text"]
    assert not (folder / "was-run").exists()


@pytest.mark.parametrize("kind", ["Unix socket", "disable"])
def test_no_login_is_begun_without_tls(postgres, folder, kind):
    if kind == "disable":
        upstream = {"host": "127.0.0.1", "port": postgres.port, "sslmode": "disable"}
    else:
        upstream = postgres.unix_upstream()
    code, report, steps = examine(*configured(folder, **upstream), "--user", "app", "--dbname", "ledger")
    assert code == 0 and report["session"] is None
    assert [step["text"] for step in steps["login"]] == [
        "not tried: a login is begun only with a server that is verified over TLS"]  # fmt: skip


def test_a_password_file_with_group_access_is_an_error_or_ignored(postgres, folder):
    file = passfile(folder, f"*:*:*:*:{PASSWORD}\n", mode=0o644)
    words = [*words_for(postgres.upstream()), "--user", "app", "--dbname", "ledger"]
    done = run(BINARY, "doctor", *words, "--passfile", file)
    assert done.returncode == EX_CONFIG and "--passfile" in done.stderr and "group or world access" in done.stderr
    _, _, steps = examine(*words, PGPASSFILE=str(file))
    assert "the password file is ignored" in steps["options"][0]["text"]
    assert "no password is known" in steps["session"][0]["text"]


def test_without_a_password_the_login_is_not_completed(postgres, folder):
    words = [*words_for(postgres.upstream()), "--user", "app", "--dbname", "ledger"]
    code, report, steps = examine(*words)
    assert code == 0 and report["session"] is None
    assert steps["session"][0]["text"] == "not tried: no password is known (--passfile)"
    file = passfile(folder, f"*:*:*:other:{PASSWORD}\n")
    _, _, steps = examine(*words, "--passfile", file)
    assert steps["session"][0]["text"] == f"not tried: no line of {file} is for this host, port, database and user"


# --- the login ---


@pytest.mark.parametrize("parameter, user, reason", [
    ("require_auth=scram-sha-256", "old", "upstream_auth_not_allowed"),
    ("channel_binding=require", "old", "upstream_channel_binding_unavailable"),
])  # fmt: skip
def test_the_terms_of_a_connection_string_are_kept(postgres, parameter, user, reason):
    string = " ".join(f"{key}={value}" for key, value in postgres.upstream().items())
    _, report, steps = examine(f"{string} {parameter} user={user} dbname=ledger", PGPASSWORD=PASSWORD)
    assert reason in steps["session"][0]["text"] and report["session"] is None


@pytest.mark.parametrize("user, method", [("old", "md5"), ("app", "password"), ("trusted", "none")])
def test_the_login_is_completed_with_each_method(postgres, user, method):
    hba = "hostssl all app 127.0.0.1/32 password\n" if method == "password" else None
    with postgres.reconfigured(hba=hba):
        words = [*words_for(postgres.upstream()), "--user", user, "--dbname", "ledger"]
        code, report, steps = examine(*words, PGPASSWORD=PASSWORD)
    assert report["session"]["method"] == method and steps["session"][0]["outcome"] == "passed"
    assert code == EX_UNAVAILABLE and steps["login"][0]["finding"]["side"] == "server"


def test_a_wrong_password_is_on_the_side_of_the_client(postgres):
    words = [*words_for(postgres.upstream()), "--user", "app", "--dbname", "ledger"]
    code, report, steps = examine(*words, PGPASSWORD="wrong")
    (session,) = steps["session"]
    assert code == EX_UNAVAILABLE and report["session"] is None
    assert "28P01" in session["text"] and session["finding"]["side"] == "client"
    assert "PGPASSWORD" in session["finding"]["remedy"] and "ALTER ROLE" in session["finding"]["remedy"]


def cleartext_server(credentials, received):
    """Asks for the password itself, with and without TLS."""

    def script(peer):
        first = peer.receive(8)
        if first == wire.SSL_REQUEST:
            peer.send(b"S")
            peer.start_tls(credentials)
            first = b""
        peer.send(wire.message(b"R", b"\0\0\0\3"))
        received.append(first + peer.receive_to_end())

    return script


def test_no_password_is_sent_to_a_server_that_is_not_verified(workplace, scripted_server, authority):
    received = []
    server = scripted_server(cleartext_server(authority.self_signed("localhost"), received))
    code, report, _ = examine(*words_for(server.upstream(sslrootcert=str(authority.file))), "--user", "app",
                              "--sslmode", "all", PGPASSWORD="hunter2 of app")  # fmt: skip
    assert code == EX_UNAVAILABLE and not report["verdict"]["verified"]
    assert not any(b"hunter2" in text for text in received)


def test_no_password_is_sent_without_tls(postgres):
    """Also if pg_hba.conf asks for the password itself."""
    hba = "host all app 127.0.0.1/32 password\n"
    with postgres.reconfigured(hba=hba, ssl="off", log_connections="on"):
        before = len(postgres.lines)
        _, report, steps = examine(*words_for(postgres.upstream()), "--user", "app", "--dbname", "ledger",
                                   PGPASSWORD=PASSWORD)  # fmt: skip
        postgres.admin("SELECT 1")
    assert report["verdict"]["reason"] == "upstream_refused_tls" and "session" not in steps
    assert not any("connection authorized: user=app" in line for line in postgres.lines[before:])


def test_a_server_without_the_secret_is_found_out(scripted_server, credentials, authority):
    """It accepts the login without proving that it knows the password."""

    def script(peer):
        peer.accept_tls(credentials)
        peer.receive_startup_packet()
        peer.send(wire.message(b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0"))
        peer.receive_message()
        peer.send(wire.message(b"R", b"\0\0\0\0"), wire.message(b"Z", b"I"))

    server = scripted_server(script)
    words = words_for(server.upstream(sslrootcert=str(authority.file)))
    code, _, steps = examine(*words, "--user", "app", PGPASSWORD=PASSWORD)
    assert code == EX_UNAVAILABLE and "upstream_signature_wrong" in steps["session"][0]["text"]


# --- what the server says ---


def test_the_facts_of_each_release(each_postgres):
    """Of 15 on Debian 12; of others where they are installed below /usr/lib/postgresql."""
    words = [*words_for(each_postgres.upstream()), "--user", "app", "--dbname", "ledger"]
    code, report, steps = examine(*words, PGPASSWORD=PASSWORD)
    text = {name: found[0]["text"] for name, found in steps.items()}
    version = each_postgres.admin("SHOW server_version")
    assert code == 0 and report["session"]["server_version"] == version and text["version"] == f"server_version {version}"
    assert text["SHOW ssl"] == "on" and text["passwords"] == "password_encryption = scram-sha-256"
    agreed = report["tls"]
    assert text["pg_stat_ssl"].startswith(f"{agreed['version']}, {agreed['cipher']}, ")
    assert "permission denied" in text["pg_hba"] and "to within a second" in text["clock"]
    is_new = int(version.split(".")[0]) >= 18
    assert text["protocol"] == ("3.2 is accepted" if is_new else
                                "3.2 is not known to the server, which has 3.0 (it came with PostgreSQL 18)")  # fmt: skip
    assert "SHA-256 of the certificate" in text["login"]


def test_the_facts_of_postgresql_18(newer_postgres):
    words = [*words_for(newer_postgres.upstream()), "--user", "trusted", "--dbname", "ledger"]
    _, report, steps = examine(*words)
    assert steps["protocol"][0]["text"] == "3.2 is accepted"
    assert steps["direct TLS"][0]["text"] == "accepted, ALPN postgresql"
    assert report["tls"]["alpn"] == "postgresql" and "of /" in steps["pg_hba"][-1]["text"]


def test_old_password_encryption_is_a_fault(postgres):
    with postgres.reconfigured(password_encryption="md5"):
        words = [*words_for(postgres.upstream()), "--user", "app", "--dbname", "ledger"]
        code, _, steps = examine(*words, PGPASSWORD=PASSWORD)
    assert code == EX_UNAVAILABLE and "ALTER SYSTEM" in steps["passwords"][0]["finding"]["remedy"]


def superuser_steps(postgres, hba: str):
    with postgres.reconfigured(hba=f"{HBA}{hba}"):
        words = [*words_for(postgres.upstream()), "--user", "trusted", "--dbname", "ledger"]
        return examine(*words)[2]["pg_hba"]


def test_the_records_of_a_good_pg_hba_conf_pass(postgres):
    steps = superuser_steps(postgres, "")
    assert steps[0]["outcome"] == "passed" and all(step["outcome"] == "noted" for step in steps[1:])
    assert any("hostssl all trusted" in step["text"] for step in steps[1:])
    assert any("hostssl all old" in step["text"] and "MD5" in step["text"] for step in steps[1:])


@pytest.mark.parametrize("record, words", [
    ("host all all 10.0.0.0/8 scram-sha-256", "Change host to hostssl"),
    ("hostssl all all 10.0.0.0/8 trust", "Change trust to"),
    ("hostssl all all 10.0.0.0/8 trust clientcert=verify-ca", "Change clientcert=verify-ca to clientcert=verify-full"),
    ("hostssl all all 10.0.0.0/8 password", "Change password to"),
])  # fmt: skip
def test_a_bad_record_is_found(postgres, record, words):
    first, *others = superuser_steps(postgres, f"{record}\n")
    line = len(HBA.splitlines()) + 2  # reconfigured() adds one before
    assert first["outcome"] == "failed" and f"line {line}" in first["finding"]["cause"]
    assert words in first["finding"]["remedy"] and first["finding"]["side"] == "server"
    assert not any(step["outcome"] == "failed" for step in others)


@pytest.mark.parametrize("hba", [
    "hostnossl all all all reject\nhost all all 10.0.0.0/8 scram-sha-256\n",
    "hostnossl all all 10.0.0.0/8 reject\nhost all all 10.1.0.0/16 scram-sha-256\n",
    "hostnossl all all fd00::/8 reject\nhost all all fd00:1::/32 scram-sha-256\n",
    "hostnossl all app,+pg_monitor all reject\nhost all +pg_monitor,app all scram-sha-256\n",
    "hostnossl all all all reject\nhostnossl replication all all reject\nhost all,replication all all scram-sha-256\n",
])  # fmt: skip
def test_earlier_records_that_reject_plaintext_count(postgres, hba):
    assert superuser_steps(postgres, hba)[0]["outcome"] == "passed"


def test_a_name_with_a_comma_is_not_two_names(postgres):
    """As the server has it: the database "ledger,postgres" is neither of the two."""
    hba = f'{HBA}hostnossl "ledger,postgres" all all reject\nhost ledger,postgres app all scram-sha-256\n'
    with postgres.reconfigured(hba=hba):
        _, _, steps = examine(*words_for(postgres.upstream()), "--user", "trusted", "--dbname", "ledger")
        string = f"host=127.0.0.1 port={postgres.port} user=app dbname=ledger sslmode=disable"
        plain = run(f"{POSTGRES_BIN}/psql", "--no-psqlrc", "-c", "SELECT 1", string, env=environment(PGPASSWORD=PASSWORD))
    assert plain.returncode == 0, plain.stderr
    assert "host ledger,postgres app" in steps["pg_hba"][0]["text"] and steps["pg_hba"][0]["outcome"] == "failed"


def test_a_record_for_replication_is_not_refused_by_one_for_all_databases(postgres):
    """As the server has it: the database `all` does not include replication."""
    hba = f"hostnossl all all all reject\nhost replication replicator all scram-sha-256\n{HBA}"
    with postgres.reconfigured(hba=hba):
        words = [*words_for(postgres.upstream()), "--user", "trusted", "--dbname", "ledger"]
        code, _, steps = examine(*words)
        string = f"host=127.0.0.1 port={postgres.port} user=replicator sslmode=disable"
        psql = (f"{POSTGRES_BIN}/psql", "--no-psqlrc", "-c")
        variables = environment(PGPASSWORD=PASSWORD)
        plain = run(*psql, "IDENTIFY_SYSTEM", f"{string} replication=true", env=variables)
        refused = run(*psql, "SELECT 1", f"{string} dbname=ledger", env=variables)
    assert plain.returncode == 0, plain.stderr
    assert refused.returncode != 0 and "rejects connection" in refused.stderr
    finding = steps["pg_hba"][0]["finding"]
    assert code == EX_UNAVAILABLE and "in line 3 of " in finding["cause"] and "without TLS" in finding["cause"]


@pytest.mark.parametrize("hba", [
    "hostnossl all all 0.0.0.0/0 reject\nhost all all all scram-sha-256\n",
    "host all all 127.0.0.1/0 scram-sha-256\n",
])  # fmt: skip
def test_a_record_that_other_machines_can_use_without_tls_is_found(postgres, hba):
    first = superuser_steps(postgres, hba)[0]
    assert first["outcome"] == "failed" and "Change host to hostssl" in first["finding"]["remedy"]


def test_a_clock_that_differs_is_found(scripted_server, credentials, authority):
    answers = {b"clock": b"4102444800.5"}  # the year 2100

    def script(peer):
        peer.accept_tls(credentials)
        peer.log_in()
        while (received := peer.receive_message())[0] == b"Q":
            column = b"\0\1a\0" + b"\0" * 18
            value = next((answer for word, answer in answers.items() if word in received[1]), b"on")
            row = b"\0\1" + len(value).to_bytes(4, "big") + value
            peer.send(wire.message(b"T", column), wire.message(b"D", row), wire.message(b"C", b"SELECT 1\0"),
                      wire.message(b"Z", b"I"))  # fmt: skip

    server = scripted_server(script)
    _, _, steps = examine(*words_for(server.upstream(sslrootcert=str(authority.file))), "--user", "app")
    (clock,) = steps["clock"]
    assert clock["outcome"] == "failed" and "ahead of" in clock["finding"]["cause"]


def test_answers_that_are_none_do_not_stop_the_examination(scripted_server, credentials, authority):
    def script(peer):
        peer.accept_tls(credentials)
        peer.log_in()
        peer.receive_message()
        peer.send(b"HTTP/1.1 400 Bad Request")

    server = scripted_server(script)
    _, report, steps = examine(*words_for(server.upstream(sslrootcert=str(authority.file))), "--user", "app")
    assert "not known" in steps["SHOW ssl"][0]["text"] and report["session"]["server_version"] == "15.0"
