from .arms import ARMS as ARMS
from .arms import INITIAL as INITIAL
from .comparison import compare_arms as compare_arms
from .effects import collect as collect
from .effects import record as record
from .runs import run as run
