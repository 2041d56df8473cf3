"""Write what is written elsewhere of the settings: `python -m distiller_udf.settings`, in a checkout."""

from distiller_udf.settings.written import ROOT, written

for path, text in written(ROOT).items():
    path.write_text(text, encoding="utf-8")
