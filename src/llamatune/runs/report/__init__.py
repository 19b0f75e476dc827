"""report.html: one page that shows a run, made from the files in its directory.

reading.py        the files, and what is missing or broken about them
words.py          hostile text made visible, numbers and times as people read them
series.py         numbers over steps, and which of them share a chart
tables.py         tables of figures
svg.py            pictures as inline SVG
curves.py         charts of numbers over steps
plots.py          calibration and scores of a reward model
head.py           state, figures, and what a reader must not miss
ppo.py            charts and held-out figures of PPO: did reward and truth rise together?
completions.py    what its policy answered, first and last
evaluation.py     how well a reward model tells the better reply
side_by_side.py   an evaluation: figures, win rates, replies of all models
by_stage.py       how the page of a stage differs from the common one
data.py           rows by source and reason, and what pairs are like
sections.py       masks, replies, environment, attempts, events, recipe
page.py           all of it, and the file
page.html.jinja   how it looks
steps.py          a pipeline: its steps, where each artefact comes from, figures by version
pipeline.html.jinja, style.html.jinja
                  how that looks, and what both pages share

The page needs no network and holds no program: no script, no font, no picture from elsewhere. Its text comes from
data and models, so it is hostile: it is escaped, its control characters are shown and its length is bounded.
"""
