"""The command line. Each module is a group of commands; `main` is the tree that loads them when they are asked for."""
