"""tonsure predict: the predictions of a model for a pool, in a store."""

from pathlib import Path
from typing import Annotated

import typer

from tonsure.cli import parse, read_arrays, row_files
from tonsure.cli.options import Ray
from tonsure.cli.store import Ids, IdsColumn, Type, times
from tonsure.models.predict import predict as predict_pool
from tonsure.predictions.store.layout import DTYPES

EPILOG = (
    "Example: with model.py in this folder, which defines a fitted `model`:  tonsure predict model:model --inputs "
    "images.npy --out predictions --ids files.txt. If it is interrupted, the same command continues."
)


def predict(
    model: Annotated[
        str,
        typer.Argument(help="my_module:model, a fitted BayesianModel, or a function without arguments that gives one."),
    ],
    inputs: Annotated[
        str,
        typer.Option(help="[N, ...]: a file, .npy .npz .pt .safetensors, or my_module:inputs, a tensor or an array."),
    ],
    out: Annotated[Path, typer.Option(help="The folder of the store.")],
    key: Annotated[str | None, typer.Option(help="Which array of a file that holds several.")] = None,
    ids: Ids = None,
    ids_column: IdsColumn = None,
    dtype: Annotated[Type, typer.Option(help="What the numbers are kept as.")] = Type.FLOAT16,
    block_size: Annotated[int, typer.Option(help="How many items the model is given at once.")] = 1024,
    ray: Ray = None,
) -> None:
    """Predict a pool once, into a store from which `tonsure select` chooses many times."""
    chosen_model = parse.model(model)
    items = (
        read_arrays.read_inputs(Path(inputs), key) if inputs.endswith(read_arrays.READABLE) else parse.inputs(inputs)
    )
    item_ids = row_files.read_ids(ids, ids_column, len(items)) if ids else None
    store_type = DTYPES[dtype.value]
    if ray is None:
        store = predict_pool(chosen_model, items, out=out, ids=item_ids, dtype=store_type, block_size=block_size)
    else:
        from tonsure.backends import predict_on_ray

        address = None if ray == "local" else ray
        store = predict_on_ray(
            chosen_model, items, out, address=address, ids=item_ids, dtype=store_type, block_size=block_size
        )
    typer.echo(f"The predictions are in {out}: {times(store.shape)} in {dtype.value}; `tonsure select {out}` chooses.")
