"""Answers of /status for the status page, of a pgveil in a good and in a bad state."""

import time

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>'


def utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def certificate(days: int, **more) -> dict:
    """Of a long life, unless `more` says whether it expires soon."""
    return {"not_after": utc(time.time() + days * 86_400 + 3_600), "days_left": days, "expires_soon": days < 30, **more}


def sample(when: float) -> dict:
    return {"time": utc(when), "logging_in": 3, "idle": 220, "in_transaction": 14, "active": 30, "leaving": 1,
            "logins_refused": 2, "bytes_to_client": 12_345_678, "bytes_to_server": 234_567}  # fmt: skip


def listener(address: str, used: int) -> dict:
    latency = {"count": 128_934, "p50": 0.0004, "p95": 0.0132, "p99": 1.7}
    return {
        "address": address, "upstream": "primary", "accepted": 130_000,
        "sessions": {"phases": {"negotiate": 1, "accept_tls": 2, "relay": 264, "forward_cancel": 0, "closing": 1},
                     "established": {"idle": 220, "in_transaction": 14, "active": 30}},
        "logins": {"accepted": 128_934, "refused": 412},
        "bytes": {"to_client": 982_342_342_342, "to_server": 83_423_423_423},
        "ended": {"client_closed": 128_000, "upstream_certificate_expired": 3},
        "latencies": dict.fromkeys(("client_handshake", "connect", "upstream_handshake", "login", "start"), latency),
        "limits": {"sessions": {"used": used, "max": 300}, "unauthenticated_clients": {"used": 4, "max": None},
                   "sessions_per_user": {"max": None}, "sessions_per_address": {"max": None}, "reserved_sessions": 0},
    }  # fmt: skip


def status_of(state: str) -> dict:
    """`good`, `bad`, or `expiring`: as good, and the certificate of a server expires soon."""
    now, is_bad = time.time(), state == "bad"
    status = {
        "schema": 1, "version": "0.1.0", "openssl": "OpenSSL 3.0.19 27 Jan 2026", "libuv": "1.44.2", "relay": "io_uring",
        "tls_records": "own", "started": utc(now - 8_000_000), "uptime_seconds": 8_000_000, "live": True,
        "ready": not is_bad, "draining": False, "workers": 2,
        "problems": ["the last reload failed; the log has the errors"] if is_bad else [],
        "configuration": {"loaded": utc(now - 5_000), "last_reload_succeeded": not is_bad,
                          "reloads": {"succeeded": 14, "failed": int(is_bad)},
                          "last_failure": utc(now - 700) if is_bad else None, "mistakes": []},
        "listeners": [listener("0.0.0.0:5432", 290 if is_bad else 10), listener("unix:/run/pgveil/.s.PGSQL.5432", 230)],
        "certificates": [
            certificate(5 if is_bad else 61, kind="certificate", subject="CN=db.example.com," + 20 * "OU=long,",
                        file="/etc/pgveil/tls/" + 200 * "x" + ".crt"),
            certificate(-2 if is_bad else 33, kind="crl", subject="CN=clients", file="/etc/pgveil/clients.crl"),
            certificate(22 if is_bad else 2033, kind="authority", subject="CN=root", file="/etc/pgveil/root.crt"),
        ],
        "upstreams": [
            {"name": "primary", "server": "db01.example:5432", "sslmode": "verify-full", "verdict": "verified",
             "last_connected": utc(now), "last_failed": None, "problem": "",
             "certificate": certificate(0, subject="CN=db01", expires_soon=False)},
        ],
        "limits": {"sessions": {"used": 390, "max": 400 if is_bad else 10_000},
                   "unauthenticated_clients": {"used": 8, "max": 10}, "descriptors": {"used": 812, "max": 524_288}},
        "memory": {"resident_bytes": 48_234_496},
        "worker_loops": [{"worker": 1, "sessions": 97, "delay": {"count": 9, "p50": 0.00025, "p95": 0.0005, "p99": 0.002}},
                         {"worker": 2, "sessions": 98, "delay": None}],
        "history": {"interval_seconds": 5, "samples": [sample(now - 600 + 5 * i) for i in range(120)]},
    }  # fmt: skip
    if state == "expiring":
        status["upstreams"][0]["certificate"] = certificate(20, subject="CN=db01")
    if is_bad:
        status["configuration"]["mistakes"] = [
            {"file": "/etc/pgveil/pgveil.toml", "line": 12, "setting": "upstream.primary.sslrootcert",
             "message": 'cannot read "/etc/pgveil/root.crt"', "hint": "Create the file, or correct the path."}
        ]  # fmt: skip
        status["upstreams"] += [
            {"name": HOSTILE, "server": "db02.example:5432", "sslmode": "verify-full", "verdict": "failed",
             "last_connected": None, "last_failed": utc(now), "problem": HOSTILE, "certificate": None},
            {"name": "local", "server": "unix:/run/postgresql", "sslmode": "disable", "verdict": "unencrypted",
             "last_connected": None, "last_failed": None, "problem": "", "certificate": None},
        ]  # fmt: skip
    return status
