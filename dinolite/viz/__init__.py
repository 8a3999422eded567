"""The figures of a run and of its report: each is one call with arrays in and a Figure out. `style`
is the look they share; `curves` shows how a run went, `pca`, `similarity` and `attention` what a
backbone sees."""
