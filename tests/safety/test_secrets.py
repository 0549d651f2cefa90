"""Secrets are masked wherever they occur; words that are not secrets stay."""

import json

import pytest

from alignery.secrets import mask, mask_values, remember, secrets
from alignery.untrusted import excerpt, printable, printable_json

KEY = "sk-proj-7Yq1/z+"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("SOME_GATEWAY_KEY", KEY)
    monkeypatch.setenv("PGPASSWORD", "postgres")
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")


@pytest.mark.parametrize(
    "form", [KEY, "sk-proj-7Yq1%2Fz%2B", "sk-proj-7Yq1/z%2B", f"Bearer {KEY}", f'{{"key": "{KEY}"}}', f"x{KEY}y"]
)
def test_a_key_is_masked_in_every_form_that_it_is_written_in(form):
    masked = mask(form)
    assert "7Yq1" not in masked
    assert "***" in masked


@pytest.mark.parametrize(
    "text", ["the catalog is postgres://me@host/lake", "EMPTY", "basic auth", "a bearer of news", "keyword = value"]
)
def test_words_that_are_no_secret_stay(text):
    assert mask(text) == text


@pytest.mark.parametrize("text", ["postgres://me:lake@host/lake", "password=postgres", "Authorization: Bearer abc123"])
def test_a_credential_is_masked_in_its_place_whatever_it_is(text):
    assert "***" in mask(text)
    assert not [word for word in ("lake@", "password=postgres", "abc123") if word in mask(text)]


def test_a_secret_that_begins_with_another_is_masked_whole():
    both = frozenset({"first-half", "first-half-and-the-rest"})
    assert mask_values("first-half-and-the-rest, first-half", both) == "***, ***"


def test_a_secret_is_the_same_written_in_json_and_in_html():
    secret = 'a<b>&"quoted"\n-1234'
    for written in (json.dumps({"k": secret}), "<p>a&lt;b&gt;&amp;&quot;quoted&quot;\n-1234</p>"):
        assert "quoted" not in mask_values(written, frozenset({secret}))


def test_the_password_that_postgres_reads_is_a_secret(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "hunter2hunter2")
    assert mask("FATAL: hunter2hunter2 is wrong") == "FATAL: *** is wrong"


def test_a_key_that_nobody_named_is_known_by_its_beginning():
    assert mask("got sk-ant-0123456789-abc here") == "got *** here"


def test_a_url_in_the_environment_gives_its_password_away_nowhere_else(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://me:hunter2hunter2@host/api")
    assert mask("said hunter2hunter2") == "said ***"


def test_values_of_a_server_are_masked_at_every_depth_and_nothing_else_is_changed():
    remember("0123-odd-name")
    found = mask_values({"a": [{"b": f"x {KEY}"}, 1, None, True], "0123-odd-name": "password=abc"}, secrets())
    assert found == {"a": [{"b": "x ***"}, 1, None, True], "***": "password=abc"}


def test_foreign_words_are_bounded_printable_and_on_one_line():
    text = excerpt("\x1b]0;owned\x07 \u202eback\n\n" + "long " * 1000, 60)
    assert text.startswith("\\x1b]0;owned\\x07 \\u202eback long")
    assert len(text) == 60
    assert printable("é 四 🙂\n\t‍") == "é 四 🙂\n\t‍"


def test_json_that_is_printable_holds_the_same_values():
    value = {"a\x9b": ["\x1b]0;x\x07", "\x7f\u202e\u2028\ufeff\U000e0041", "é 四 🙂\n\t"]}
    text = printable_json(json.dumps(value, ensure_ascii=False))
    assert text.isprintable()
    assert json.loads(text) == value


def test_a_picture_holds_no_commands():
    from tasks.evaluate.plot import dots

    drawn = dots("<a>\x1b[2J", {"\x9b\u202e<script>": {"axis\x07": (0.5, 0.4, 0.6)}})
    assert not [char for char in drawn if not char.isprintable() and char != "\n"]
    assert "<script>" not in drawn


def test_a_key_that_is_cut_is_masked_first():
    assert excerpt("a" * 50 + KEY, 56) == "a" * 50 + "***"


@pytest.mark.parametrize("part", ["://:", "://", "bearer ", "bearer" + " " * 50_000, "x:", "password='", "sk-"])
def test_foreign_text_made_to_keep_the_patterns_busy_is_read_at_once(part):
    """Each took minutes where a pattern went over a long run again from each of its places."""
    assert len(excerpt(part * (100_000 // len(part)))) <= 300
