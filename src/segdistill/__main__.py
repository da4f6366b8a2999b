"""`python -m segdistill`."""

from segdistill.cli import main

main()
