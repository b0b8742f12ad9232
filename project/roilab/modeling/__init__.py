"""Parts of a model that look inside regions of interest."""
