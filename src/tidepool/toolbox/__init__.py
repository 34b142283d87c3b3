"""What a sandbox offers beyond single runs: live things that stay between requests, such as interpreter contexts.

Everything here talks to a sandbox only through its engine; what comes out of a sandbox is bounded, strictly decoded and
waited for with a deadline. Protocols towards clients are in the server.
"""
