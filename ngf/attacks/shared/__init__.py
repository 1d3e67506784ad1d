"""Formulas that several attacks share."""
