import threading
import time
import warnings

import numpy as np
import pytest
import torch

import tonsure as tn
from peak_memory import in_a_process, measured, of_this_process
from tonsure.predictions.reader import PoolReader
from tonsure.search.plan import as_bytes, as_text, plan


@pytest.mark.parametrize(
    ("text", "count"), [("4GB", 4 * 10**9), ("512MiB", 2**29), (" 1.5 gib ", 3 * 2**29), ("100", 100), (7, 7)]
)
def test_bytes_are_read(text, count):
    assert as_bytes(text) == count


@pytest.mark.parametrize("text", ["", "much", "4 XB", "-1GB", "0", 0, -3, "1e9"])
def test_what_is_no_number_of_bytes(text):
    with pytest.raises(tn.InputError, match="expected a number of bytes, or text like 4GB"):
        as_bytes(text)


def test_bytes_for_people():
    assert [as_text(count) for count in (0, 1023, 1536, 3 * 2**29, 5 * 2**40)] == [
        "0 bytes",
        "1,023 bytes",
        "1.5 KiB",
        "1.5 GiB",
        "5.0 TiB",
    ]


@pytest.mark.usefixtures("annotations_unchecked")
@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
@pytest.mark.parametrize("objective", [tn.LargeBatchBALD(), tn.SecondOrderLBB(), tn.BatchBALD(labelings=64)], ids=repr)
def test_a_budget_is_met_and_changes_nothing(make_log_probs, objective):
    log_probs = make_log_probs(250, 6, 20, dtype=torch.float16).cpu()
    part = PoolReader([log_probs])
    free = plan(part, objective, 12)
    least = free.least
    with pytest.raises(tn.InputError, match="needs at least"):
        plan(part, objective, 12, least - 1)
    expected = tn.select(log_probs, objective, 12)
    blocks = set()
    for memory in (least, least + free.kept, free.total, 10 * free.total):
        planned = plan(part, objective, 12, memory)
        assert planned.total <= memory
        blocks.add(planned.block)
        assert tn.select(log_probs, objective, 12, memory=memory).rows.tolist() == expected.rows.tolist()
    assert planned.block == free.block
    assert planned.kept == free.kept
    assert len(blocks) > 1


def test_chosen_items_are_planned_where_rows_are_compared_with_them(make_log_probs):
    part = PoolReader([make_log_probs(50, 6, 20, dtype=torch.float16).cpu()])
    few, many = (plan(part, tn.LargeBatchBALD(), k).total for k in (1, 41))
    assert many - few >= 40 * 6 * (10 * 4 + 20 * 8)  # ten merged classes in float32, all of them in float64
    assert plan(part, tn.SecondOrderLBB(), 1) == plan(part, tn.SecondOrderLBB(), 41)


def test_too_small_a_budget_says_how_much_is_needed(make_log_probs):
    with pytest.raises(
        tn.InputError, match=r"memory is 1\.0 MiB, but LargeBatchBALD.* over 24 rows of \(6, 3\) needs at least \d+"
    ):
        tn.select(make_log_probs(), tn.LargeBatchBALD(), 3, memory="1MiB")


def test_the_plan_is_logged(make_log_probs, caplog):
    with caplog.at_level("INFO", logger="tonsure"):
        tn.select(make_log_probs(), tn.Pointwise(tn.bald), 3, memory="100MB")
    assert "plan for 24 rows" in caplog.text
    assert "of 95.4 MiB" in caplog.text


def select_from_a_file(path, objective, memory):
    """Bytes taken beyond a mapped file."""
    warnings.simplefilter("ignore")
    pool = np.load(path, mmap_mode="r")
    tn.select(pool[:50], objective, 3)  # first-time costs
    before, most, done = of_this_process("RssAnon"), 0, False

    def watch():
        nonlocal most
        while not done:
            most = max(most, of_this_process("RssAnon"))
            time.sleep(0.0005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    tn.select(pool, objective, 40, memory=memory)
    done = True
    watcher.join()
    return most - before


@pytest.mark.slow
@measured
@pytest.mark.parametrize("objective", [tn.SecondOrderLBB(), tn.LargeBatchBALD()], ids=repr)
def test_a_budget_is_kept(make_log_probs, tmp_path, objective):
    np.save(tmp_path / "pool.npy", make_log_probs(60_000, 12, 10, dtype=torch.float16).cpu().numpy())
    for memory in ("70MiB", "110MiB"):
        assert 0 < in_a_process(select_from_a_file, tmp_path / "pool.npy", objective, memory) <= as_bytes(memory)
