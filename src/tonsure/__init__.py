"""Which thousand of my million unlabeled examples should be labeled next, so that my model learns most?"""

from tonsure.errors import InputError as InputError
from tonsure.errors import SelectionWarning as SelectionWarning
from tonsure.objective import Gains as Gains
from tonsure.objective import NoNotes as NoNotes
from tonsure.objective import Objective as Objective
from tonsure.objectives import BatchBALD as BatchBALD
from tonsure.objectives import LargeBatchBALD as LargeBatchBALD
from tonsure.objectives import Pointwise as Pointwise
from tonsure.objectives import Random as Random
from tonsure.objectives import ReleasedLBB as ReleasedLBB
from tonsure.optimizers import Greedy as Greedy
from tonsure.optimizers import LazyGreedy as LazyGreedy
from tonsure.optimizers import Optimizer as Optimizer
from tonsure.optimizers import PowerSample as PowerSample
from tonsure.optimizers import SoftmaxSample as SoftmaxSample
from tonsure.optimizers import SoftrankSample as SoftrankSample
from tonsure.optimizers import TopK as TopK
from tonsure.scores import bald as bald
from tonsure.scores import entropy as entropy
from tonsure.scores import least_confidence as least_confidence
from tonsure.scores import margin as margin
from tonsure.scores import mean_std as mean_std
from tonsure.scores import variation_ratio as variation_ratio
from tonsure.select import Selection as Selection
from tonsure.select import select as select
