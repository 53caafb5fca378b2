"""The commands of ``negkernel``, one file each."""
