"""`python -m worldmodel` is the command `worldmodel`."""

from worldmodel.cli import run

run()
