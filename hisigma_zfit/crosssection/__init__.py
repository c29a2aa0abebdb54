"""The task `cross-section`: a signal strength from unbinned events, with systematic variations that are learned."""
