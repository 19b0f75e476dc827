"""The paper's findings, repeated on pico: what is claimed, which runs show it, and whether it shows.

verdicts.py        when a claim is said to show, decided before anything was run
twelve.py          the findings: the paper's figure, the runs that are compared, and the figure that they give
recipe.yaml        all runs of a seed, as a pipeline
making.py          makes those runs, as far as they are not done, and reads their figures
table.py           the table of all findings, for the terminal and results/findings.md
reward_tables.py   more of findings 1 to 3: the paper's tables 8, 28 and 29
page.py, svg.py    docs/findings.md and its pictures
"""
