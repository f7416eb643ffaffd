"""The commands of `noisyjax COMMAND --flags`: a file each, which declares the command's flags and calls the library."""
