"""The parts of the backbone and the head, as in the official `layers/`. Read it in this order:
`patch_embed`, `rope_position_encoding`, `attention`, `ffn_layers`, `norm_layers`, `layer_scale`,
`block`, `dino_head`."""
