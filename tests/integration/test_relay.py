"""What moves the bytes of established sessions: io_uring where the kernel allows it, else epoll."""

import re
from pathlib import Path

import pytest

from harness import io_uring
from harness.pgveil import BINARY, EX_UNAVAILABLE
from harness.processes import environment, eventually, run

needs_io_uring = pytest.mark.skipif(bool(io_uring.why_not()), reason=f"io_uring: {io_uring.why_not()}")


def engine(proxy) -> str:
    return proxy.wait_for_line(r"\brelay\b.*engine=.*").string


def has_ring(proxy) -> bool:
    """Whether there is a ring for the relay, with 4,096 places for answers. libuv from 1.45 on has a smaller one in each
    loop, for epoll_ctl."""
    rings = [name for name, target in proxy.open_files().items() if target == "anon_inode:[io_uring]"]
    return any("CqMask:\t0xfff\n" in Path(f"/proc/{proxy.pid}/fdinfo/{name}").read_text() for name in rings)


@needs_io_uring
@pytest.mark.parametrize("relay", ["auto", "io_uring"])
def test_io_uring_is_taken_where_the_kernel_allows_it(pgveil, postgres, relay):
    proxy = pgveil(postgres.upstream(), limits={"relay": relay})
    assert engine(proxy).endswith("engine=io_uring")
    assert has_ring(proxy)
    assert proxy.query("SELECT 1") == "1"


def test_epoll_is_taken_where_it_is_configured(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), limits={"relay": "epoll"})
    assert engine(proxy).endswith("engine=epoll because=configured")
    assert not has_ring(proxy)
    assert proxy.query("SELECT 1") == "1"


def test_auto_goes_on_without_io_uring(pgveil, postgres):
    proxy = pgveil(postgres.upstream(), limits={"relay": "auto"}, prefix=io_uring.without())
    assert engine(proxy).endswith('engine=epoll because="io_uring_setup: Operation not permitted"')
    assert proxy.query("SELECT 1") == "1"


def test_io_uring_that_was_asked_for_and_is_refused_is_told_at_once():
    done = run(*io_uring.without(), BINARY, "run", "--relay", "io_uring", "--listen", "127.0.0.1:0", "--upstream", "/tmp",
               env=environment())  # fmt: skip
    assert done.returncode == EX_UNAVAILABLE, done.stderr
    assert "--relay: io_uring cannot be used: io_uring_setup: Operation not permitted\n" in done.stderr
    assert "listening" not in done.stderr


@pytest.mark.parametrize(
    ("relay", "watched"),
    [pytest.param("io_uring", 0, marks=needs_io_uring), ("epoll", 2)],
)
def test_the_sockets_of_a_session_are_with_one_of_them(pgveil, postgres, relay, watched):
    proxy = pgveil(postgres.upstream(), limits={"relay": relay})
    listening = 1
    with proxy.connect() as client:
        client.log_in(user="trusted", database="ledger")
        assert client.rows("SELECT 1")
        eventually(lambda: len(sockets_at_epoll(proxy)) == listening + watched)


def sockets_at_epoll(proxy) -> list[str]:
    """The sockets that epoll watches for pgveil."""
    targets = proxy.open_files()
    found = []
    for name, target in targets.items():
        if target == "anon_inode:[eventpoll]":
            with open(f"/proc/{proxy.pid}/fdinfo/{name}", encoding="ascii") as file:
                found += re.findall(r"^tfd: +(\d+)", file.read(), re.MULTILINE)
    return [name for name in found if targets.get(name, "").startswith("socket:")]
