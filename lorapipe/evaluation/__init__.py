"""Judging: pictures from weights, figures from pictures, and a verdict a person can act on."""
