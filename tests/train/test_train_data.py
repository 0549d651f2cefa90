"""An export's rows are checked before a model is loaded, and only the trainer's columns are kept."""

import pyarrow.parquet as pq
import pytest
from train_views import (
    PAIRS,
    assistant,
    conversation,
    correction,
    preference,
    ranked,
    soft_preference,
    user,
    write_view,
)

from tasks.train.config import TrainError
from tasks.train.dataset import read_corrections, read_preferences, read_ranked, read_sft, read_soft_preferences


def test_a_conversation_is_split_before_the_last_answer(tmp_path):
    turns = [
        {"role": "system", "content": "Be brief."},
        user("One?"),
        assistant("1"),
        user("Two?"),
        assistant("2"),
    ]
    write_view(tmp_path, [{"messages": turns, "id": "a"}])
    assert read_sft(tmp_path) == [{"prompt": turns[:4], "completion": [assistant("2")]}]


def test_all_files_are_read_in_order_and_other_columns_left(tmp_path):
    write_view(tmp_path, [preference(PAIRS[1])], "train-00001-of-00002.parquet")
    write_view(tmp_path, [preference(PAIRS[0])], "train-00000-of-00002.parquet")
    rows = read_preferences(tmp_path)
    assert [row["chosen"][0]["content"] for row in rows] == ["I see one cats here.", "I see one dogs here."]
    assert all(set(row) == {"prompt", "chosen", "rejected"} for row in rows)


def test_a_last_file_without_rows_hides_none_before_it(tmp_path):
    write_view(tmp_path, [conversation(PAIRS[0])], "train-00000-of-00002.parquet")
    rows = pq.read_table(tmp_path / "train-00000-of-00002.parquet")
    pq.write_table(rows.slice(0, 0), tmp_path / "train-00001-of-00002.parquet")
    assert len(read_sft(tmp_path)) == 1


def test_a_row_counts_as_often_as_its_weight_says(tmp_path):
    write_view(tmp_path, [conversation(pair) | {"weight": weight} for pair, weight in zip(PAIRS, (3, 1), strict=False)])
    first, second, third, last = read_sft(tmp_path)
    assert first == second == third != last
    write_view(tmp_path, [conversation(PAIRS[0]) | {"weight": 0}])
    with pytest.raises(TrainError, match=r"row 0: weight: got 0, expected a whole number from 1"):
        read_sft(tmp_path)


@pytest.mark.parametrize(("read", "row"), [(read_sft, conversation), (read_preferences, preference)])
def test_what_is_held_out_is_never_read(tmp_path, read, row):
    write_view(tmp_path, [row(PAIRS[0])], "test-00000-of-00001.parquet")
    with pytest.raises(TrainError, match=r"no train-\*\.parquet"):
        read(tmp_path)
    write_view(tmp_path, [row(PAIRS[1])])
    (found,) = read(tmp_path)
    assert "dogs" in str(found)
    assert "cats" not in str(found)


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([user("Hi")], "expected the last to be assistant"),
        ([user("Hi"), assistant("Yes"), user("More")], "expected the last to be assistant"),
        ([assistant("Yes")], "user and assistant in turn"),
        ([user("Hi"), user("Hi?"), assistant("Yes")], "user and assistant in turn"),
        ([user("Hi"), {"role": "robot", "content": "Yes"}], "user and assistant in turn"),
        ([user("Hi"), {"role": "system", "content": "Be brief."}, assistant("Yes")], "user and assistant in turn"),
        ([{"role": "system", "content": "Be brief."}], "user and assistant in turn"),
        ([user("Hi"), assistant("  ")], r"messages\[1\]\.content: got '  '"),
        ([user("Hi"), assistant(None)], r"messages\[1\]\.content: got None"),
        ([], "at least one"),
        (None, "at least one"),
    ],
)
def test_a_malformed_conversation_is_named_by_file_row_and_field(tmp_path, messages, complaint):
    write_view(tmp_path, [conversation(PAIRS[0]), {"messages": messages, "id": "bad"}])
    with pytest.raises(TrainError, match=complaint) as caught:
        read_sft(tmp_path)
    assert f"{tmp_path}/train-00000-of-00001.parquet: row 1: messages" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rejected": [assistant("I see one cats here.")]}, "rejected: got the same answer as chosen"),
        ({"chosen": [user("I see")]}, "chosen: got the roles .'user'., expected one assistant turn"),
        ({"rejected": [assistant("A"), assistant("B")]}, "rejected: .* expected one assistant turn"),
        ({"prompt": [user("Hi"), assistant("Yes")]}, "prompt: .* expected the last to be user"),
        ({"prompt": []}, "prompt: got"),
    ],
)
def test_a_malformed_pair_is_named(tmp_path, change, complaint):
    write_view(tmp_path, [preference(PAIRS[0]) | change])
    with pytest.raises(TrainError, match=f"row 0: {complaint}"):
        read_preferences(tmp_path)


def test_folders_without_rows_are_refused(tmp_path):
    with pytest.raises(TrainError, match=r"no train-\*\.parquet"):
        read_sft(tmp_path)
    write_view(tmp_path, [preference(PAIRS[0])])
    with pytest.raises(TrainError, match=r"expected \['messages'\] too"):
        read_sft(tmp_path)
    file = tmp_path / "train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(file).slice(0, 0), file)
    with pytest.raises(TrainError, match=r"got no rows in 1 file"):
        read_preferences(tmp_path)
    file.write_bytes(b"not parquet at all")
    with pytest.raises(TrainError, match="not a Parquet file"):
        read_preferences(tmp_path)


def test_corrections_and_soft_labels_keep_what_is_learnt_from(tmp_path):
    write_view(tmp_path / "qac", [correction(PAIRS[0], "t")])
    asked = {"question": "Show one cats.", "answer": "No cats for you.", "correction": "I see one cats here."}
    assert read_corrections(tmp_path / "qac") == [asked | {"template_id": "t"}]
    write_view(tmp_path / "revised", [correction(PAIRS[0], None)])
    assert read_corrections(tmp_path / "revised") == [asked | {"template_id": None}]
    write_view(tmp_path / "soft", [soft_preference(PAIRS[1])])
    (row,) = read_soft_preferences(tmp_path / "soft")
    assert row == {name: row[name] for name in ("prompt", "chosen", "rejected")} | {"p": 0.85}


def test_a_judge_may_be_sure(tmp_path):
    write_view(tmp_path, [soft_preference(PAIRS[0]) | {"p": 0.0}, soft_preference(PAIRS[1]) | {"p": 1.0}])
    assert [row["p"] for row in read_soft_preferences(tmp_path)] == [0.0, 1.0]


@pytest.mark.parametrize("p", [-0.01, 1.01, None, float("nan")])
def test_a_soft_label_that_is_no_probability_is_named(tmp_path, p):
    write_view(tmp_path, [soft_preference(PAIRS[0]), soft_preference(PAIRS[1]) | {"p": p}])
    with pytest.raises(TrainError, match=r"row 1: p: got .*expected a probability from 0 to 1"):
        read_soft_preferences(tmp_path)


@pytest.mark.parametrize("field", ["question", "answer", "correction", "template_id"])
def test_an_empty_field_of_a_correction_is_named(tmp_path, field):
    write_view(tmp_path, [correction(PAIRS[0], "t") | {field: " "}])
    with pytest.raises(TrainError, match=f"row 0: {field}: got ' '"):
        read_corrections(tmp_path)


def test_ranked_answers_become_turns_and_keep_their_scores(tmp_path):
    """PRO (2); RRHF (1)"""
    write_view(tmp_path, [ranked(PAIRS[0])])
    (row,) = read_ranked(tmp_path)
    assert row["responses"][1] == [assistant("I see one cats here.")]
    assert row["scores"] == [1.0, 4.5, 2.0]
    assert row["prompt"] == [user("Show one cats.")]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"scores": [1.0, 2.0]}, "got 2 for 3 responses"),
        ({"responses": ["One."], "scores": [1.0]}, "two responses or more"),
        ({"scores": [1.0, float("nan"), 2.0]}, "got nan, expected a finite number"),
        ({"responses": ["One.", " ", "Two."]}, r"responses\[1\]: got ' '"),
    ],
)
def test_a_ranking_that_is_none_is_refused(tmp_path, changes, complaint):
    write_view(tmp_path, [ranked(PAIRS[0]) | changes])
    with pytest.raises(TrainError, match=complaint):
        read_ranked(tmp_path)
