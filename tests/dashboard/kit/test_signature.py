"""Cookies and links are signed by a key that is made once, by whoever comes first, and kept."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dashboard.kit import signature
from dashboard.kit.signature import Visitor


def test_a_cookie_says_who_it_is_in_this_store_and_in_no_other(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for visitor in (signature.newcomer(), Visitor("a" * 32, machine=True)):
        cookie = signature.cookie_of(here, visitor)
        assert signature.visitor_of(here, cookie) == visitor
        assert signature.visitor_of(there, cookie) is None
    assert signature.cookie_name(here) != signature.cookie_name(there)
    assert signature.newcomer() != signature.newcomer()


def test_what_was_changed_or_made_up_is_nobody(tmp_path: Path) -> None:
    cookie = signature.cookie_of(tmp_path, Visitor("a" * 32))
    name, _, signed = cookie.split(".")
    other = signature.cookie_of(tmp_path, Visitor("b" * 32)).split(".")[2]
    forged = [f"{name}.machine.{signed}", f"{'b' * 32}.visitor.{signed}", f"{name}.visitor.{other}"]
    forged += ["", ".", "..", name, cookie[:-1], cookie + "0", cookie + "\n", cookie.upper()]
    forged += ["é" * 32 + f".visitor.{signed}", cookie.replace(".visitor.", ".admin.")]
    forged += [
        cookie[:i] + ("0" if cookie[i] != "0" else "1") + cookie[i + 1 :] for i in (0, 40, 70)
    ]
    assert [signature.visitor_of(tmp_path, text) for text in forged] == [None] * len(forged)


def test_the_key_is_private_and_a_damaged_one_is_replaced(tmp_path: Path) -> None:
    cookie = signature.cookie_of(tmp_path, Visitor("a" * 32))
    key = tmp_path / signature.KEY
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    assert signature.visitor_of(tmp_path, cookie) == Visitor("a" * 32)
    assert key.stat().st_mode & 0o777 == 0o600
    for damage in (b"", b"\xff\x00", b"0" * 63, b"x" * 64):
        key.write_bytes(damage)
        assert signature.visitor_of(tmp_path, cookie) is None
        assert signature.visitor_of(tmp_path, signature.cookie_of(tmp_path, Visitor("a" * 32)))
    assert [path.name for path in tmp_path.iterdir()] == [signature.KEY]


def _name_of(root: Path) -> str:
    return signature.cookie_name(root)


def test_processes_that_begin_at_once_agree_on_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        names = pool.map(_name_of, [tmp_path / "runs"] * 64, chunksize=1)
    assert len(set(names)) == 1


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc").exists(), reason="needs /proc")
def test_a_store_that_cannot_be_written_is_an_error_that_says_so() -> None:
    with pytest.raises(OSError):
        signature.cookie_name(Path("/proc/none"))


def test_a_link_works_once_whoever_is_first(tmp_path: Path) -> None:
    assert not signature.accept(tmp_path, "")
    token = signature.invite(tmp_path)
    assert (tmp_path / signature.INVITATION).stat().st_mode & 0o777 == 0o600
    assert token not in (tmp_path / signature.INVITATION).read_text()
    assert not signature.accept(tmp_path, token[:-1]) and not signature.accept(tmp_path, "\ud800")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: signature.accept(tmp_path, token), range(64)))
    assert answers.count(True) == 1


def test_a_new_link_ends_the_one_before(tmp_path: Path) -> None:
    first, second = signature.invite(tmp_path), signature.invite(tmp_path)
    assert not signature.accept(tmp_path, first)
    assert signature.accept(tmp_path, second)
