"""The egress process: the only door from a sandbox to the outside; its policy says where it leads.

A process and a uid of its own; index credentials live here and nowhere else. Nothing of the engine is
imported.
"""
