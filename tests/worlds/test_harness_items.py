"""The scores of lm-eval's single documents average to the task's."""

import math

import pytest

from bench.evaluation.harness import item_rows

ROW = {"task": "news", "filter": "none", "metric": "bits_per_byte"}


def sample(i: int, value, metric: str = "bits_per_byte") -> dict:
    return {"doc_id": i, "filter": "none", metric: value}


def test_bits_per_byte_of_documents_have_the_mean_of_the_whole():
    texts = [(-30.0, 40), (-90.0, 60), (-5.0, 10)]
    whole = 125.0 / math.log(2) / 110
    rows = item_rows([sample(i, t) for i, t in enumerate(texts)], ROW | {"value": whole})
    assert [row["item"] for row in rows] == [0, 1, 2]
    assert sum(row["value"] for row in rows) / 3 == pytest.approx(whole)


def test_a_metric_that_is_no_mean_of_documents_has_none():
    row = ROW | {"metric": "f1", "value": 0.9}
    assert item_rows([sample(i, v, "f1") for i, v in enumerate((1.0, 0.0))], row) == []
    assert item_rows([sample(0, ["a", "b"], "f1")], row) == []


def test_a_filter_s_rows_are_its_own():
    row = {"task": "gsm8k", "filter": "strict", "metric": "exact_match (strict)", "value": 0.5}
    asked = [
        {"doc_id": i, "filter": name, "exact_match": value}
        for name, values in (("strict", (0.0, 1.0)), ("flexible", (1.0, 1.0)))
        for i, value in enumerate(values)
    ]
    assert [item["value"] for item in item_rows(asked, row)] == [0.0, 1.0]
