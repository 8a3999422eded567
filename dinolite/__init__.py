"""DINOv3 in miniature: one folder per idea, with the official names. Begin with README.md."""

__version__ = "0.1.0"
