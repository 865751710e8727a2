from .config import Config as Config
from .folder import read_run as read_run
from .loop import TrainingError as TrainingError
from .loop import train as train
