"""Why a student gave a pair its probability: what every column adds to the log odds, and every word within a column.

Both are Shapley values, after Štrumbelj and Kononenko, "An Efficient Explanation of Individual Classifications using
Game Theory", Journal of Machine Learning Research 11 (2010). A column's contribution is how much it changes the log
odds when it joins the columns before it, averaged over orders of the columns; columns that have not joined yet are
NULL on both sides. A word's contribution is the same within its column, which the words join one by one.

Nothing here knows the model: `log_odds(left, right)` is all that is asked, so any student that scores can be explained.
"""

from distiller_udf.students.explain.clues import column_groups
from distiller_udf.students.explain.sentence import ColumnShare, Explanation, WordShare
from distiller_udf.students.explain.shares import LogOdds, contributions, explanations

__all__ = [
    "ColumnShare",
    "Explanation",
    "LogOdds",
    "WordShare",
    "column_groups",
    "contributions",
    "explanations",
]
