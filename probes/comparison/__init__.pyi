from . import monitored as monitored
from .changes import tables as tables
from .text import summary as summary
