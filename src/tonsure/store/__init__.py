"""A pool's predictions on disk, one file each: where a number lies, the manifest, reading, and two ways of writing."""

from tonsure.store.blocks import Entry as Entry
from tonsure.store.blocks import Place as Place
from tonsure.store.blocks import write_block as write_block
from tonsure.store.draft import Draft as Draft
from tonsure.store.layout import Layout as Layout
from tonsure.store.manifest import Manifest as Manifest
from tonsure.store.reading import Store as Store
from tonsure.store.writing import write_store as write_store
