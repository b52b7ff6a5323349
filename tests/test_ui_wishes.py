"""The newest wish of a page counts, is begun once, and outdated work ends by itself."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidapp.ui.app import build
from vidapp.ui.wishes import LONGEST_TEXT, Wishes


def test_only_the_newest_wish_is_begun_and_only_once() -> None:
    wishes = Wishes()
    first = wishes.claim("page", "generate", (1,))
    second = wishes.claim("page", "generate", (2,))
    assert not wishes.holds("page", first.number)
    begun = wishes.begin("page", "generate")
    assert begun is not None
    assert (begun.number, begun.values) == (second.number, (2,))
    assert wishes.begin("page", "generate") is None
    assert wishes.holds("page", second.number)


def test_work_takes_only_wishes_of_its_own_kind() -> None:
    wishes = Wishes()
    wishes.claim("page", "generate")
    assert wishes.begin("page", "preview") is None
    assert wishes.begin("page", "preview", "generate") is not None


def test_a_wish_may_join_one_that_still_waits() -> None:
    wishes = Wishes()
    wishes.claim("page", "fit", (1,))
    assert wishes.claim("page", "preview", (2,), joins={"fit": "fit"}).kind == "fit"
    assert wishes.begin("page", "fit") is not None
    assert wishes.claim("page", "preview", (3,), joins={"fit": "fit"}).kind == "preview"


def test_pages_do_not_see_each_others_wishes() -> None:
    wishes = Wishes()
    mine = wishes.claim("mine", "generate")
    wishes.claim("other", "generate")
    assert wishes.holds("mine", mine.number)


def test_without_a_wish_there_is_nothing_to_do() -> None:
    wishes = Wishes()
    assert wishes.begin("page", "generate") is None
    assert wishes.holds("page", 0)
    assert wishes.of("page") is None


def test_only_so_many_pages_are_remembered() -> None:
    wishes = Wishes(held=2)
    for page in ("a", "b", "a", "c"):
        wishes.claim(page, "generate")
    assert set(wishes.newest) == {"a", "c"}


@pytest.mark.parametrize("value", [["x"], {"a": 1}, "x" * (LONGEST_TEXT + 1), b"x"])
def test_what_no_control_gives_is_not_kept(value: object) -> None:
    wishes = Wishes()
    with pytest.raises(ValueError, match="a control holds"):
        wishes.claim("page", "generate", (value,))
    assert wishes.begin("page", "generate") is None


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["claim", "begin"])), max_size=30))
def test_every_wish_is_begun_at_most_once_and_the_last_one_always_can_be(events: list[tuple[str, str]]) -> None:
    wishes, begun = Wishes(), []
    for page, what in events:
        if what == "claim":
            wishes.claim(page, "generate")
        elif wish := wishes.begin(page, "generate"):
            begun.append(wish.number)
    claimed = sorted({wish.number for wish in wishes.newest.values()})
    begun += [wish.number for page in "ab" if (wish := wishes.begin(page, "generate"))]
    assert len(begun) == len(set(begun))
    assert set(claimed) <= set(begun)


def test_many_events_at_once_begin_a_wish_once() -> None:
    wishes, begun = Wishes(), []
    wishes.claim("page", "generate")
    threads = [threading.Thread(target=lambda: begun.append(wishes.begin("page", "generate"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(wish is not None for wish in begun) == 1


def test_no_event_of_the_page_can_be_lost_in_the_browser() -> None:
    """A cancelled event, one that is put off (which `.change` does by default) and a `.then` whose last round is still on its way
    are dropped when several cross."""
    events = [event for event in build().get_config_file()["dependencies"] if event["backend_fn"]]
    lost = [
        e["id"]
        for e in events
        if e["cancels"] or e["trigger_mode"] == "always_last" or (e["trigger_after"] is not None and e["trigger_mode"] != "multiple")
    ]
    assert lost == [], "give these events **AGAIN of vidapp/ui/wiring.py"
