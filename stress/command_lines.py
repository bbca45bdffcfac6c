"""Random command lines on files of random content: a result, or a message; and no other file is ever changed."""

import csv
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors.torch import save_file

from stress import scenes
from stress.attack import Attack, Case
from stress.children import Ended, typed, warm
from tonsure.methods import METHODS, SCORES
from tonsure.predictions.store import write_store

LINES = 20
"""Of a case, on the same files."""

ODD = (
    *(
        "",
        "-1",
        "0",
        "1.5",
        "nan",
        "1e400",
        "9" * 30,
        "9" * 5000,
        "x" * 300,
        "é",
        "\u2028",
        "a\x1b[31mb",
        "\udcff",
        "*",
    ),
    *(":x", "a:b:c", "none:thing", "BatchBALD(", "BatchBALD(labelings=1e300)", "TopK", "cuda", "cpu:7", "1 PB", "-GB"),
    *(
        "0-",
        "3-1",
        "0-9999999",
        "none.npy",
        "/dev/null",
        "/dev/full",
        "/",
        ".",
        "folder",
        "--",
        "-k",
        "NaN",
        "None",
        "=1",
    ),
)
"""Values that are mostly wrong, wherever they stand."""

MADE = (
    *("BatchBALD(labelings=64)", "LBB@LazyGreedy", "bald@PowerSample(beta=3)", "LBB@TopK", "ProbCover(purity=0.9)"),
    *("FacilityLocation(weight=None)", "entropy@Prefilter(5)", "Random", "TopK@TopK", "BatchBALD(labelings=0)"),
)

Values = Callable[[Random], object]


def _of(values: Sequence[object]) -> Values:
    return lambda random: random.choice(values)


COUNTS = _of([1, 1, 1, 1, 2, 2, 2, 3, 5, 13, 10**12])
KINDS = _of(["log-probs", "probs", "logits"])
NAMES = _of([*METHODS, *METHODS, *SCORES, *MADE])
SEARCHES = _of(["LazyGreedy", "Greedy", "TopK", "PowerSample(beta=5)", "StochasticGreedy", "Prefilter(4)", "Prefilter"])
SEEDS = _of([0, 1, 2**63 - 1, 2**64, -1])
MEMORY = _of(["1GB", "1KiB", "1", "0", "10MB", "1e3MB"])
SAMPLES = _of(["0", "0-1", "1,0", "0,0", "0-3"])
DTYPES = _of(["float16", "bfloat16", "float32", "float64"])
OUTS = _of(
    ["new.csv", "new.jsonl", "NEW.CSV", "new.txt", "old.csv", "none/new.csv", "folder", "folder.csv", "link.csv"]
)
FOLDERS = _of(["new", "new", "newer", "newest", "deep/new", "deep/newer", "store", "folder", "begun", "old.csv"])


class Files:
    """A folder of files, mostly of right kinds and of one pool."""

    def __init__(self, folder: Path, random: Random) -> None:
        self.folder = folder
        self.random = random
        self.N, self.K, self.C = random.randint(1, 12), random.randint(1, 4), random.randint(2, 4)
        self.numbers = np.random.default_rng(random.getrandbits(32))
        self.arrays = {name: [] for name in ("predictions", "features", "inputs")}
        self.options: dict[str, list[tuple[str, str]]] = {}
        """What a file needs on the command line."""
        self.texts = {name: [] for name in ("ids", "rows", "labels")}
        self._write_arrays()
        self._write_texts()
        self._write_others()

    def _write_arrays(self) -> None:
        shape = (self.N, self.K, self.C)
        logits = torch.from_numpy(self.numbers.normal(size=shape) * self.random.choice([0.0, 1.0, 30.0]))
        log_probs = logits.log_softmax(-1)
        spoiled = log_probs.clone()
        spoiled[self.random.randrange(self.N)] = self.random.choice([math.nan, math.inf, 1.0])
        features = torch.from_numpy(self.numbers.normal(size=(self.N, 3)) * self.random.choice([1.0, 1e-20, 1e20]))
        kinds: dict[str, dict[str, torch.Tensor]] = {
            "predictions": {"log-probs": log_probs, "probs": log_probs.exp(), "logits": logits},
            "features": {"": features},
            "inputs": {"": torch.from_numpy(self.numbers.normal(size=(self.N, 4))).float()},
        }
        wrong = [spoiled, log_probs.transpose(1, 2), torch.zeros(()), torch.zeros(0, 2, 2), torch.ones(self.N + 1, 2)]
        wrong += [
            torch.ones(self.N, 2, dtype=torch.int64),
            torch.ones(self.N, 2, dtype=torch.bool),
            torch.rand(self.N, 1),
        ]
        wrong += [torch.rand(self.N, 1), torch.rand(self.N)]
        for kind, right in kinds.items():
            for number in range(4):
                values = self.random.choice(list(right))
                array = self.random.choice(wrong) if self.random.random() < 0.15 else right[values]
                name = self._write_array(f"{kind}{number}", array, keep_type=kind == "inputs")
                self.arrays[kind].append(name)
                if values:
                    self.options.setdefault(name, []).append(("--values", values))

    def _write_array(self, name: str, array: torch.Tensor, keep_type: bool) -> str:
        if array.is_floating_point() and not keep_type:
            array = array.to(self.random.choice([torch.float64, torch.float32, torch.float16]))
        several = self.random.random() < 0.2
        path = self.folder / f"{name}{self.random.choice(['.npy', '.npy', '.npz', '.pt', '.safetensors', '.NPY'])}"
        if path.suffix == ".npz":
            np.savez(path, a=array.numpy(), **({"other": np.ones(3)} if several else {}))
        elif path.suffix == ".pt":
            torch.save({"a": array, "b": torch.ones(2)} if several else self.random.choice([array, {"a": array}]), path)
        elif path.suffix == ".safetensors":
            save_file({"a": array.contiguous()} | ({"b": torch.ones(2)} if several else {}), path)
        else:
            several = False
            numbers = self.random.choice([np.asfortranarray, np.asarray])(array.numpy())
            with path.open("wb") as file:
                np.save(file, numbers.astype(numbers.dtype.newbyteorder(self.random.choice("<<>"))))
        if several:
            self.options[path.name] = [("--key", "a")]
        self._damage(path)
        return path.name

    def _damage(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        chance = self.random.random()
        if chance < 0.02 and content:
            content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
        elif chance < 0.03:
            del content[self.random.randrange(len(content) + 1) :]
        elif chance < 0.04:
            content = bytearray(self.random.randbytes(self.random.randrange(200)))
        path.write_bytes(content)

    def _write_texts(self) -> None:
        self.ids = [self.random.choice([f"{row}.png", f"item {row}", f"é{row}"]) for row in range(self.N)]
        ids = self.ids
        for number in range(3):
            self.texts["ids"].append(self._write_text(f"ids{number}", {"id": ids}))
            rows = self.random.sample(range(self.N + (self.random.random() < 0.05)), self.random.randint(0, self.N - 1))
            some = self.random.choice([{"row": rows}, {"row": rows}, {"id": [ids[row % self.N] for row in rows]}])
            self.texts["rows"].append(self._write_text(f"rows{number}", some))
            labels = {"label": [row % self.C if self.random.random() < 0.99 else "x" for row in rows]}
            self.texts["labels"].append(self._write_text(f"labels{number}", some | labels))

    def _write_text(self, name: str, columns: Mapping[str, Sequence[object]]) -> str:
        ending = self.random.choice([".txt", ".csv", ".csv", ".tsv", ".jsonl", ""])
        path = self.folder / f"{name}{ending}"
        rows = list(zip(*columns.values(), strict=True))
        if self.random.random() < 0.03:
            rows.insert(0, (self.random.choice(ODD),) * len(columns))
        if ending == ".jsonl":
            lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in rows]
        else:
            mark = "\t" if ending == ".tsv" else ","
            lines = [mark.join(map(str, row)) for row in rows]
            if ending in (".csv", ".tsv"):
                lines.insert(0, mark.join(columns))
            elif len(columns) > 1:
                lines = [line.split(mark)[0] for line in lines]
        end = self.random.choice(["\n", "\n", "\r\n"])
        path.write_bytes("".join(f"{line}{end}" for line in lines).encode(errors="surrogatepass"))
        self._damage(path)
        return path.name

    def _write_others(self) -> None:
        log_probs = torch.randn(self.N, self.K, self.C, generator=torch.Generator().manual_seed(self.N)).log_softmax(-1)
        write_store(self.folder / "store", log_probs, features=torch.ones(self.N, 2), ids=self.ids)
        shutil.copytree(self.folder / "store", self.folder / "damaged")
        self._damage_surely(self.random.choice(sorted((self.folder / "damaged").iterdir())))
        (self.folder / "begun").mkdir()
        (self.folder / "begun" / "journal.jsonl").write_text(self.random.choice(["", "{}\n", '{"version": 2}\n', "x"]))
        (self.folder / "folder").mkdir()
        (self.folder / "folder.csv").mkdir()
        (self.folder / "old.csv").write_text("old")
        (self.folder / "link.csv").symlink_to("old.csv")
        (self.folder / "my_model.py").write_text(scenes.MODEL)
        (self.folder / "squares.py").write_text(scenes.EXPERIMENT)
        (self.folder / "wrong.py").write_text(self.random.choice(["", "1 / 0", "experiment = 3", "x = = 3", "\0"]))
        (self.folder / "records").mkdir()
        line = self.random.choice(
            ['{"kind": "experiment"}\n', "{}\n", "[1]\n", "\0", '{"kind": "round", "rows": [1]}\n']
        )
        (self.folder / "records" / "LBB-seed0.jsonl").write_text(line * self.random.randint(1, 2))

    def _damage_surely(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
        path.write_bytes(content)

    def _array(self, kind: str) -> Values:
        return lambda random: random.choice([*self.arrays[kind] * 3, random.choice(self.arrays["features"])])

    def _text(self, kind: str) -> Values:
        return lambda random: random.choice([*self.texts[kind] * 3, random.choice(self.texts["rows"])])

    def line(self) -> list[str]:
        """A command line."""
        random = self.random
        stores = _of(["store"] * 6 + ["damaged", "begun", "folder", "none", "old.csv"])
        pool: Values = lambda random: stores(random) if random.random() < 0.3 else self._array("predictions")(random)  # noqa: E731
        shared: dict[str, Values | None] = {
            "--values": KINDS,
            "--key": _of(["a", "a", "a", "b", "none"]),
            "--features": self._array("features"),
            "--ids": self._text("ids"),
            "--ids-column": _of(["id", "id", "id", "row"]),
            "--labels": self._text("labels"),
            "--candidates": self._text("rows"),
            "--exclude": self._text("rows"),
            "--out": OUTS,
            "--seed": SEEDS,
            "--samples": SAMPLES,
            "--memory": MEMORY,
            "--device": _of(["cpu", "cpu", "cpu", "cuda", "meta"]),
            "--no-verify": None,
        }
        select = shared | {"--method": NAMES, "--optimizer": SEARCHES, "--verbose": None}
        compare = shared | {
            "--methods": lambda random: ",".join(str(NAMES(random)) for _ in range(random.randint(1, 3)))
        }
        make = {name: shared[name] for name in ("--values", "--key", "--features", "--ids", "--ids-column")}
        predict = {name: shared[name] for name in ("--key", "--ids", "--ids-column")}
        predict |= {"--block-size": COUNTS, "--features": None, "--no-features": None}
        inputs: Values = lambda random: random.choice(["my_model:model", "my_model:none", *self.arrays["inputs"] * 5])  # noqa: E731
        run = {
            "--seeds": COUNTS,
            "--methods": _of(["random", "LBB", "random,LBB", "none"]),
            "--scale": _of(["full", "full", "x"]),
        }
        run |= {"--only": _of(["squares", "*", "none"])}
        commands: list[tuple[list[str], list[tuple[str, Values]], dict[str, Values | None]]] = [
            (["select"], [("", pool), ("-k", COUNTS)], select),
            (["compare"], [("", pool), ("-k", COUNTS)], compare),
            (["store", "make"], [("", self._array("predictions")), ("--out", FOLDERS)], make | {"--dtype": DTYPES}),
            (["store", "info"], [("", stores)], {"--json": None}),
            (["store", "verify"], [("", stores)], {}),
            (
                ["predict"],
                [("", _of(["my_model:model"] * 9 + ["my_model:layers"])), ("--inputs", inputs), ("--out", FOLDERS)],
                predict | {"--dtype": DTYPES},
            ),
            (["run"], [("", _of(["squares.py", "squares.py", "wrong.py", "none.py"])), ("--out", FOLDERS)], run),
            (["report"], [("", _of(["records", "folder", "none"]))], {}),
        ]
        words, needed, options = random.choices(commands, [12, 4, 3, 1, 1, 3, 1, 1])[0]
        line = list(words)
        for name, values in needed:
            if random.random() > 0.02:
                line += [*([name] if name else []), self._value(values)]
        for name in random.sample(sorted(options), min(len(options), random.choice([0, 1, 1, 2, 2, 3, 5]))):
            values = options[name]
            line += [name] if values is None else [name, self._value(values)]
        for option, value in [each for word in line for each in self.options.get(word, [])]:
            if option in options and option not in line and random.random() < 0.95:
                line += [option, value]
        if random.random() < 0.02:
            line.insert(random.randrange(len(line) + 1), random.choice(ODD))
        return line

    def _value(self, values: Values) -> str:
        return str(self.random.choice(ODD) if self.random.random() < 0.02 else values(self.random))


def type_lines(case: Case) -> Mapping[str, int]:
    warm()
    files, counts = Files(case.folder, case.random), Counter[str]()
    for number in range(LINES):
        line = files.line()
        before = _bytes(case.folder)
        ended = typed(line, case.folder)
        try:
            _check(line, ended, before, case.folder)
        except AssertionError as error:
            error.add_note(f"line {number}: {line!r}, ended with {ended.status}: {ended.err[-600:]!r}")
            raise
        counts["command lines"] += 1
        counts["that gave a result"] += ended.status == 0
    return counts


def _bytes(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _check(line: list[str], ended: Ended, before: Mapping[Path, bytes], folder: Path) -> None:
    assert ended.status in (0, 2), "expected the exit status 0 or 2"
    assert "Traceback" not in ended.err, "a traceback"
    assert "\x1b" not in ended.err + ended.out, "a control character"
    out = line[line.index("--out") + 1] if "--out" in line[:-1] else None
    mine = None if out is None or not _can_exist(folder / out) else (folder / out).resolve()
    after = _bytes(folder)
    written = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    if ended.status == 2:
        assert ended.err.strip(), "no message"
        assert not ended.out, f"a result: {ended.out[:200]!r}"
        # What a model or an experiment has done is kept.
        written = {path for path in written if line[0] not in ("predict", "run") or path in before}
    else:
        written = {path for path in written if mine is None or mine not in (path.resolve(), *path.resolve().parents)}
        # The folders of records and of a report may be those of the command.
        written = {path for path in written if line[0] not in ("run", "report") or path in before}
        if line[0] == "select":
            _check_rows(ended.out if out is None else Path(mine or "").read_text("utf-8"), line, out)
    written = {path for path in written if "__pycache__" not in path.parts}
    assert not written, f"changed {', '.join(sorted(path.name for path in written))}"


def _can_exist(path: Path) -> bool:
    try:
        path.exists()
    except (OSError, ValueError):
        return False
    return True


def _check_rows(text: str, line: list[str], out: str | None) -> None:
    """What ``select`` wrote: so many different rows, with gains that are finite."""
    if out is not None and out.lower().endswith(".jsonl"):
        rows = [json.loads(one) for one in text.splitlines()]
    else:
        rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == int(line[line.index("-k") + 1]), f"{len(rows)} rows"
    assert len({int(row["row"]) for row in rows}) == len(rows), "a row twice"
    assert all(math.isfinite(float(row["gain"])) for row in rows), "a gain that is not finite"


ATTACK = Attack(
    f"random command lines, {LINES} for each case, on arrays, ids, rows, labels, stores and records of random content, "
    "some of them damaged",
    lambda: 500,
    4,
    type_lines,
)
