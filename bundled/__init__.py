"""The pair that ships: a small teacher and student, their pictures, tasks, recipe and card.

Importing this package lets `bundled` stand for the student's folder and for the scenes.
"""

from pathlib import Path

from bundled.prompts import bundled_prompts, evaluation_prompts
from vlm import names

NAME = "bundled"
STUDENT = Path(__file__).parent / "student"

names.register(NAME, checkpoint=STUDENT, prompts=bundled_prompts, evaluation=evaluation_prompts)
