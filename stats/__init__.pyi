from .bootstrap import Interval as Interval
from .bootstrap import bootstrap_interval as bootstrap_interval
from .bootstrap import bootstrap_of_mean as bootstrap_of_mean
from .pairs import chain_order as chain_order
from .proportions import share_interval as share_interval
from .proportions import wilson as wilson
