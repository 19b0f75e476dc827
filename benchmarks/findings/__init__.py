"""The paper's findings, repeated on pico: what is claimed, which runs show it, and whether it shows.

verdicts.py   when a claim is said to show, decided before anything was run
twelve.py     the findings: the paper's figure, the runs that are compared, and the figure that they give
making.py     makes those runs, whatever was made before, and reads their figures
table.py      the table, for the terminal and for results/findings.md
page.py       docs/findings.md and its pictures
recipe.yaml   all runs, as a pipeline
"""
