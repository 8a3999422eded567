"""Training. Read it in this order: `ssl_meta_arch` (student, teacher and all losses of a step),
`ema`, `gram` (the Gram teacher), `param_groups`, `schedules`, `train` (the step and the
loop), `monitors` (is it collapsing?), `early_end` (NaN and interruption)."""
