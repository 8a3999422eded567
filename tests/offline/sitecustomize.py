"""Read by every Python that the tests start (kernels, commands, workers): none reaches out."""

from dinolite.offline import forbid_network

forbid_network()
