"""What both clients share: parameters, results, errors. Nothing here waits or talks to anyone."""
