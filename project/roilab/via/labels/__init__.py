"""Attributes -> classes, keypoints and instances."""
