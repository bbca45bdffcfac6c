"""The first cases of every attack, and the page that is written of them."""

import pytest
from stress import KINDS, page
from stress.attack import PROCESSES, attack, perform

PROCESSES.set_forkserver_preload(["stress.children"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_attack(kind, tmp_path):
    result = perform(kind, tmp_path, count=attack(kind).tests)
    assert not result.failures, "\n".join(result.repeats())


def test_the_page_is_that_of_the_recorded_results():
    assert page.page() == page.PAGE.read_text(encoding="utf-8")
