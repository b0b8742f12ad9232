"""Configs, training, checkpoints and the run folder."""
