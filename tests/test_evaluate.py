"""Measured quality: a small judged collection, and metrics that were worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from rag.errors import BadFile
from rag.evaluate import evaluate, measure, read_collection
from tests.house import House

pytestmark = pytest.mark.slow

DOCUMENTS = [
    {"_id": "sour", "title": "Sourdough", "text": "Feed the sourdough starter every morning with rye flour."},
    {"_id": "flat", "title": "Flatbread", "text": "Roll the flatbread dough as thin as a coin."},
    {"_id": "bike", "title": "", "text": "Salt eats the bicycle chain in one winter."},
    {"_id": "blank", "title": "Nothing", "text": "  "},
]
QUESTIONS = [
    {"_id": "q1", "text": "When is the sourdough starter fed?"},
    {"_id": "q2", "text": "How thin is flatbread dough?"},
    {"_id": "q3", "text": "What eats the bicycle chain?"},
]
JUDGEMENTS = [("q1", "sour", 1), ("q2", "flat", 2), ("q2", "sour", 0), ("q3", "bike", 1)]


def write(folder: Path, documents: Any = None, questions: Any = None, judgements: Any = None) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in (("corpus", documents or DOCUMENTS), ("queries", questions or QUESTIONS)):
        lines = (json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    rows = [("query-id", "corpus-id", "score"), *(judgements or JUDGEMENTS)]
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    (folder / "qrels.tsv").write_text(text, encoding="utf-8")
    return folder


class TestCollections:
    def test_a_collection_is_read(self, tmp_path: Path) -> None:
        collection = read_collection(write(tmp_path))
        assert [post.source for post in collection.posts] == ["sour", "flat", "bike", "blank"]
        assert {id_: question.text for id_, question in collection.questions.items()} == {
            row["_id"]: row["text"] for row in QUESTIONS
        }
        assert collection.judgements["q2"] == {"flat": 2, "sour": 0}

    def test_judgements_may_lie_in_a_folder_of_their_own(self, tmp_path: Path) -> None:
        write(tmp_path)
        (tmp_path / "qrels").mkdir()
        (tmp_path / "qrels.tsv").rename(tmp_path / "qrels" / "test.tsv")
        assert set(read_collection(tmp_path).questions) == {"q1", "q2", "q3"}

    def test_questions_without_a_relevant_document_and_those_about_furniture_are_left_out(self, tmp_path: Path) -> None:
        questions = [*QUESTIONS, {"_id": "q4", "text": "Unjudged?"}, {"_id": "q5", "text": "Menu?", "furniture": True}]
        judgements = [("q1", "sour", 1), ("q2", "flat", 0), ("q5", "sour", 1)]
        collection = read_collection(write(tmp_path, questions=questions, judgements=judgements))
        assert set(collection.asked(None)) == {"q1"}

    @pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.jsonl", "qrels.tsv"])
    def test_a_folder_without_one_of_the_files_is_refused(self, tmp_path: Path, missing: str) -> None:
        (write(tmp_path) / missing).unlink()
        with pytest.raises(BadFile, match=rf"{missing}.*Give a folder with corpus\.jsonl"):
            read_collection(tmp_path)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("corpus.jsonl", "{never closed"),
            ("corpus.jsonl", '["a list"]'),
            ("corpus.jsonl", '{"title": "without id or text"}'),
            ("queries.jsonl", b"\xff\xfe"),
            ("qrels.tsv", "q1\tsour\tyes\n"),
        ],
    )
    def test_a_damaged_file_is_refused(self, tmp_path: Path, name: str, content: str | bytes) -> None:
        (write(tmp_path) / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(BadFile, match="is not a collection in BEIR layout"):
            read_collection(tmp_path)

    def test_judgements_of_other_questions_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadFile, match=r"Check that qrels\.tsv belongs to queries\.jsonl\.$"):
            read_collection(write(tmp_path, judgements=[("other", "sour", 1)]))


class TestMetrics:
    def test_they_are_what_they_are_by_hand(self) -> None:
        judgements = {"first": {"a": 1}, "third": {"b": 1, "c": 1}, "never": {"d": 1}}
        run = {
            "first": {"a": 3.0, "x": 2.0},
            "third": {"x": 5.0, "y": 4.0, "b": 3.0},
            "never": {"x": 1.0, "y": 0.5},
        }
        ideal = 1 + 1 / math.log2(3)
        assert measure(judgements, run) == {
            "ndcg@10": pytest.approx((1 + (1 / math.log2(4)) / ideal + 0) / 3, abs=1e-4),
            "accuracy@1": pytest.approx(1 / 3, abs=1e-4),
            "accuracy@10": pytest.approx(2 / 3, abs=1e-4),
            "recall@10": pytest.approx((1 + 1 / 2 + 0) / 3, abs=1e-4),
            "mrr@10": pytest.approx((1 + 1 / 3 + 0) / 3, abs=1e-4),
        }

    def test_what_comes_eleventh_does_not_count(self) -> None:
        run = {"q": {f"x{rank}": 20.0 - rank for rank in range(10)} | {"right": 1.0}}
        assert set(measure({"q": {"right": 1}}, run).values()) == {0.0}

    def test_a_question_without_any_hit_counts_as_missed(self) -> None:
        assert measure({"q": {"a": 1}, "p": {"b": 1}}, {"q": {"a": 1.0}, "p": {}})["accuracy@1"] == 0.5


class TestEvaluation:
    @pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
    def test_a_collection_whose_answers_are_found_gets_full_marks(
        self, light_house: House, tmp_path: Path, mode: Any
    ) -> None:
        result = evaluate(light_house.engine, write(tmp_path / "beir"), mode)
        assert result["documents"] == 4
        assert result["queries"] == 3
        assert [result[name] for name in ("ndcg@10", "accuracy@1", "accuracy@10", "recall@10", "mrr@10")] == [1.0] * 5
        assert result["index_s"] >= 0
        assert 0 <= result["search_ms_p50"] <= result["search_ms_p95"]

    def test_only_the_first_questions_are_put(self, light_house: House, tmp_path: Path) -> None:
        assert evaluate(light_house.engine, write(tmp_path / "beir"), limit=2)["queries"] == 2

    def test_a_wrong_judgement_costs_marks(self, light_house: House, tmp_path: Path) -> None:
        wrong = [("q1", "bike", 1), ("q2", "flat", 1), ("q3", "bike", 1)]
        assert evaluate(light_house.engine, write(tmp_path / "beir", judgements=wrong))["accuracy@1"] == 0.6667

    def test_a_long_document_counts_as_its_best_passage(self, light_house: House, tmp_path: Path) -> None:
        long = "The weather was fine. " * 60 + "Feed the sourdough starter every morning. " + "The sun went down. " * 60
        documents = [{"_id": "sour", "title": "Diary", "text": long}, *DOCUMENTS[1:]]
        result = evaluate(light_house.engine, write(tmp_path / "beir", documents=documents))
        assert light_house.engine.count()[1] > 4
        assert result["accuracy@1"] == 1.0

    def test_two_documents_with_the_same_text_are_two_documents(self, light_house: House, tmp_path: Path) -> None:
        documents = [*DOCUMENTS, {"_id": "twin", "title": "Sourdough", "text": DOCUMENTS[0]["text"]}]
        judgements = [("q1", "sour", 1), ("q1", "twin", 1)]
        result = evaluate(light_house.engine, write(tmp_path / "beir", documents=documents, judgements=judgements))
        assert result["recall@10"] == 1.0

    def test_documents_with_line_ends_of_old_machines_are_indexed(self, light_house: House, tmp_path: Path) -> None:
        documents = [
            {**DOCUMENTS[0], "text": "Old diary\rFeed the sourdough\r\nstarter every morning.\r"},
            *DOCUMENTS[1:],
        ]
        assert evaluate(light_house.engine, write(tmp_path / "beir", documents=documents))["accuracy@1"] == 1.0


UNANSWERED = {"_id": "q4", "text": "Which enzyme breaks down lactose in toddlers?"}


class TestRefusal:
    def test_questions_that_nothing_answers_are_told_apart(self, light_house: House, tmp_path: Path) -> None:
        questions = [{**row, "answerable": True} for row in QUESTIONS] + [{**UNANSWERED, "answerable": False}]
        result = evaluate(light_house.engine, write(tmp_path / "beir", questions=questions))
        assert result["queries"] == 3
        assert result["refusal_auroc"] == 1.0
        assert result["refusal_refused_answerable"] == 0.0
        assert result["refusal_refused_others"] == 1.0

    def test_partly_answerable_ones_are_left_out(self, light_house: House, tmp_path: Path) -> None:
        labels = ("ANSWERABLE", "PARTIAL", "UNDERSPECIFIED", "UNANSWERABLE")
        rows = [*QUESTIONS, UNANSWERED]
        questions = [{**row, "answerability": label} for row, label in zip(rows, labels, strict=True)]
        collection = read_collection(write(tmp_path / "beir", questions=questions))
        assert [question.answerable for question in collection.questions.values()] == [True, None, None, False]
        assert evaluate(light_house.engine, tmp_path / "beir")["refusal_auroc"] == 1.0

    def test_questions_without_labels_have_no_figure(self, light_house: House, tmp_path: Path) -> None:
        assert "refusal_auroc" not in evaluate(light_house.engine, write(tmp_path / "beir"))

    def test_search_by_words_has_no_probability(self, light_house: House, tmp_path: Path) -> None:
        questions = [{**row, "answerable": row["_id"] != "q3"} for row in QUESTIONS]
        assert "refusal_auroc" not in evaluate(
            light_house.engine, write(tmp_path / "a", questions=questions), "lexical"
        )

    def test_questions_of_another_collection_are_told_apart(self, light_house: House, tmp_path: Path) -> None:
        documents = [{"_id": "enzyme", "title": "", "text": "Lactase is the enzyme that breaks down lactose."}]
        other = write(tmp_path / "b", documents, [UNANSWERED], [("q4", "enzyme", 1)])
        result = evaluate(light_house.engine, write(tmp_path / "a"), outside=other)
        assert result["wrong_collection_auroc"] == 1.0
        assert result["documents"] == 4

    def test_the_turns_before_a_question_count_only_when_asked_for(self, light_house: House, tmp_path: Path) -> None:
        follow_up = {
            "_id": "q1",
            "text": "And how often?",
            "history": ["user: When is the sourdough starter fed?", "agent: Every morning, with rye flour."],
        }
        folder = write(tmp_path / "beir", questions=[follow_up], judgements=[("q1", "sour", 1)])
        assert evaluate(light_house.engine, folder, history=True)["accuracy@1"] == 1.0
        [question] = read_collection(folder).questions.values()
        assert [turn.answer for turn in question.turns] == ["Every morning, with rye flour."]


def test_search_on_real_questions_is_not_worse_than_it_was(
    datasets: Path, real_embedder: Any, light_house: House
) -> None:
    # measured 2026-11-24 at 0.93 over all questions; half of that is a broken search, not an unlucky one
    light_house.embedder = real_embedder
    light_house.restart()
    result = evaluate(light_house.engine, datasets / "retrieval" / "seed_posts", limit=100)
    assert result["documents"] == 111
    assert result["ndcg@10"] > 0.85
