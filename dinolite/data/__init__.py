"""From picture files to batches of crops. Read it in this order: `decoding`, `datasets`, the
embedded pictures (`demo_pictures`), `augmentations` (`batched_augmentations` is the fast
form), `masking`, `loaders`."""
