"""The inputs of `bench/fuzz.py`, made from a seed: the same seed makes the same inputs."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ODD = "\x1b]0;owned\x07\u202e[/]"
# By the kind of value in a valid file: values that are not allowed there.
WRONG: dict[type, list[Any]] = {
    bool: [7, "perhaps", [], {"a": 1}],
    int: ["x", [], {}, True, float("nan"), float("inf"), 2**70, -(2**70), 1.5, -7, ODD],
    float: ["x", [], {}, True, float("nan"), float("-inf"), 2**70, ODD],
    str: [7, [1], {"a": 1}, True, "", "  "],
    list: [7, {"a": 1}, True, [[]], [{}]],
    dict: [7, "x", [1], True],
}
# Text files that are none: encodings, forms and sizes.
BROKEN: list[bytes] = [
    b"\xff\xfe\x00",
    b"\xe9",
    b"a: \x80\n",
    "a: é".encode("latin-1"),
    "a: 1".encode("utf-16-le"),
    b"\0",
    b"a: 1\na: 2\n",
    b"a: [",
    b"a: &a [*a]",
    b"[" * 5000,
    b'a: "\\ud800"',
    b"a: " + b"9" * 5000,
    b"a: .nan",
    b"a: !!python/object/apply:os.system [true]",
    b"a: 1\n---\nb: 1\n",
    b"- a\n- b\n",
    b"7",
    b"",
    b"\t",
    ODD.encode(),
    ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))).encode(),
]
WRITES = (
    "COPY (SELECT 1 AS x) TO '{home}/x.parquet'",
    "EXPLAIN ANALYZE COPY (SELECT 1 AS x) TO '{home}/x.parquet'",
    "EXPLAIN ANALYZE COPY (SELECT 1 AS x) TO '{home}/data/x.csv'",
    "CREATE TABLE x AS SELECT 1",
    "DROP TABLE attempts",
    "INSERT INTO attempts SELECT * FROM attempts",
    "DELETE FROM attempts",
    "UPDATE attempts SET step = 'x'",
    "ATTACH '{home}/x.db' AS x",
    "EXPORT DATABASE '{home}/x'",
    "SELECT 1; DROP TABLE attempts",
    "PRAGMA database_list; CREATE VIEW x AS SELECT 1",
    "SET enable_external_access = true",
    "INSTALL httpfs",
    "LOAD sqlite",
    "CALL ducklake_expire_snapshots('lake')",
    "SELECT * FROM query('COPY (SELECT 1) TO ''{home}/x.csv''')",
    "SELECT * FROM sqlite_query('{home}/catalog.sqlite', 'DELETE FROM ducklake_snapshot')",
    "VACUUM",
    "CHECKPOINT",
)


def presets(sound: dict[str, Any], rng: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    """Each of a sound preset's values for a wrong one, each mapping with a key too much, and files that are no YAML."""
    cases: list[tuple[str, bytes]] = [(f"bytes {number}", data) for number, data in enumerate(BROKEN)]
    for field, value in _fields(sound, ()):
        for wrong in WRONG.get(type(value), []):
            cases.append((f"{'.'.join(map(str, field))}: {wrong!r}", _written(sound, field, wrong)))
        if isinstance(value, dict):
            cases.append((f"{'.'.join(map(str, field))}: a key too much", _written(sound, (*field, "nosuch"), 1)))
    rng.shuffle(cases)
    yield from cases[:count]


def lines(sound: dict[str, Any], rng: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    """JSON Lines, of which the second is wrong."""
    first = json.dumps(sound).encode()
    broken = [data for data in BROKEN if data.strip() and b"\n" not in data]
    for number in range(count):
        name, value = rng.choice(list(sound.items()))
        line = rng.choice(
            [
                lambda: rng.choice(broken),
                lambda: first[: rng.randrange(1, len(first) - 1)],
                lambda name=name, value=value: json.dumps(sound | {name: rng.choice(WRONG[type(value)])}).encode(),
                lambda: json.dumps(sound | {"nosuch": 1}).encode(),
                lambda name=name: json.dumps({key: item for key, item in sound.items() if key != name}).encode(),
                lambda name=name: json.dumps(sound | {name: "\ud800"}).encode(),
            ]
        )()
        yield f"line {number}", first + b"\n" + line + b"\n"


def templates(rng: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    """Prompts whose template reaches for more than its values, or is none."""
    code = ["''.__class__.__base__.__subclasses__()", "range(10**9)", "10**10**9", "x()", "cycler(1)", "'a' * 10**10"]
    code += ["instruction | attr('__class__')", "nosuch", "instruction | nosuch", "(", "1/0", "'%9999999d' % 1"]
    shapes = ["{{ %s }}", "{%% for i in %s %%}x{%% endfor %%}", "{%% set a = %s %%}", "{%% include %s %%}", "{{ %s"]
    for number in range(count):
        text = "{{ instruction }} " + rng.choice(shapes) % rng.choice(code) * rng.choice((1, 1, 3))
        content = [{"role": "user", "content": text}]
        prompt = {"id": "respond/answer", "about": "x", "variables": ["instruction"], "messages": content}
        yield f"template {number}", yaml.safe_dump(prompt).encode()


def arguments(home: Path, rng: random.Random, count: int) -> Iterator[list[str]]:
    """Arguments of verbs, wrong in one place at least; none of them starts a flow."""
    verbs = ["tables", "show attempts", "sql SELECT-1", "status", "rejects", "trace abcdef", "models", "snapshots"]
    verbs += ["diff 1", "tag good", "plan --compare", "doctor", "maintain", "export 1", "refresh", "publish", "retrain"]
    verbs += ["evaluate", "promote", "rollback --why x", "serve", "bootstrap"]
    odd = [
        "",
        " ",
        "\0",
        "\udce9",
        ODD,
        "x" * 300,
        "../../etc/passwd",
        "/dev/null",
        "/proc/self/mem",
        "é四🙂",
        "--",
        "-",
    ]
    here = ["--home", str(home)]
    whole: list[list[str]] = [[*verb.split(), *wrong] for verb in verbs for wrong in _options(odd, here)]
    whole += [[*verb.split(), "--home", "/proc/none"] for verb in verbs if verb != "doctor"]  # which says so itself
    whole += [[word, *here] for word in [*odd, "refrsh", "Tables", "help", "7"] if word not in ("", "--")]
    whole += [["show", name, *here] for name in odd if name != "--"]
    whole += [["sql", query, *here] for query in [*odd, "SELECT", "SELECT * FROM nowhere", "SELECT 1/", "(((", "'"]]
    whole += [["trace", id, *here] for id in odd if id != "--"]
    whole += [["tag", name, *here] for name in (*odd, "a/b", "-x", "A b", ".", "..") if name != "--"]
    whole += [["diff", at, *here] for at in (*odd, "9" * 40, "-1d", "7y", "2024-99-99", "25:61") if at != "--"]
    whole += [
        ["export", "1", f"--{name}", value, *here] for name in ("held-out", "shard-rows") for value in ("-1", "x")
    ]
    whole += [["maintain", f"--{name}", value, *here] for name in ("keep", "age") for value in (*odd, "-1d", "9" * 40)]
    whole += [[verb, "--why", "", *here] for verb in ("rollback", "promote x")]
    rng.shuffle(whole)
    yield from whole[:count]


def _options(odd: list[str], here: list[str]) -> Iterator[list[str]]:
    yield from (
        ["--preset", value, *here] for value in [*odd, "nona", "./none.yaml", "/", "nano.yaml", "../presets/nano"]
    )
    yield from (["--home", value] for value in ("", " ", "\0", "\udce9", "/dev/null", "/etc/passwd/x"))
    yield from ([option, *here] for option in ("--nosuch", "--hom=x", "-z", "--limit=x", "--samples=-5"))


def _fields(value: Any, field: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if field:
        yield field, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _fields(item, (*field, key))


def _written(sound: dict[str, Any], field: tuple[Any, ...], wrong: Any) -> bytes:
    changed = copy.deepcopy(sound)
    holder: Any = changed
    for key in field[:-1]:
        holder = holder[key]
    holder[field[-1]] = wrong
    return yaml.safe_dump(changed, allow_unicode=True).encode("utf-8", "surrogatepass")
