"""Rules on what a comparison may overlook: typed, owned, for a limited time, and blind to no planted fault.

Every rule keeps two counts of a stream: its line feeds, and its words (what white space parts). So no rule
can hide an output that lost a word or its last line feed. Exit codes, signals and outcomes are beyond the
reach of all rules.
"""

from crucible.normalise.apply import normalise, normalised
from crucible.normalise.rules import NO_RULES, Kind, Rule, RuleSet, load_rules

__all__ = ["NO_RULES", "Kind", "Rule", "RuleSet", "load_rules", "normalise", "normalised"]
