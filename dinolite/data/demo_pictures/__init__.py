"""Pictures that need no download: `photographs` (sixteen of them, and the windows of the demo) and
`scenes` (drawn ones, and mosaics of windows)."""
