"""Comparing two students: what each is worth, what would change downstream, and whether one may replace the other."""

from distiller_udf.comparison.archive import COMPARISON_SCHEMA, Archive
from distiller_udf.comparison.changes import Changes, changes
from distiller_udf.comparison.comparison import AgainstGold, Comparison, HeldOut
from distiller_udf.comparison.decisions import RecordNumbers, Rules, Scored, entities, matches
from distiller_udf.comparison.figures import Difference, Estimate, Figures, Judged, difference, figures
from distiller_udf.comparison.rule import Margins, Verdict, verdict

__all__ = [
    "COMPARISON_SCHEMA",
    "AgainstGold",
    "Archive",
    "Changes",
    "Comparison",
    "Difference",
    "Estimate",
    "Figures",
    "HeldOut",
    "Judged",
    "Margins",
    "RecordNumbers",
    "Rules",
    "Scored",
    "Verdict",
    "changes",
    "difference",
    "entities",
    "figures",
    "matches",
    "verdict",
]
