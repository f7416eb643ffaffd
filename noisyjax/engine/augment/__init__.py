"""Augmentation of a batch inside the jitted step: pure jnp, one key per row, one program for every strength."""
