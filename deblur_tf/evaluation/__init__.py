"""Measuring a model on pairs: protocols, test sets, baselines, reports."""
