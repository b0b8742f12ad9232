"""Remedies of ..."""
