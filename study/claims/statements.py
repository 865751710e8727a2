"""Statements about runs of training that several claims make: accuracies, losses on the visual tokens, and reasons."""

from dataclasses import replace

from stats.bins import bins_label
from study.claims.claim import NATS, POINTS, Region, Statement
from study.claims.training_statistics import accuracy, loss
from study.comparison import UPPER_BINS

SPREAD = "The seeds differ by about as much as the arms do."


def points(arm: str, other: str, region: Region, group: str = "high", record: str = "study") -> Statement:
    """A statement about a difference of accuracy between two arms."""
    return Statement(f"{arm} minus {other}, scenes {group}", POINTS, region, record, accuracy(arm, other, group))


def visual_tokens(objective: str, arm: str, other: str, region: Region, record: str = "study") -> Statement:
    """A statement about a difference of a loss on the visual tokens between two arms."""
    words = f"{arm} minus {other}, {objective} loss in {bins_label(UPPER_BINS)}"
    return Statement(words, NATS, region, record, loss(arm, other, objective, UPPER_BINS))


def if_true(explanation: str, statement: Statement) -> Statement:
    """A statement that would hold if an explanation were true; its words name the explanation."""
    return replace(statement, text=f"{statement.text} ({explanation})")
