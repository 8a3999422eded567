"""The figures of a run and of its report: each is one call with arrays in and a Figure out. `style`
is the look they share; `curves` shows how a run went; `groups`, `similarity`, `pca`, `attention`
and `matches` what a backbone sees, in rows pixels, untrained, trained; `film` how it came to it."""
