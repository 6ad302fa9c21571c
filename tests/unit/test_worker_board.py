"""The board: what is read is whole, and says which claim it belongs to."""

from __future__ import annotations

import math
import mmap
import os
import struct

import pytest

from stepwell.worker.board import Board, Cell, Horse, Work, size_of

FORM = struct.Struct("<dd")


def test_what_one_process_writes_the_other_reads() -> None:
    board = Board(horses=2, lanes=2)
    work = Work("task-1", "token-1", since=1.5, path="each[3]/résumé", until=9.5)
    child = os.fork()
    if child == 0:
        board.places[1].introduce(Horse("horse", 7, ready=True))
        board.places[1].lanes[1].show(work)
        os._exit(0)
    os.waitpid(child, 0)
    assert board.places[1].horse == Horse("horse", 7, ready=True)
    assert list(board.places[1].works) == [work]
    assert board.places[0].horse is None
    assert list(board.places[0].works) == []


def test_a_record_that_is_half_written_is_not_read() -> None:
    memory = mmap.mmap(-1, 64)
    cell = Cell(memory, 0, FORM)
    assert cell.read() is None
    cell.write(1.0, 2.0)
    assert cell.read() == (1.0, 2.0)
    memory[size_of(FORM) - 1] ^= 1
    assert cell.read() is None


def test_a_lane_at_rest_has_no_work_and_says_since_when() -> None:
    place = Board(horses=1, lanes=1).places[0]
    (lane,) = place.lanes
    place.beat(2.0)
    assert place.idle_since == 2.0
    lane.show(Work("t", "k", since=3.0))
    assert lane.work == Work("t", "k", since=3.0, path=None, until=math.inf)
    lane.rest(5.0)
    assert lane.work is None
    assert place.idle_since == 5.0


def test_a_lease_is_granted_to_one_claim_only() -> None:
    (lane,) = Board(horses=1, lanes=1).places[0].lanes
    lane.grant("old", 100.0)
    assert lane.granted("old") == 100.0
    assert lane.granted("new") == 0.0


@pytest.mark.parametrize("path", ["a" * 5000, "é" * 5000])
def test_a_long_path_is_cut_and_its_claim_is_whole(path: str) -> None:
    (lane,) = Board(horses=1, lanes=1).places[0].lanes
    lane.show(Work("task", "token", 1.0, path, 2.0))
    assert lane.work is not None
    assert (lane.work.task_id, lane.work.token, lane.work.until) == ("task", "token", 2.0)
    assert lane.work.path
    assert path.startswith(lane.work.path)


def test_a_place_that_is_cleared_is_empty() -> None:
    place = Board(horses=1, lanes=2).places[0]
    place.introduce(Horse("horse", 7))
    place.lanes[0].show(Work("t", "k", 1.0))
    place.clear()
    assert (place.horse, list(place.works), place.beaten_at) == (None, [], 0.0)
