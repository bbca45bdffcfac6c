"""The pages docs/evidence.md and docs/choose.md, with their pictures, from the records of default.py.

python experiments/default_results.py --pack runs                 # the finished runs of runs/, into docs/default/
python experiments/default_results.py                             # the page, from the archives in docs/default/
python experiments/default_results.py --records runs --out tried  # a page elsewhere, from what is finished in runs/

An experiment is called POOL-POSTERIOR-BATCH, such as ag-news-ensemble-100. What full supervision reaches is read from
full_supervision.txt beside the records, as experiments/full_supervision.py prints it. The page is made of these files
alone: the same files give the same text. It needs the extra ``report``.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from default import CANDIDATE, CANDIDATE_ALONE
from default_choose import FEATURES, sees, situations
from default_goals import goals
from default_results_pictures import critical_difference_picture, differences, learning_curves
from default_results_runs import (
    BASELINE,
    HERE,
    Trial,
    halves,
    pack_finished,
    pools_of,
    read_evidence,
    read_further,
)
from default_results_tables import (
    CRITICAL,
    against,
    apart_from,
    difference,
    in_order,
    in_words,
    labels_saved,
    likelihoods,
    mean_accuracy,
    mean_ranks,
    only_above,
    overview,
    rank_table,
    ranked_of,
    saved_by_pool,
    selection_seconds,
    standing,
    told_apart,
)
from results import markdown

from tonsure.errors import InputError, MissingExtraError, TonsureError
from tonsure.report.statistics import RESAMPLES, Estimate, critical_difference

DOCS = HERE.parent / "docs"
FURTHER = ("saved", "pixels", "mends")
"""Folders inside that of the records: scales of default.py with questions of their own."""

EARLIER = "facility-location"
"""The candidate before, for the scales that the present one was not run in."""

HIGHLIGHTED = 6
"""So many methods have a color in the pictures, besides the baseline."""


def write_page(
    records: Path,
    out: Path,
    *,
    half_of: Mapping[str, str] | None = None,
    default: str | None = None,
    incomplete: bool = False,
) -> Path:
    """Writes ``evidence.md`` and ``choose.md`` into ``out``, and their pictures into the folder ``default`` there."""
    try:
        import matplotlib  # noqa: F401
        import scipy.stats  # noqa: F401
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("the page of evidence", "report") from error

    half_of = halves() if half_of is None else half_of
    evidence = read_evidence(records, half_of, incomplete)
    trials = evidence.trials
    further = {name: read_further(records / name, half_of) for name in FURTHER}
    saved_trials, pixel_trials, mend_trials = further.values()
    ranked, methods = ranked_of(trials), in_order(trials)
    if default is not None and default not in methods:
        raise InputError(f"no run of the candidate {default} is finished: there are {', '.join(methods)}")
    kinds = sees()
    alone = [method for method in ranked if kinds.get(method) != FEATURES]
    pictures = out / "default"
    pictures.mkdir(parents=True, exist_ok=True)
    if len(ranked) > 1:
        critical = critical_difference(len(ranked), len(trials))
        picture = critical_difference_picture(mean_ranks(trials, ranked), critical)
        (pictures / "critical_difference.png").write_bytes(picture)
    highlighted = [BASELINE, *[method for method in methods if method != BASELINE][:HIGHLIGHTED]]
    for pool, of_pool in pools_of(trials).items():
        (pictures / f"{pool}.png").write_bytes(learning_curves(of_pool, highlighted))

    page = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    tables = (overview, apart_from, standing, rank_table, against, labels_saved, saved_by_pool, likelihoods)
    parts = (
        *tables,
        told_apart,
        selection_seconds,
        only_above,
        pools_of,
        in_words,
        in_order,
        goals,
        said,
        counted,
        markdown,
    )
    page.globals |= {part.__name__: part for part in parts}
    told = {
        "trials": trials,
        "saved_trials": saved_trials,
        "pixel_trials": pixel_trials,
        "mend_trials": mend_trials,
        "all_trials": [*trials, *saved_trials, *pixel_trials, *mend_trials],
        "ranked": ranked,
        "methods": methods,
        "alone": alone,
        "candidate_alone": CANDIDATE_ALONE if default and CANDIDATE_ALONE in alone and len(alone) > 1 else None,
        "left_out": evidence.left_out,
        "supervision": evidence.supervision,
        "baseline": BASELINE,
        "critical_rows": list(CRITICAL),
        "default": default,
        "defaults": {name: _run_in(some, default) for name, some in further.items()},
        "incomplete": incomplete,
        "highlighted": highlighted,
        "resamples": RESAMPLES,
        "only_choosing": [m for m in methods if {trial.half for trial in trials if m in trial.curves} == {"choose"}],
        "unranked": {m: sum(m in trial.curves for trial in trials) for m in methods if m not in ranked},
        "no_gap": [trial.name for trial in trials if not trial.level(1.0) > 0],
        "apart": max(trial.apart for trial in trials),
    }
    shown = [method for method in methods if method != BASELINE]
    of_batch = {batch: _differences(trials, batch, shown) for batch in sorted({trial.batch for trial in trials})}
    shown = [method for method in shown if any(method in found for found in of_batch.values())]
    choosing = {
        "situations": situations(trials, kinds),
        "pools": list(pools_of(trials)),
        "seeds": counted(trials),
        "fewer_shown": fewer_seeds(trials, shown),
        "fewer": fewer_seeds(trials, methods),
    }
    with_features = [method for method in shown if kinds.get(method) == FEATURES]
    (pictures / "choose.png").write_bytes(differences(of_batch, shown, with_features))
    for template, name in (("default_results.md.jinja", "evidence.md"), ("default_choose.md.jinja", "choose.md")):
        text = re.sub(r"\n{3,}", "\n\n", page.get_template(template).render(told | choosing).strip())
        (out / name).write_text(f"{text}\n", encoding="utf-8")
    return out / "evidence.md"


def _run_in(trials: Sequence[Trial], default: str | None) -> str | None:
    """The candidate, or the earlier one where it was not run."""
    return default if default and all(default in trial.curves for trial in trials) else EARLIER


def _differences(trials: Sequence[Trial], batch: int, methods: Sequence[str]) -> dict[str, Estimate]:
    """To the baseline, of the methods that are in all experiments with batches of this size."""
    group = [trial for trial in trials if trial.batch == batch]
    everywhere = [method for method in methods if all(method in trial.curves for trial in group)]
    return {method: difference(group, mean_accuracy, method, BASELINE) for method in everywhere}


def said(trials: Sequence[Trial], key: str) -> list[str]:
    """What the runs say of themselves under a key of ``provenance``, each once."""
    return list(dict.fromkeys(text for trial in trials for text in trial.facts.get(key, [])))


def counted(trials: Sequence[Trial], method: str = BASELINE) -> str:
    """How many seeds the experiments have of a method: "10", or "8 to 10"."""
    counts = sorted({len(trial.curves[method]) for trial in trials if method in trial.curves})
    return " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))


def fewer_seeds(trials: Sequence[Trial], methods: Sequence[str]) -> dict[str, list[str]]:
    """Of the methods with other seeds than the baseline: how many, and who."""
    found: dict[str, list[str]] = {}
    for method in methods:
        if any(list(trial.curves[method]) != trial.seeds for trial in trials if method in trial.curves):
            found.setdefault(counted(trials, method), []).append(method)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=DOCS / "default", help="a folder of archives or of experiments")
    parser.add_argument("--out", type=Path, default=DOCS, help="the folder of evidence.md; pictures go to its default/")
    parser.add_argument("--pack", type=Path, metavar="RUNS", help="pack finished runs into --records")
    parser.add_argument("--incomplete", action="store_true", help="keep experiments that not all methods have finished")
    parser.add_argument("--default", default=CANDIDATE, help="the candidate that all methods are compared with")
    words = parser.parse_args()
    try:
        if words.pack:
            for path in pack_finished(words.pack, words.records):
                print(f"{path}  {path.stat().st_size:,} bytes")
        else:
            print(write_page(words.records, words.out, default=words.default, incomplete=words.incomplete))
    except TonsureError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
