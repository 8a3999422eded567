"""Which patches are alike? As a widget in a notebook, and as a page: `dinolite explore`."""

from dinolite.explore.sources import NetSource, PixelSource, open_sources
from dinolite.explore.widget import patch_explorer

__all__ = ["NetSource", "PixelSource", "open_sources", "patch_explorer"]
