"""Threads are as many as are fastest; what the user says stands."""

import pytest
import torch

from lloco.cli import threads


def test_the_fastest_number_of_threads_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    try:
        for seconds, expected in (({1: 1.0, 2: 0.6}, 2), ({1: 1.0, 2: 0.95}, 1), ({1: 1.0, 2: 1.9}, 1)):
            torch.set_num_threads(2)
            monkeypatch.setattr(threads, "_seconds", lambda *_, own=seconds: own[torch.get_num_threads()])
            assert threads.fit_threads() == torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


def test_what_the_user_says_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(threads, "_seconds", lambda *_: pytest.fail("timed"))
    assert threads.fit_threads() == torch.get_num_threads()
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    threads.wait_passively()
    assert threads.os.environ["OMP_WAIT_POLICY"] == "active"
