"""Which patches are alike? Click one and see, on a page of this machine: `dinolite explore`."""

from dinolite.explore.gallery import NetSource, PixelSource, open_sources

__all__ = ["NetSource", "PixelSource", "open_sources"]
