"""Entity resolution inside dbt and DuckDB.

- `register(connection, student=…)`: the SQL functions `er_match(a, b)`, `er_score(a, b)` and the rest.
- `load_student(folder)`: a trained student.
- `score_batch(student, batch)`: the engine-neutral core over Arrow.
"""

from distiller_udf.errors import DistillerError
from distiller_udf.scoring import score_batch
from distiller_udf.students import load_student
from distiller_udf.udf import register

__version__ = "0.1.0"

__all__ = ["DistillerError", "__version__", "load_student", "register", "score_batch"]
