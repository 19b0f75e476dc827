"""A pipeline's recipe as a graph of steps: what each takes from which, and that it can.

references.py   step:NAME, step:previous, earlier:NAME -> names of steps, put into a step's recipe
handing.py      whether a step leaves what another takes from it
steps.py        all of it, and the order of the steps
"""
