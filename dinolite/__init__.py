"""DINOv3 in miniature, with the official names. Read it in this order: `config` (every setting),
`data` (pictures become crops and masks), `layers` and `models` (the backbone), `loss`, `train` (one
step, then the loop), `eval` (what a backbone has learnt). Beside them: `parallel` for several
devices; `checkpointer`, `run_folder` and `metrics` for what a run leaves behind; `report`, `viz`
and `explore` to look at it; `cli`, the command.
"""

__version__ = "0.1.0"
