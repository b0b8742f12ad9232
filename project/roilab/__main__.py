"""`python -m roilab`, which torchrun needs: `torchrun --nproc-per-node 8 -m roilab train ...`."""

from roilab.cli.main import main

if __name__ == "__main__":
    main()
