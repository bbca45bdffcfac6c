"""Each measure against plain loops at tiny sizes; what is compared, left out and refused; the command and its files."""

import csv
import itertools
import json
import math
import warnings

import numpy as np
import pytest
import torch

import test_cli
import tonsure as tn
from enumeration import joint_information as enumerated_information
from enumeration import label_information
from tonsure.comparison import measures
from tonsure.comparison.compare import BY_DEFAULT, LIMITS, WITH_FEATURES, compare
from tonsure.comparison.measures import averages, joint_information, redundancy
from tonsure.methods import METHODS, named, named_methods
from tonsure.predictions.reader import PoolReader
from tonsure.predictions.store import write_store

typed = test_cli.typed

FEW = {"random": METHODS["random"], "BALD": METHODS["BALD"], "LBB": METHODS["LBB"]}


def test_with_features_facility_location_is_compared_too(make_log_probs, typed, tmp_path):
    log_probs, features = make_log_probs(40, K=5), np.random.default_rng(0).normal(size=(40, 3))
    options = {"features": features, "labeled": range(35, 40), "candidates": range(35), "memory": "1GB"}
    assert {*BY_DEFAULT, *WITH_FEATURES} <= set(METHODS)
    found = compare(log_probs, 6, **options)
    assert list(found.batches) == [*BY_DEFAULT, *WITH_FEATURES]
    batch = found.batches["facility-location"]
    expected = tn.select(log_probs, k=6, seed=batch.seed, **options)
    assert batch.selection.rows.tolist() == expected.rows.tolist()
    np.save(tmp_path / "predictions.npy", log_probs.float().numpy())
    np.save(tmp_path / "features.npy", features)
    shown = typed("compare", tmp_path / "predictions.npy", "-k", 6, "--features", tmp_path / "features.npy").stdout
    assert "facility-location" in shown


# Measures


@pytest.mark.parametrize("b", [1, 2, 3, 4])
def test_information_of_few_items_is_enumerated(make_log_probs, b):
    log_probs = make_log_probs(b, K=5, impossible=True)
    information, error = joint_information(PoolReader([log_probs]))
    assert information == pytest.approx(enumerated_information(log_probs.exp()), abs=1e-12)
    assert error == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_information_of_drawn_labelings_is_that_of_all(make_log_probs, monkeypatch, dtype):
    log_probs = make_log_probs(6, K=5, impossible=True).to(dtype)
    exact, _ = joint_information(PoolReader([log_probs]))
    monkeypatch.setattr(measures, "LABELINGS", 1)
    found = [joint_information(PoolReader([log_probs]), seed) for seed in range(4)]
    assert len({information for information, _ in found}) == 4
    for information, error in found:
        assert 0 < error < 0.01
        assert abs(information - exact) < 4 * error


def test_information_of_many_items_is_that_of_batch_bald(make_log_probs):
    log_probs = make_log_probs(15, K=8)
    information, error = joint_information(PoolReader([log_probs]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tn.SelectionWarning)
        chosen = tn.select(log_probs, tn.BatchBALD(labelings=2**14), 15)
    assert abs(information - float(chosen.gains.sum())) < 4 * (error + chosen.standard_error)


def test_information_ends_at_its_ceiling():
    """Where all samples are told apart, the rows that follow are not read: here they are nan."""
    log_probs = (9 * torch.eye(4, dtype=torch.float64)).log_softmax(-1).repeat(256, 1, 1)
    log_probs[64:] = torch.nan
    information, error = joint_information(PoolReader([log_probs]))
    assert information == pytest.approx(math.log(4), abs=1e-3)
    assert error < 1e-3


def test_redundancy_is_the_mean_over_pairs(make_log_probs):
    log_probs = make_log_probs(5, K=6, impossible=True)
    probs = log_probs.exp()
    pairs = [label_information(probs[i], probs[j]) for i, j in itertools.combinations(range(5), 2)]
    told = [enumerated_information(probs[i : i + 1]) for i in range(5)]
    expected = (sum(pairs) / len(pairs)) / (sum(told) / len(told))
    assert redundancy(PoolReader([log_probs])) == pytest.approx(expected, rel=1e-9)


def certain(labels_n_K):
    """Items whose label every posterior sample knows for certain."""
    return torch.nn.functional.one_hot(torch.tensor(labels_n_K)).double().log()


def test_redundancy_of_duplicates_and_of_independent_items():
    same = certain([[0, 0, 1, 1]] * 3)
    apart = certain([[0, 0, 1, 1], [0, 1, 0, 1]])
    nothing = certain([[0, 0, 0, 0], [1, 1, 1, 1]])
    assert redundancy(PoolReader([same])) == pytest.approx(1)
    assert redundancy(PoolReader([apart])) == pytest.approx(0, abs=1e-12)
    assert redundancy(PoolReader([nothing])) == 0
    assert redundancy(PoolReader([same[:1]])) == 0


def test_redundancy_of_many_items_is_that_of_some_pairs(make_log_probs, monkeypatch):
    log_probs = make_log_probs(300, K=6)
    everything = redundancy(PoolReader([log_probs]))
    monkeypatch.setattr(measures, "PAIRS", 10_000)
    some = [redundancy(PoolReader([log_probs]), seed) for seed in (0, 0, 1, 2)]
    assert some[0] == some[1] != some[2]
    assert some == pytest.approx([everything] * 4, rel=0.05)
    monkeypatch.setattr(measures, "TERMS", 1)  # the fewest pairs: single items with their neighbors
    assert redundancy(PoolReader([log_probs])) == pytest.approx(everything, rel=0.5)


@pytest.mark.parametrize("b", [2, 7, 24, 300])
@pytest.mark.parametrize("most", [1, 10, 300])
def test_no_pair_counts_twice(b, most):
    found = [tuple(map(torch.Tensor.tolist, pair)) for pair in measures._pairs(b, most, 0)]
    pairs = [frozenset(pair) for some, others in found for pair in itertools.product(some, others)]
    if b * (b - 1) // 2 <= most:
        assert found == [(list(range(b)), list(range(b)))]
    else:
        assert all(len(pair) == 2 for pair in pairs)
        assert len(set(pairs)) == len(pairs) <= most


def test_averages(make_log_probs):
    log_probs = make_log_probs(500, K=6)
    found = averages(PoolReader([log_probs[:200], log_probs[200:]]))
    assert found.bald == pytest.approx(float(tn.bald(log_probs).mean()))
    assert found.entropy == pytest.approx(float(tn.entropy(log_probs).mean()))
    mean_C = log_probs.exp().mean((0, 1))
    assert found.classes == pytest.approx(math.exp(-float((mean_C * mean_C.log()).sum())))
    assert averages(PoolReader([certain([[0], [1], [2], [3]])])).classes == pytest.approx(4)
    assert averages(PoolReader([certain([[3], [3]])])).classes == pytest.approx(1)


# What is compared


def test_what_is_chosen_is_what_select_chooses(make_log_probs):
    log_probs = make_log_probs(60, K=20)
    found = compare(log_probs, 5, seed=3)
    assert list(found.batches) == list(BY_DEFAULT)
    assert (found.left_out, found.shape, found.ceiling) == ({}, (60, 20, 3), math.log(20))
    for name, batch in found.batches.items():
        expected = tn.select(log_probs, name, 5, seed=batch.seed)
        assert batch.selection.rows.tolist() == expected.rows.tolist()
        items = log_probs[expected.rows]
        assert batch.information == pytest.approx(enumerated_information(items.exp()), abs=1e-9)
        assert batch.averages.bald == pytest.approx(float(tn.bald(items).mean()))
        assert batch.seconds > 0
    assert found.pool.entropy == pytest.approx(float(tn.entropy(log_probs).mean()))
    assert len({batch.seed for batch in found.batches.values()}) == len(BY_DEFAULT)


def test_overlap(make_log_probs):
    log_probs = make_log_probs(40, K=20)
    found = compare(log_probs, 25, FEW)  # so many that any two share some
    rows = {name: set(batch.selection.rows.tolist()) for name, batch in found.batches.items()}
    for one, other in itertools.product(FEW, FEW):
        assert found.overlap(one, other) == len(rows[one] & rows[other]) / 25
        assert found.overlap(one, other) == found.overlap(other, one)
    assert found.overlap("LBB", "LBB") == 1
    assert 0 < found.overlap("LBB", "BALD") < 1
    everything = compare(log_probs, 40, FEW)
    assert everything.overlap("random", "LBB") == 1


def test_what_select_warns_of_is_kept_with_the_batch(make_log_probs):
    batches = compare(make_log_probs(60), 40, FEW).batches
    assert "of the 40 rows have a positive gain" in batches["LBB"].warnings[0]
    assert batches["random"].warnings == ()


@pytest.mark.parametrize("most", [(4, 3, 18_000), (5, 2, 18_000), (5, 3, 17_999)])
def test_slow_methods_are_left_out_unless_they_are_asked_for(make_log_probs, monkeypatch, most):
    assert LIMITS["BatchBALD"][:2] == (50, 20)
    log_probs = make_log_probs(60, K=20, C=3)
    slow = {"BatchBALD": METHODS["BatchBALD"]}
    monkeypatch.setattr("tonsure.comparison.compare.BY_DEFAULT", ("random", "BatchBALD"))
    monkeypatch.setitem(LIMITS, "BatchBALD", (5, 3, 18_000))
    assert list(compare(log_probs, 5).batches) == ["random", "BatchBALD"]
    monkeypatch.setitem(LIMITS, "BatchBALD", most)
    found = compare(log_probs, 5)
    assert list(found.batches) == ["random"]
    assert "it would take long with k = 5 and predictions of shape (60, 20, 3)" in found.left_out["BatchBALD"]
    assert list(compare(log_probs, 5, slow).batches) == ["BatchBALD"]
    assert list(compare(log_probs, 5, more=slow).batches) == ["random", "BatchBALD"]


def test_one_posterior_sample(make_log_probs):
    log_probs = make_log_probs(30, K=1)
    found = compare(log_probs, 5)
    assert list(found.batches) == ["random", "margin", "entropy", "discounted-margin", "prediction-coverage"]
    assert found.left_out["LBB"] == "it compares posterior samples with each other and needs at least 2, but K = 1"
    for batch in found.batches.values():
        assert (batch.information, batch.standard_error, batch.redundancy) == (0, 0, 0)
    with pytest.raises(tn.InputError, match=r"no method to compare \(BALD: it compares posterior samples"):
        compare(log_probs, 5, {"BALD": METHODS["BALD"]})
    with pytest.raises(tn.InputError, match=r"no method to compare \(none was given\)"):
        compare(log_probs, 5, {})


def test_what_refuses_its_input_is_left_out_and_the_others_are_kept(make_log_probs):
    log_probs = make_log_probs(30, K=4)
    found = compare(log_probs, 5, ["LBB", "ProbCover", "margin", "CoreSet"], features=torch.randn(30, 3))
    assert list(found.batches) == ["LBB", "margin"]
    assert found.left_out["ProbCover"].startswith("the strategy needs the labels of the labeled rows: labeled=rows")
    assert found.left_out["CoreSet"].endswith("none of the 30 rows is labeled: labeled=rows")
    with pytest.raises(tn.InputError, match=r"no method to compare \(EPIG: .* at least 2"):
        compare(log_probs[:, :1], 5, ["EPIG"])


def test_parts_arrays_stores_and_half_precision_are_alike(make_log_probs, tmp_path):
    log_probs = make_log_probs(40, K=20).half().cpu()
    write_store(tmp_path / "store", log_probs)
    expected = compare(log_probs, 4, FEW)
    for predictions in (log_probs.numpy(), [log_probs[:7], log_probs[7:]], tn.Store.open(tmp_path / "store")):
        found = compare(predictions, 4, FEW)
        assert found.pool == expected.pool
        for name, batch in found.batches.items():
            assert batch.selection.rows.tolist() == expected.batches[name].selection.rows.tolist()
            assert batch.information == expected.batches[name].information
            assert batch.redundancy == expected.batches[name].redundancy
    again = compare(log_probs.float().log_softmax(-1), 4, FEW)
    assert again.batches["LBB"].information == pytest.approx(expected.batches["LBB"].information, abs=1e-5)


def test_some_rows_and_some_samples(make_log_probs):
    log_probs = make_log_probs(40, K=20)
    rows, samples = list(range(39, 9, -3)), [3, 5, 7]
    found = compare(log_probs, 4, FEW, candidates=rows, samples=samples)
    part = log_probs[sorted(rows)][:, samples]
    assert found.shape == (10, 3, 3)
    assert found.pool.bald == pytest.approx(float(tn.bald(part).mean()))
    batch = found.batches["LBB"]
    assert set(batch.selection.rows.tolist()) <= set(rows)
    items = log_probs[batch.selection.rows][:, samples]
    assert batch.information == pytest.approx(enumerated_information(items.exp()), abs=1e-9)


def test_bad_input_is_refused_before_anything_is_chosen(make_log_probs, monkeypatch):
    monkeypatch.setattr("tonsure.comparison.compare.choose", lambda *_, **__: pytest.fail("something was chosen"))
    log_probs = make_log_probs(30)
    for k in (0, 31, True):
        with pytest.raises(tn.InputError, match=rf"k is {k}, expected a whole number from 1 to 30"):
            compare(log_probs, k)
    with pytest.raises(tn.InputError, match="is no distribution"):
        compare(log_probs.exp(), 2)
    with pytest.raises(tn.InputError, match=r"memory is 1\.0 KiB, but Random"):
        compare(log_probs, 2, memory="1KiB")
    with pytest.raises(tn.InputError, match="samples holds 6, expected numbers from 0 to 5"):
        compare(log_probs, 2, samples=[6])


# Names


def test_methods_by_name():
    typed = "random, LBB,BatchBALD(labelings=64, seed=2),bald@PowerSample(beta=3.0),novelty,BADGE()"
    assert named_methods(typed) == {
        "random": METHODS["random"],
        "LBB": METHODS["LBB"],
        "BatchBALD(labelings=64, seed=2)": tn.Method(tn.BatchBALD(64, 2)),
        "bald@PowerSample(beta=3.0)": tn.Method(tn.Pointwise(tn.bald), tn.PowerSample(3.0)),
        "novelty": tn.Method(tn.Novelty()),
        "BADGE()": tn.Method(tn.BADGE()),
    }
    assert named_methods("all,margin@TopK", "all") == {
        "all": None,
        "margin@TopK": tn.Method(tn.Pointwise(tn.margin), tn.TopK()),
    }


@pytest.mark.filterwarnings("ignore::tonsure.SelectionWarning")
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_compared_by_its_name(make_log_probs, method):
    """With all that a method may look at; what it chooses is what select chooses."""
    options = {"features": torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), "labeled": range(5)}
    options |= {"labels": [0, 1, 2, 0, 1], "backend": None, "memory": "1GB"}
    log_probs = make_log_probs(40, K=5)
    batch = compare(log_probs, 4, [method], **options).batches[method]
    assert batch.method == named(method)
    assert batch.selection.rows.tolist() == tn.select(log_probs, method, 4, seed=batch.seed, **options).rows.tolist()


def test_methods_of_ones_own(make_log_probs):
    log_probs = make_log_probs(40, K=20)
    found = compare(log_probs, 4, {"mine": tn.entropy, "other": tn.Method("LBB", "TopK")})
    assert found.batches["mine"].method == tn.Method(tn.entropy)
    assert found.batches["other"].method == tn.Method(tn.LargeBatchBALD(), tn.TopK())
    with pytest.raises(tn.InputError, match="methods is 'LBB', expected a list of names, or a dict of methods"):
        compare(log_probs, 4, "LBB")
    with pytest.raises(tn.InputError, match=r"BADGE\(\) needs features"):
        compare(log_probs, 4, ["BADGE"])
    with pytest.raises(tn.InputError, match=r"compare measures batches by predictions: expected .*, found scores"):
        compare(torch.rand(40), 4)


# The command


@pytest.fixture
def npy(make_log_probs, tmp_path):
    log_probs = make_log_probs(30, K=20, C=4, dtype=torch.float32).cpu()
    np.save(tmp_path / "predictions.npy", log_probs.numpy())
    return tmp_path / "predictions.npy"


def cells(text):
    """The cells of every line, by the first one."""
    return {line.split("  ")[0].strip(): line.split() for line in text.splitlines() if "  " in line}


def test_what_is_shown(typed, npy):
    done = typed("compare", npy, "-k", 3, "--methods", "random,LBB,bald@PowerSample(beta=3.0)")
    assert (done.returncode, done.stderr) == (0, "")
    found = compare(np.load(npy), 3, ["random", "LBB", "bald@PowerSample(beta=3.0)"])
    shown = cells(done.stdout)
    assert done.stdout.startswith("3 of 30 rows, K = 20 posterior samples, C = 4 classes")
    assert shown["method"] == ["method", "1", "2", "3"]
    for number, (name, batch) in enumerate(found.batches.items(), start=1):
        means = batch.averages
        assert shown[name][2:] == [
            f"{batch.information:.3f}",
            f"{batch.redundancy:.1%}",
            f"{means.bald:.3f}",
            f"{means.entropy:.3f}",
            f"{means.classes:.1f}",
        ]
        shares = [f"{100 * found.overlap(name, other):.0f}" for other in found.batches]
        assert shown[f"{number} {name}"] == [str(number), name, *shares]
    assert shown["all rows"][2:] == [f"{found.pool.bald:.3f}", f"{found.pool.entropy:.3f}", f"{found.pool.classes:.1f}"]
    assert "at most log 20 = 2.996" in done.stdout
    assert "\x1b" not in done.stdout


def test_files_hold_rows_and_numbers(typed, npy, tmp_path):
    (tmp_path / "ids.txt").write_text("\n".join(f"{row}.png" for row in range(30)))
    words = ("compare", npy, "-k", 4, "--methods", "random,LBB", "--ids", "ids.txt", "--seed", 2)
    found = compare(np.load(npy), 4, {name: METHODS[name] for name in ("random", "LBB")}, seed=2)
    plain = typed(*words, cwd=tmp_path).stdout
    assert typed(*words, "--out", "all.csv", cwd=tmp_path).returncode == 0
    lines = list(csv.DictReader((tmp_path / "all.csv").read_text().splitlines()))
    assert [line["method"] for line in lines] == ["random"] * 4 + ["LBB"] * 4
    assert [line["rank"] for line in lines] == ["1", "2", "3", "4"] * 2
    for line in lines:
        batch = found.batches[line["method"]]
        assert int(line["row"]) == batch.selection.rows[int(line["rank"]) - 1]
        assert line["id"] == f"{line['row']}.png"
        assert float(line["information"]) == batch.information
        assert float(line["redundancy"]) == batch.redundancy
        assert float(line["classes"]) == batch.averages.classes
        assert int(line["seed"]) == batch.seed
    done = typed(*words, "--out", "all.jsonl", cwd=tmp_path)
    assert done.stdout.splitlines()[1] == plain.splitlines()[1]
    told = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [one["method"] for one in told] == ["random", "LBB"]
    assert (told[1]["settings"], told[1]["optimizer"]) == (repr(tn.LargeBatchBALD()), None)
    assert told[1]["rows"] == found.batches["LBB"].selection.rows.tolist()
    assert told[1]["ids"] == [f"{row}.png" for row in told[1]["rows"]]
    assert told[0]["overlap"] == {"random": 1, "LBB": found.overlap("random", "LBB")}
    assert told[0]["ceiling"] == math.log(20)
    done = typed("select", npy, "-k", 4, "--exclude", "all.csv", "--ids", "ids.txt", cwd=tmp_path)
    assert not {line["row"] for line in lines} & {line["row"] for line in csv.DictReader(done.stdout.splitlines())}


def test_every_row_of_one_sample(typed, make_log_probs, tmp_path):
    np.save(tmp_path / "one.npy", make_log_probs(30, K=1, dtype=torch.float32).half().cpu().numpy())
    done = typed("compare", tmp_path / "one.npy", "--k", 30)
    assert (done.returncode, done.stderr) == (0, "")
    shown = cells(done.stdout)
    assert shown["1 random"][2:] == ["100"] * 5
    assert shown["random"][2:5] == ["–"] * 3
    assert "information:" not in done.stdout
    assert "Left out: LBB; it compares posterior samples with each other and needs at least 2" in done.stdout


def test_a_store_with_ids(typed, make_log_probs, tmp_path):
    log_probs = make_log_probs(30, K=20).half().cpu()
    write_store(tmp_path / "store", log_probs, ids=[f"{row}.png" for row in range(30)])
    (tmp_path / "candidates.txt").write_text("\n".join(f"{row}.png" for row in range(5, 25)))
    words = ("--methods", "LBB", "--candidates", "candidates.txt", "--samples", "0-9", "--no-verify", "--out", "a.csv")
    done = typed("compare", "store", "-k", 3, *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("3 of 20 rows, K = 10")
    lines = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    expected = tn.select(log_probs, tn.LargeBatchBALD(), 3, candidates=range(5, 25), samples=range(10)).rows.tolist()
    assert [line["id"] for line in lines] == [f"{row}.png" for row in expected]


def test_what_has_to_be_said(typed, npy):
    done = typed("compare", npy, "-k", 25, "--methods", "BALD,LBB")
    assert "The batches of BALD, LBB carry nearly all information that 20 posterior" in " ".join(done.stdout.split())
    assert "LBB: only" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-k", "31"], "k is 31, expected a whole number from 1 to 30"),
        (["-k", "2", "--methods", "PowerBLAD"], "there is no method 'PowerBLAD'; did you mean PowerBALD?"),
        (["-k", "2", "--methods", "all,largebatchbold"], "did you mean LargeBatchBALD?"),
        (["-k", "2", "--methods", "LBB,"], "there is no method ''. There are random, margin,"),
        (["-k", "2", "--methods", "LBB,BALD,LBB"], "the methods 'LBB,BALD,LBB' name 'LBB' twice"),
        (
            ["-k", "2", "--methods", "bald@PowerSampel"],
            "there is no optimizer 'PowerSampel'; did you mean PowerSample?",
        ),
        (["-k", "2", "--methods", "BatchBALD(labelings=3)"], "labelings is 3, expected a whole number from 32"),
        (["-k", "2", "--methods", "no_module:Mine"], "no_module:Mine cannot be imported"),
        (["-k", "2", "--out", "rows.html"], "rows are written to files that end in .csv or .jsonl"),
        (["-k", "2", "--out", "nowhere/rows.csv"], "there is no folder nowhere"),
        (["-k", "2", "--values", "probs"], "are log-probabilities: expected --values log-probs"),
        (["-k", "2", "--samples", "20"], "samples holds 20, expected numbers from 0 to 19"),
        (["-k", "2", "--memory", "much"], "memory is 'much', expected a number of bytes"),
        (["-k", "2", "--exclude", "all.txt"], "--candidates, --exclude and --labels leave none of the 30 rows"),
    ],
)
def test_bad_words_are_one_message_and_status_2(typed, npy, tmp_path, words, message):
    (tmp_path / "all.txt").write_text("\n".join(map(str, range(30))))
    before = sorted(tmp_path.iterdir())
    done = typed("compare", npy, *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert sorted(tmp_path.iterdir()) == before
