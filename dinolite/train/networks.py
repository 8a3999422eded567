"""A network of the game: a backbone and a head for each of the two losses. Student and teacher are
two of them, alike but for stochastic depth. Official `SSLMetaArch.__init__`."""

from torch import nn

from dinolite.config import Config
from dinolite.layers.dino_head import DINOHead
from dinolite.models.sizes import build_backbone
from dinolite.settings import HeadConfig


def build_head(embed_dim: int, config: HeadConfig) -> DINOHead:
    """The projection head that `[dino]` or `[ibot]` describes."""
    return DINOHead(
        embed_dim,
        config.head_n_prototypes,
        config.head_nlayers,
        config.head_hidden_dim,
        config.head_bottleneck_dim,
        config.head_last_layer_std,
    )


def build_network(config: Config, *, teacher: bool = False) -> nn.ModuleDict:
    """`backbone`, `dino_head`, `ibot_head`; a teacher never drops samples."""
    backbone = build_backbone(config.student, teacher=teacher)
    dino, ibot = (build_head(backbone.embed_dim, c) for c in (config.dino, config.ibot))
    return nn.ModuleDict({"backbone": backbone, "dino_head": dino, "ibot_head": ibot})
