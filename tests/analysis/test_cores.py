import threading

import pytest
import torch

from analysis.cores import one_thread, over_cores


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_order_is_that_of_the_items_and_each_has_one_thread(two_threads):
    both = threading.Barrier(2, timeout=60)  # two items are at work at once, or this breaks

    def work(item: int) -> tuple[int, int]:
        both.wait()
        return item, torch.get_num_threads()

    assert list(over_cores(work, range(6), torch.device("cpu"))) == [(k, 1) for k in range(6)]
    assert torch.get_num_threads() == 2


def test_what_goes_wrong_in_one_is_told_and_threads_are_as_before(two_threads):
    def work(item: int) -> int:
        if item == 3:
            raise MemoryError("no space for 3")
        return item

    with pytest.raises(MemoryError, match="no space for 3"):
        list(over_cores(work, range(6), torch.device("cpu")))
    assert torch.get_num_threads() == 2


def test_nothing_is_shared_out_on_one_core_and_on_another_device(two_threads):
    names = []

    def work(item: int) -> None:
        names.append(threading.current_thread().name)

    list(over_cores(work, range(3), torch.device("cuda")))
    with one_thread():
        list(over_cores(work, range(3), torch.device("cpu")))
    assert set(names) == {threading.current_thread().name}
