"""Commands of `noisyjax COMMAND --flags`, one per file, which declares the flags and calls the library."""
