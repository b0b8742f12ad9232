"""Work on annotation files before training: check, statistics, split, merge, skeletons."""
