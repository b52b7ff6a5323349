"""Runs that are done away with can come back; a run that somebody writes cannot be taken from under them."""

from pathlib import Path

import pytest
from tiny_checkpoint import tiny_config

from vidapp.run_folder import runs_folder
from vidapp.run_trash import TRASH, discard, newest_of, restore, trashed
from vidapp.runs import RunWriter, list_runs, open_run


@pytest.fixture
def ended() -> str:
    with RunWriter.create("ended", tiny_config()) as run:
        run.log({"step": 1, "phase": "transformer", "loss": 2.0})
    return "ended"


def test_a_discarded_run_is_gone_from_the_list_and_whole_in_the_trash(ended: str, tmp_path: Path) -> None:
    before = (tmp_path / "runs" / ended / "metrics.jsonl").read_bytes()
    place = discard(ended)
    assert list_runs() == []
    assert (tmp_path / "runs" / TRASH / place / "metrics.jsonl").read_bytes() == before


def test_a_discarded_run_comes_back_under_its_name(ended: str) -> None:
    assert restore(discard(ended)) == ended
    assert open_run(ended).metrics()[0][0]["loss"] == 2.0


def test_a_name_can_be_discarded_again_and_again(ended: str) -> None:
    discard(ended)
    with RunWriter.create(ended, tiny_config()):
        pass
    assert discard(ended).endswith("/ended")


def test_a_live_run_cannot_be_discarded() -> None:
    with RunWriter.create("live", tiny_config()) as run:
        run.status("running", 1, 10)
        with pytest.raises(ValueError, match="is running: stop it first"):
            discard("live")
        assert run.path.is_dir()


def test_a_run_in_the_queue_cannot_be_discarded() -> None:
    from vidapp.run_queue import enqueue

    name = enqueue(tiny_config(), "waiting")
    with pytest.raises(ValueError, match="waits in the queue"):
        discard(name)


def test_a_run_does_not_come_back_over_another_one(ended: str) -> None:
    place = discard(ended)
    with RunWriter.create(ended, tiny_config()):
        pass
    with pytest.raises(ValueError, match="another run 'ended'"):
        restore(place)


def test_of_any_number_in_the_trash_each_can_come_back_by_its_name(ended: str) -> None:
    first = discard(ended)
    for number in range(201):
        (runs_folder() / TRASH / f"29990101-000000-{number:04x}" / f"later-{number}").mkdir(parents=True)
    assert newest_of(ended) == first


@pytest.mark.parametrize("place", ["", "../../etc/passwd", "x/../..", "nothing/here", ".hidden/ended"])
def test_only_what_is_in_the_trash_can_be_brought_back(ended: str, place: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each for a reason of its own
        restore(place)
    assert open_run(ended).name == ended


def test_the_trash_lists_what_can_come_back_by_its_name(ended: str) -> None:
    assert trashed() == []
    place = discard(ended)
    assert trashed() == [place]
    assert newest_of(ended) == newest_of(place) == place
    restore(newest_of(ended))
    assert trashed() == []
    with pytest.raises(ValueError, match="no run 'ended' in the trash"):
        newest_of(ended)
