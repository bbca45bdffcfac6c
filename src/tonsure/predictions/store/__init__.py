"""A pool's predictions on disk, one file each: where a number lies, the manifest, reading, and two ways of writing."""

from tonsure.predictions.store.blocks import Entry as Entry
from tonsure.predictions.store.blocks import Place as Place
from tonsure.predictions.store.blocks import write_block as write_block
from tonsure.predictions.store.draft import Draft as Draft
from tonsure.predictions.store.layout import Layout as Layout
from tonsure.predictions.store.manifest import Manifest as Manifest
from tonsure.predictions.store.reading import Store as Store
from tonsure.predictions.store.writing import write_store as write_store
