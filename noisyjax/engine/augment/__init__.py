"""Augmentation of a batch inside the compiled step, in `jax.numpy`: one key per row, one program for all strengths."""
