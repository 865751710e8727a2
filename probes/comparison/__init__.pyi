from . import monitored as monitored
from .changes import tables as tables
from .header import joined_header as joined_header
from .text import summary as summary
