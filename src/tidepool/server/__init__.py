"""HTTP in front of the engine: Daytona's API for official clients, a few routes of our own beside it."""
