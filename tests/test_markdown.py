"""Tables in Markdown, and the part of a page that a program writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidapp.markdown import between, markers, put_between, table

BEGIN, END = markers("part")
TEXT = st.text(st.characters(blacklist_characters="<"), max_size=30)


def test_a_table_has_a_header_a_rule_and_its_rows() -> None:
    assert table(["a", "b"], [["1", "x|y"]]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |"


@given(TEXT, TEXT, TEXT, TEXT)
def test_only_what_stands_between_the_markers_changes(before: str, old: str, new: str, after: str) -> None:
    page = f"{before}{BEGIN}{old}{END}{after}"
    written = put_between(page, "part", new)
    assert written.startswith(f"{before}{BEGIN}")
    assert written.endswith(f"{END}{after}")
    assert between(written, "part") == new.strip()
    assert put_between(written, "part", new) == written, "writing the same once more changes nothing"


@pytest.mark.parametrize("page", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_the_place_for_it_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="part:begin"):
        put_between(page, "part", "new")
