"""Faster layers for a CPU. Without them a model computes the same but for rounding, more slowly."""
