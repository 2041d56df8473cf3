"""Entity resolution inside dbt and DuckDB."""
