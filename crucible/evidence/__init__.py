"""What counts say: whether two queues agree often enough, and whether they have stopped to.

Pure functions of numbers, after section and verse of the papers they name.
"""

from crucible.evidence.gate import Gate, Tally, gate
from crucible.evidence.latency import RankBounds, rank_bounds
from crucible.evidence.noise import excess_e_value
from crucible.evidence.parity import Evidence, Question, evidence
from crucible.evidence.rollback import Detector, DetectorSettings

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
