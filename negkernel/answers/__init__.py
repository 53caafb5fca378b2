"""How the engine's questions are answered: one file a kind, each handing rows to a method."""
