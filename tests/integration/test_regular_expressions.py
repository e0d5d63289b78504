"""Regular expressions of rules mean what they mean to PostgreSQL, or pgveil does not start. PostgreSQL is asked by
SQL: its `~` has the engine of its pg_hba.conf; a database with SQL_ASCII has one character for each octet, as there."""

import random
import re

import pytest

from harness import wire
from harness.pgveil import BINARY, EX_CONFIG, toml
from harness.processes import run

EXPRESSIONS = [
    "", "ann", "^ann", "ann$", "^ann$|^bob$", "^(ann|bob)$", "a|", "()", "(?:)", "^(?:a|b)+$", "a.b", "^.$",
    "a{2}", "a{1,3}", "a{2,}", "a{0}", "a{,2}", "a{x}", "a{", "a}", "a{1", "a{1,", "a{2,1}", "a{255}", "a{256}", "a{1000}",
    "a**", "a*+", "a*?", "a+?b", "a??", "a{1,2}?", "a{2}{3}", "a*{2}", "*a", "a|*", "(*a)", "^*", "$*", "\\y*", "(|a)",
    "[abc]", "[^abc]", "[]a]", "[^]a]", "[a-c]", "[c-a]", "[a-]", "[-a]", "[^-a]", "[a-c-e]", "[--a]", "[a", "[]", "[",
    "[\\]a]", "[\\w-]", "[\\w-a]", "[a-\\d]", "[\\b]", "[\\y]", "[[:alpha:]_]", "[[:^alpha:]]", "[[:foo:]]", "[[:word:]]",
    "[[:ascii:]]", "[:alpha:]", "[[:<:]]a", "a[[:>:]]", "[[.a.]]", "[[=a=]]", "[[.hyphen.]]", "a]", "a)", "(a", "((a)",
    "\\d", "\\D", "\\s", "\\S", "\\w+", "\\W", "\\ya\\y", "a\\Y", "\\ma", "a\\M", "\\Aa", "a\\Z", "a\\z", "\\ba", "a\\b",
    "\\Ba", "(a)\\1", "\\1", "\\0", "\\01", "\\x61", "\\x0061", "\\x", "\\u0061", "\\cA", "\\e", "\\a", "\\n", "\\Qa\\E", "\\pL",
    "\\C", "\\q", "\\_", "\\.", "\\\\", "a\\", "\\@", "(?i)ann", "(?i)[a-c]", "(?i)[[:upper:]]", "(?c)ann", "(?s)a.b", "(?m)^b",
    "(?n)a.b", "(?x)a b", "(?q)a.b", "(?e)a", "(?b)a", "(?U)a", "(?i-s)a", "(?i:a)", "(?i", "a(?i)b", "(?P<x>a)", "(?<x>a)",
    "(?=a)", "a(?!b)", "(?<=a)b", "(?<!a)b", "(?#x)a", "(?", "***:a", "***=a.b", "***a", "***?", "***", "\u00e9", "^.\u00e9$",
    "[\u00e9]", "(?i)\u00c9", "a b", "#", "a,b",
]  # fmt: skip
NAMES = [
    "a", "b", "ab", "aa", "aaa", "aaaa", "abc", "ann", "ANN", "bob", "annbob", "a_b", "a-b", "a b", "a.b", "a\nb", "x\ty", "0", "a1",
    "Z", "_", "-", "]", "[", "}", "{", "a{", "a{x}", "a{,2}", "^", "\\", "@", "*", "\u00e9", "\u00c9", "\u00e3", "a\u00e9", "\x85", "a,b", "#",
]  # fmt: skip
FRAGMENTS = [
    *"aabbc|.^$*+?-_", "(", ")", "(?:", "[", "]", "[^", "{1}", "{0,2}", "{,2}", "*?", "{1,2}?", "\\d", "\\W", "\\s", "\\y", "\\Y",
    "\\A", "\\Z", "\\b", "\\x61", "\\.", "[[:alpha:]]", "[[:^alpha:]]", "[a-c]", "[c-a]", "[]a]", "[^-b]", "[\\w-]", "[a\\]b]",
    "(a|ab)", "(?i)", "(?=a)", "()", "\u00e9", "[\u00e9]", "{", "1", "2", ",",
]  # fmt: skip


@pytest.fixture(scope="module")
def expressions():
    choose = random.Random(20240229)
    made = ("".join(choose.choice(FRAGMENTS) for _ in range(choose.randint(1, 6))) for _ in range(250))
    return list(dict.fromkeys([*EXPRESSIONS, *made]))


@pytest.fixture(scope="module")
def meant(postgres, expressions):
    """What PostgreSQL says of each expression: None if it refuses it, else whether it is found in each name."""
    postgres.admin("CREATE DATABASE octets TEMPLATE template0 ENCODING SQL_ASCII LOCALE 'C'")
    postgres.admin(
        """CREATE FUNCTION found(expression text, name text) RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN RETURN name ~ expression; EXCEPTION WHEN invalid_regular_expression THEN RETURN 'refused'; END $$""",
        "octets",
    )
    rows = postgres.admin(
        f"""SELECT string_agg(found(convert_from(e, 'SQL_ASCII'), convert_from(n, 'SQL_ASCII')), ',' ORDER BY j)
        FROM unnest({array(expressions)}) WITH ORDINALITY AS es(e, i),
             unnest({array(NAMES)}) WITH ORDINALITY AS ns(n, j) GROUP BY i ORDER BY i""",
        "octets",
    )
    answers = [row.split(",") for row in rows.splitlines()]
    return [None if "refused" in answer else [word == "true" for word in answer] for answer in answers]


def array(texts) -> str:
    return "ARRAY[" + ",".join(f"'\\x{text.encode().hex()}'::bytea" for text in texts) + "]"


def quoted(expression: str) -> str:
    return '"/' + expression.replace('"', '""') + '"'


def check(folder, rules: list[str]):
    file, hba = folder / "pgveil.toml", folder / "pg_hba.conf"
    hba.write_text("\n".join(rules) + "\n", encoding="utf-8")
    upstream = {"primary": {"host": "/nonexistent"}}
    file.write_text(
        toml({"listener": [{"address": "127.0.0.1:0", "upstream": "primary", "hba_file": str(hba)}], "upstream": upstream})
    )
    return run(BINARY, "check", "--config", file)


def refused_lines(folder, rules: list[str]) -> set[int]:
    done = check(folder, rules)
    assert done.returncode in (0, EX_CONFIG), done.stderr
    return {int(line) for line in re.findall(r"pg_hba\.conf:(\d+): .*invalid regular expression", done.stderr)}


def test_what_postgresql_refuses_is_refused(folder, expressions, meant):
    refused = refused_lines(folder, [f"host all {quoted(expression)} all reject" for expression in expressions])
    accepted = [expression for line, expression in enumerate(expressions, 1) if line not in refused]
    assert [expression for expression in accepted if meant[expressions.index(expression)] is None] == []
    assert len(accepted) > 100


def test_what_is_accepted_finds_what_postgresql_finds(pgveil, folder, expressions, meant):
    refused = refused_lines(folder, [f"host all {quoted(expression)} all reject" for expression in expressions])
    used = [i for i in range(len(expressions)) if i + 1 not in refused]
    # The database says which expression is asked, the reject that it has been found.
    hba = folder / "rules.conf"
    hba.write_text("".join(f"host d{i} {quoted(expressions[i])} all reject\n" for i in used), encoding="utf-8")
    proxy = pgveil({"host": "/nonexistent"}, listener={"hba_file": str(hba)})
    wrong = []
    for i in used:
        for name, is_in in zip(NAMES, meant[i]):
            with proxy.connect() as client:
                client.send(startup(user=name, database=f"d{i}"))
                words = client.receive_error()["M"]
            if words.startswith("pgveil: pg_hba.conf rejects") != is_in:
                wrong.append((expressions[i], name, words))
    assert wrong == []


def startup(**parameters: str) -> bytes:
    return wire.startup_message(*parameters.items())


@pytest.mark.parametrize("columns", ["{0} all", "all {0}"], ids=["databases", "users"])
def test_an_unquoted_expression_with_a_comma_is_refused(folder, columns):
    done = check(folder, [f"host {columns.format('/^guest[0-9]{1,3}$')} all reject", "host all all all relay"])
    assert done.returncode == EX_CONFIG
    assert 'invalid regular expression "/^guest[0-9]{1": braces {} not balanced' in done.stderr
    assert "in quotation marks" in done.stderr


def test_a_quoted_expression_with_a_comma_rejects(pgveil):
    hba = 'host all "/^guest[0-9]{1,3}$" all reject'
    proxy = pgveil({"host": "/nonexistent"}, listener={"hba": hba})
    with proxy.connect() as client:
        client.send(startup(user="guest12", database="ledger"))
        assert client.receive_error()["M"].startswith("pgveil: pg_hba.conf rejects connection")
