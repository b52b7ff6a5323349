"""Many open pages ask no more often, all together, than a few."""

import heapq

import pytest

from vidapp.ui.pace import MOST_MS, Pace


def asked(pages: int, apart_ms: float, least_ms: float, until_ms: float) -> list[tuple[float, int]]:
    """(when, which page) of every question, of pages that obey."""
    pace, found = Pace(apart_ms), []
    waiting = [(float(page), page) for page in range(pages)]
    while waiting[0][0] < until_ms:
        now, page = heapq.heappop(waiting)
        found.append((now, page))
        heapq.heappush(waiting, (now + pace(least_ms, now), page))
    return found


@pytest.mark.parametrize(("pages", "every_ms"), [(1, 1000), (3, 1000), (4, 1000), (10, 2500), (40, 10_000)])
def test_each_page_comes_at_its_own_pace_until_there_are_many(pages: int, every_ms: int) -> None:
    found = [(when, page) for when, page in asked(pages, 250, 1000, 120_000) if when >= 20_000]  # once they have all come
    assert len(found) == pytest.approx(pages * 100_000 / every_ms, rel=0.05)
    counts = [sum(page == one for _, page in found) for one in range(pages)]
    assert max(counts) - min(counts) <= 1


def test_pages_that_have_gone_are_forgotten() -> None:
    pace = Pace(250)
    for _ in range(10_000):
        pace(1000, 0.0)
    assert pace(1000, 1.0) == MOST_MS
    assert pace(1000, 2.0 * MOST_MS) == 1000
