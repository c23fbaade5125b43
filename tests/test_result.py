"""Results as a person meets them: printed, and in a notebook."""

import re

import pytest

from django_bulkupsert import Rejected, ReturnedRow, Status, UpdateResult, UpsertResult


def cells(html):
    """Return the texts of a table's cells, row by row."""
    return [
        re.findall(r"<t[hd]>(.*?)</t[hd]>", row)
        for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    ]


def test_a_result_prints_as_a_sentence():
    result = UpsertResult(1_000, 2, 3, 4)
    assert str(result) == "1,000 created, 2 updated, 3 unchanged, 4 skipped"
    assert repr(result) == (
        "UpsertResult(created=1000, updated=2, unchanged=3, skipped=4, retries=0)"
    )
    assert str(UpsertResult(retries=1)).endswith(", 0 skipped, 1 retry")
    assert str(UpsertResult(retries=2)).endswith(", 0 skipped, 2 retries")


def test_retries_are_no_part_of_what_became_of_the_rows():
    assert UpsertResult(1, retries=3) == UpsertResult(1)
    assert (UpsertResult(1, retries=3) + UpsertResult(2, retries=4)).retries == 7


def test_rows_of_parts():
    """Those of one part follow those of the other, each with its place in its own input."""
    parts = [
        UpsertResult(
            2,
            rows=[ReturnedRow(i, {"sku": f"{part}{i}"}, Status.CREATED) for i in (0, 2)],
            rejected=[Rejected(1, None, "sku", None, "no", None)],
        )
        for part in "ab"
    ]
    total = sum(parts, UpsertResult())
    assert [row.values["sku"] for row in total.rows] == ["a0", "a2", "b0", "b2"]
    assert [row.index for row in total.rejected] == [1, 1]
    assert total.total == 6


def test_an_update_is_a_number_as_djangos_is():
    result = UpdateResult(2, 3, 1)
    assert (f"{result}", str(result), repr(result)) == ("5", "5", "5")
    assert result == 5


@pytest.mark.parametrize("result", [UpsertResult(1, 2, 3, 4), UpdateResult(2, 3, 4)])
def test_a_notebook_shows_the_counts(result):
    head, row = cells(result._repr_html_())
    counts = dict(zip(head, row, strict=True))
    assert counts == {name: str(getattr(result, name)) for name in counts}
    assert {"updated", "unchanged", "skipped"} <= set(counts)


def test_a_notebook_shows_retries_where_there_were_any():
    for result in (UpsertResult(retries=2), UpdateResult(retries=2)):
        head, row = cells(result._repr_html_())
        assert dict(zip(head, row, strict=True))["retries"] == "2"


def test_a_notebook_shows_the_first_rows():
    rows = [ReturnedRow(i, {"sku": f"<{i}>"}, Status.CREATED) for i in range(12)]
    for result in (UpsertResult(12, rows=rows), UpdateResult(12, rows=rows)):
        html = result._repr_html_()
        _, _, head, *shown = cells(html)
        assert head == ["row", "status", "sku"]
        assert shown == [[f"{i}", "created", f"&lt;{i}&gt;"] for i in range(10)]
        assert "<p>10 of 12</p>" in html


@pytest.mark.parametrize(("line", "name"), [(None, "row"), (7, "line")])
def test_a_notebook_shows_the_first_rejects(line, name):
    rejected = [Rejected(5, None, "<b>", "too long", None, line)] * 11
    html = UpsertResult(1, rejected=rejected)._repr_html_()
    _, counts, head, *shown = cells(html)
    assert counts == ["1", "0", "0", "0", "11"]
    assert head == [name, "field", "value", "message"]
    assert shown == [["5" if line is None else "7", "", "&lt;b&gt;", "too long"]] * 10
    assert "<p>10 of 11</p>" in html
