"""Faster layers for a CPU. Without them a model computes the same, more slowly."""
