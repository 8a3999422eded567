"""The four losses: `dino_clstoken_loss` (pictures; its targets come from `sinkhorn_knopp`),
`ibot_patch_loss` (hidden patches), `koleo_loss` (spread), `gram_loss` (relations of patches)."""
