"""What counts say: whether two queues agree often enough, and whether they have stopped to.

Pure functions of numbers, after section and verse of the papers they name.
"""

from crucible.evidence.latency import RankBounds, rank_bounds
from crucible.evidence.parity import Evidence, Gate, Question, Tally, evidence, gate
from crucible.evidence.rollback import Detector, DetectorSettings, excess_e_value

__all__ = [
    "Detector",
    "DetectorSettings",
    "Evidence",
    "Gate",
    "Question",
    "RankBounds",
    "Tally",
    "evidence",
    "excess_e_value",
    "gate",
    "rank_bounds",
]
