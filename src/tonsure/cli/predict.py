"""tonsure predict: writes the predictions and features of a model for a pool into a store."""

from pathlib import Path
from typing import Annotated

import typer

from tonsure.cli import parse, read_arrays, row_files
from tonsure.cli.options import Ids, IdsColumn, Ray, check_ids_column, when_interrupted
from tonsure.cli.output import show
from tonsure.cli.store import Type, contents
from tonsure.errors import InputError
from tonsure.models.predict import predict as predict_pool
from tonsure.predictions.store.layout import DTYPES

EPILOG = (
    "Example: with model.py in this folder, which defines a fitted `model`:  tonsure predict model:model --inputs "
    "images.npy --out predictions --ids files.txt. If it is interrupted, the same command continues."
)


def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A fitted BayesianModel, as my_module:model, or a function without arguments that returns one.",
        ),
    ],
    inputs: Annotated[
        str,
        typer.Option(
            help="Inputs [N, ...]: a file, .npy .npz .pt .safetensors, or a tensor or an array, as my_module:inputs."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder of the store.")],
    key: Annotated[str | None, typer.Option(help="The name of the array, in a file of several.")] = None,
    ids: Ids = None,
    ids_column: IdsColumn = None,
    dtype: Annotated[
        Type, typer.Option(metavar="TYPE", help="The type of stored predictions: float16, bfloat16, float32.")
    ] = Type.FLOAT16,
    features: Annotated[
        bool | None,
        typer.Option(
            "--features/--no-features",
            help="Store the features of the items too. By default if the model has them.",
            show_default=False,
        ),
    ] = None,
    block_size: Annotated[int, typer.Option(help="The number of items that the model is given at a time.")] = 1024,
    ray: Ray = None,
) -> None:
    """Predict a pool once, into a store from which `tonsure select` selects many times."""
    check_ids_column(ids, ids_column)
    chosen_model = parse.model(model)
    is_file = Path(inputs).suffix.lower() in read_arrays.READABLE
    if key is not None and not is_file:
        raise InputError(f"--key {key} names an array of a file, but --inputs is {inputs}")
    items = read_arrays.read_inputs(Path(inputs), key) if is_file else parse.inputs(inputs)
    item_ids = row_files.read_ids(ids, ids_column, len(items)) if ids else None
    store_type = DTYPES[dtype.value]
    with when_interrupted(f"the finished blocks are kept in {out}; the same command continues from there"):
        if ray is None:
            store = predict_pool(
                chosen_model, items, out=out, features=features, ids=item_ids, dtype=store_type, block_size=block_size
            )
        else:
            from tonsure.backends import predict_on_ray

            store = predict_on_ray(
                chosen_model,
                items,
                out,
                address=None if ray == "local" else ray,
                features=features,
                ids=item_ids,
                dtype=store_type,
                block_size=block_size,
            )
    show(f"{contents(store)} Next: tonsure select {out}")
