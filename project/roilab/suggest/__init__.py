"""A config that fits a data set and this machine, each line with its reason."""
