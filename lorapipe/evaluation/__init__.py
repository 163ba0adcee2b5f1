"""Evaluation: samples pictures from snapshots, scores them, and judges which snapshot to use."""
