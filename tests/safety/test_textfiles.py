"""Files as users have them: every encoding and every broken form is read, or is one sentence that names the line."""

import json
import os
from contextlib import suppress

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignery.textfiles import TextFileError, read_jsonl, read_text, read_yaml

BOMB = "\n".join(["a0: &a0 [x]"] + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)])
MERGES = "\n".join(["a0: &a0 {k: 1}"] + [f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)])


@pytest.fixture
def write(tmp_path):
    def written(data, name="file.yaml"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return written


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_usual_encodings_are_read(write, encoding):
    assert read_yaml(write("topic: é四🙂".encode(encoding))) == {"topic": "é四🙂"}
    assert list(read_jsonl(write('{"a": "é"}\r\n\n{"b": 2}'.encode(encoding)))) == [(1, {"a": "é"}), (3, {"b": 2})]


def test_a_line_separator_within_a_line_of_json_does_not_end_it(write):
    text = json.dumps({"a": "one\u2028two\x85three"}, ensure_ascii=False)
    assert list(read_jsonl(write(text))) == [(1, {"a": "one\u2028two\x85three"})]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a: 1\nb: \xe9", "line 2: got the byte 0xe9"),
        ("a: 1".encode("utf-16-le"), "line 1: got a null character"),
        ("a: 1\na: 2", "line 2, column 1: not YAML: the key 'a' occurs twice"),
        ("line: {chunk: 1, chunk: 2}", "occurs twice"),
        ("a: [1", "line 1"),
        ("a: .nan", "a: got nan"),
        ("a: [1, -.inf]", "a.1: got -inf"),
        ("a: 9223372036854775808", "a: got a number beyond 64 bits"),
        ("a: " + "9" * 5000, "not YAML"),
        ("a: &a [*a]", "nested too deep"),
        ("[" * 20_000, "nested too deep"),
        ("[" * 200_000 + "]" * 200_000, "nested too deep"),
        (BOMB, "too much content"),
        (MERGES, "more than 10,000 keys"),
        ('a: "\\ud800"', "lone surrogate"),
        ("a: 2024-99-99", "not YAML"),
        ("a: !!python/object/apply:os.system [true]", "not YAML"),
        ("!!timestamp x", "not YAML"),
        ("a: 1\n---\nb: 2", "line 2"),
    ],
)
def test_a_bad_yaml_file_is_one_sentence(write, data, expected):
    path = write(data)
    with pytest.raises(TextFileError) as found:
        read_yaml(path)
    assert str(path) in str(found.value)
    assert expected in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    "line", ["{", "NaN", '{"a": 1e999}', '{"a": "\\ud800"}', '{"\\ud800": 1}', "[" * 100_000, "9" * 5000, "{'a': 1}"]
)
def test_a_bad_line_of_json_is_named_by_its_number(write, line):
    with pytest.raises(TextFileError, match=r"file.yaml: line 2: .*"):
        list(read_jsonl(write('{"good": 1}\n' + line)))


def test_a_file_that_is_not_there_or_no_file_or_too_large_is_a_sentence(write, tmp_path):
    for path in (tmp_path / "none", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(TextFileError, match="cannot be read"):
            read_text(path)
    with pytest.raises(TextFileError, match="more than 3 bytes"):
        read_text(write("four"), 3)


def test_a_pipe_is_refused_and_not_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)  # so that nobody waits here, should it be read
    os.write(end, b"x")
    with pytest.raises(TextFileError, match="is a device or a pipe, expected a text file"):
        read_text(pipe, 0)
    os.close(end)


@settings(max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=40) | st.text("ab01:-[]{}&*<!|>'\"#,.? \n", max_size=40).map(str.encode))
def test_any_bytes_are_read_as_yaml_reads_them_or_are_one_sentence(tmp_path, data):
    path = tmp_path / "any.yaml"
    path.write_bytes(data)
    value = None
    with suppress(TextFileError):
        value = read_yaml(path)
    assert value is None or value == yaml.safe_load(data)


def test_a_key_that_stands_twice_in_json_is_refused(write):
    path = write('{"a": 1}\n{"b": {"a": 1, "c": 2, "a": 3}}')
    with pytest.raises(TextFileError, match=r"line 2: not JSON: the key 'a' occurs twice"):
        list(read_jsonl(path))
