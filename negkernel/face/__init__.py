"""Hold the public methods of :class:`negkernel.Engine`, a base class for each subject."""
