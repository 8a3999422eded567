"""The backbone (`vision_transformer`), and weights for it: read and written by `pretrained`, their
keys translated by `keymaps`."""
