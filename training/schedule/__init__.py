"""Retraining on a schedule: what is held out, a challenger weighed against the current student, drift."""
