"""`python -m segdistill`."""

from segdistill.cli.main import main

main()
