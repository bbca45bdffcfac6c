"""A pool's predictions and features on disk.

``layout`` says where a number lies, ``manifest`` describes a store, ``reading`` reads one; ``draft`` writes one block
by block, ``writing`` from an array.
"""

from tonsure.predictions.store.blocks import Entry as Entry
from tonsure.predictions.store.blocks import FeaturePlace as FeaturePlace
from tonsure.predictions.store.blocks import Place as Place
from tonsure.predictions.store.blocks import write_block as write_block
from tonsure.predictions.store.draft import Draft as Draft
from tonsure.predictions.store.layout import FeatureLayout as FeatureLayout
from tonsure.predictions.store.layout import Layout as Layout
from tonsure.predictions.store.manifest import Manifest as Manifest
from tonsure.predictions.store.reading import Store as Store
from tonsure.predictions.store.writing import write_store as write_store
