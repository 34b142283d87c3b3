"""Images: Dockerfiles, registries and archives become images of the engine.

Above the engine, below the server: nothing here knows HTTP routes or wire JSON. What comes from outside (Dockerfile
text, registry answers, layers) is bounded and strictly decoded before anything is made of it.
"""
