"""The command line: one file a command, above everything else."""
